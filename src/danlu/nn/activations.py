"""Activation functions by name."""

from __future__ import annotations

from typing import Literal

from torch import nn

Activation = Literal["sigmoid", "tanh", "relu", "gelu", "silu", "leaky_relu", "identity"]

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "leaky_relu": nn.LeakyReLU,
    "identity": nn.Identity,
}


def activation(name: Activation) -> nn.Module:
    """Create an activation module by name.

    >>> activation("relu")
    ReLU()

    Raises:
        ValueError: if the name is unknown.
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"activation={name!r} is unknown; choose one of {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]()
