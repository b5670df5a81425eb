"""Sizes of the feature maps of image generators and critics, and the position of self-attention."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from danlu.nn.conv.self_attention import SelfAttention2d
from danlu.nn.dense import check_width
from danlu.nn.encoder_decoder import halved_sizes

SMALLEST = 5
"""Feature maps are halved until their shorter side is at most this. It is then 3 to 5, and 4 for powers of two."""


def map_sizes(shape: Sequence[int], levels: int | None = None) -> list[tuple[int, int]]:
    """Height and width of an image, and of each feature map while it is halved.

    Args:
        shape: (channels, height, width) of the image.
        levels: number of times the size is halved; by default until the shorter side is 3 to 5, at least 2.

    Raises:
        ValueError: if the shape is not that of an image or too small.

    >>> map_sizes((1, 28, 28)), map_sizes((3, 16, 32)), map_sizes((1, 8, 8))
    ([(28, 28), (14, 14), (7, 7), (3, 3)], [(16, 32), (8, 16), (4, 8)], [(8, 8), (4, 4), (2, 2)])
    """
    if len(shape) != 3:
        raise ValueError(
            f"shape={tuple(shape)} must be (channels, height, width): this network is for images; else use an MLP"
        )
    if levels is None:
        levels, side = 0, min(shape[1:])
        while side > SMALLEST:
            levels, side = levels + 1, side // 2
        levels = max(levels, 2)
    check_width("levels", levels)
    return halved_sizes(shape, levels)


def check_attention(side: int | None, sizes: Sequence[tuple[int, int]]) -> None:
    """Check that a feature map has the shorter side at which attention is requested.

    Args:
        side: shorter side of the feature map with attention, or None.
        sizes: height and width of all feature maps.

    Raises:
        ValueError: if no feature map has this side.
    """
    sides = [min(size) for size in sizes if min(size) > 1]  # attention over a single position has no effect
    if side is not None and side not in sides:
        raise ValueError(
            f"attention={side} must be the shorter side of a feature map: {', '.join(map(str, sides))}, or None"
        )


def attention_layers(size: tuple[int, int], channels: int, side: int | None) -> list[nn.Module]:
    """A self-attention layer if it is requested for feature maps of this size, else no layer."""
    return [SelfAttention2d(channels)] if min(size) == side else []
