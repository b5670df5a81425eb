"""What generators and critics of pictures share: the sizes of their maps, and where attention stands."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from danlu.nn.conv.self_attention import SelfAttention2d
from danlu.nn.dense import check_width
from danlu.nn.encoder_decoder import halved_sizes

SMALLEST = 5
"""a map whose shorter side is at most this is not halved any more; so it has 3 to 5, and powers of two come to 4"""


def map_sizes(shape: Sequence[int], levels: int | None = None) -> list[tuple[int, int]]:
    """Height and width of a picture, and of each map on the way down.

    Args:
        shape: (channels, height, width) of the picture.
        levels: how often it is halved; by default until its shorter side is 3 to 5, and at least twice.

    Raises:
        ValueError: if it is no picture, or too small.

    >>> map_sizes((1, 28, 28)), map_sizes((3, 16, 32)), map_sizes((1, 8, 8))
    ([(28, 28), (14, 14), (7, 7), (3, 3)], [(16, 32), (8, 16), (4, 8)], [(8, 8), (4, 4), (2, 2)])
    """
    if len(shape) != 3:
        raise ValueError(
            f"shape={tuple(shape)} must be (channels, height, width): this network is for pictures; use an MLP"
        )
    if levels is None:
        levels, side = 0, min(shape[1:])
        while side > SMALLEST:
            levels, side = levels + 1, side // 2
        levels = max(levels, 2)
    check_width("levels", levels)
    return halved_sizes(shape, levels)


def check_attention(side: int | None, sizes: Sequence[tuple[int, int]]) -> None:
    """There is a map of the side at which attention is asked for.

    Raises:
        ValueError: if there is none.
    """
    sides = [min(size) for size in sizes if min(size) > 1]  # a single position has no others
    if side is not None and side not in sides:
        raise ValueError(
            f"attention={side} is the shorter side of no map; choose one of {', '.join(map(str, sides))}, or None"
        )


def attended(size: tuple[int, int], channels: int, side: int | None) -> list[nn.Module]:
    """Attention behind a map of this size, if it is asked for there."""
    return [SelfAttention2d(channels)] if min(size) == side else []
