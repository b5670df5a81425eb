"""A fully connected layer with normalization, activation and dropout, and checks of arguments."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from danlu.nn.activations import Activation
from danlu.nn.activations import activation as activation_named
from danlu.nn.norm.by_name import Norm
from danlu.nn.norm.by_name import norm as norm_named


def dense(
    inputs: int,
    outputs: int,
    activation: Activation | nn.Module,
    norm: Norm | nn.Module | None = None,
    dropout: float = 0.0,
    linear: type[nn.Linear] = nn.Linear,
) -> nn.Module:
    """Create a linear layer followed by optional normalization, an activation and optional dropout.

    Activation and normalization are given by name or as modules. A module is used as it is and must not be shared.

    >>> dense(4, 8, "relu", norm="batch", dropout=0.5)
    Sequential(
      (linear): Linear(in_features=4, out_features=8, bias=True)
      (norm): BatchNorm1d(8, ...)
      (activation): ReLU()
      (dropout): Dropout(p=0.5, inplace=False)
    )
    """
    layer = nn.Sequential()
    layer.add_module("linear", linear(inputs, outputs))
    if norm is not None:
        layer.add_module("norm", norm_named(norm, outputs) if isinstance(norm, str) else norm)
    layer.add_module("activation", activation_named(activation) if isinstance(activation, str) else activation)
    if dropout:
        layer.add_module("dropout", nn.Dropout(dropout))
    return layer


def check_widths(name: str, widths: Sequence[int]) -> None:
    """Check that all widths are integers >= 1.

    Raises:
        ValueError: if a width is not an integer >= 1.
    """
    if any(not isinstance(width, int) or width < 1 for width in widths):
        raise ValueError(f"{name}={tuple(widths)} must be integers >= 1; to remove a layer, omit its width")


def check_width(name: str, width: int) -> None:
    """Check that a width is an integer >= 1.

    Raises:
        ValueError: if it is not an integer >= 1.
    """
    if not isinstance(width, int) or width < 1:
        raise ValueError(f"{name}={width!r} must be an integer >= 1")


def check_dropout(dropout: float) -> None:
    """Check a dropout rate.

    Raises:
        ValueError: if dropout is outside [0, 1).
    """
    if not 0 <= dropout < 1:
        raise ValueError(
            f"dropout={dropout} must be at least 0 and less than 1: it is the fraction of units set to zero"
        )
