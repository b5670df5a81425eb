"""Normalizations by name."""

from __future__ import annotations

from typing import Literal

from torch import nn

Norm = Literal["batch", "layer"]


def norm(name: Norm, size: int, images: bool = False) -> nn.Module:
    """Create a normalization module by name.

    Args:
        name: "batch" normalizes each feature over the batch (and positions), "layer" each example over its features
            (and positions).
        size: number of features or channels.
        images: for (n, c, h, w) instead of (n, features).

    Raises:
        ValueError: if the name is unknown.

    >>> norm("layer", 8)
    LayerNorm((8,), eps=1e-05, elementwise_affine=True, bias=True)
    """
    if name == "batch":
        return nn.BatchNorm2d(size) if images else nn.BatchNorm1d(size)
    if name == "layer":
        return nn.GroupNorm(1, size) if images else nn.LayerNorm(size)
    raise ValueError(f"norm={name!r} is unknown; choose batch or layer, or None for no normalization")
