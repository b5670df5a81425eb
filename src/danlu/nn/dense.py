"""The fully connected layer with what usually follows it, and the checks of its arguments."""

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
    """Linear map, normalization, activation, dropout; those that are not wanted are left out.

    Activation and normalization are names, or modules of this layer's own.

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
    """Widths are whole numbers of at least 1.

    Raises:
        ValueError: if one is not.
    """
    if any(not isinstance(width, int) or width < 1 for width in widths):
        raise ValueError(f"{name}={tuple(widths)} must be whole numbers of at least 1; leave a layer out to remove it")


def check_width(name: str, width: int) -> None:
    """One width is a whole number of at least 1.

    Raises:
        ValueError: if it is not.
    """
    if not isinstance(width, int) or width < 1:
        raise ValueError(f"{name}={width!r} must be a whole number of at least 1")


def check_dropout(dropout: float) -> None:
    """A share of units that leaves some.

    Raises:
        ValueError: if dropout is outside [0, 1).
    """
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout={dropout} must be at least 0 and less than 1: it is the share of units to zero")
