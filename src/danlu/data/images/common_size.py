"""The size to which the images of a folder are converted if no size is set."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Literal

LARGEST = 64
"""largest height and width that is chosen without a setting: larger images take much longer to train on a CPU"""
_FITTED = {
    "crop": "and cropped at the center where the shape differs",
    "pad": "and padded with white where the shape differs",
    "stretch": "and stretched where the shape differs",
}

Size = tuple[int, int]


def common_size(sizes: Mapping[Size, int], fit: Literal["crop", "pad", "stretch"]) -> tuple[Size, str]:
    """The height and width of the examples of a folder, and a remark for the user.

    A size of at most 64 that more than half of the images have is that of all. Otherwise images become squares, whose
    side is the median of the shorter sides of the images, and at most 64.

    Args:
        sizes: number of images of each height and width.
        fit: how images of another shape are treated, for the remark.

    Returns:
        the height and width, and the remark, which is empty if the images keep their size.

    >>> common_size({(28, 20): 5}, "crop")
    ((28, 20), '')
    >>> common_size({(300, 400): 2, (40, 30): 2, (32, 50): 1}, "crop")[0]
    (32, 32)
    """
    frequent = max(sizes, key=lambda size: (sizes[size], size))
    if len(sizes) == 1 and max(frequent) <= LARGEST:
        return frequent, ""
    if 2 * sizes[frequent] > sum(sizes.values()) and max(frequent) <= LARGEST:
        height, width = frequent
    else:
        short = (min(size) for size, count in sizes.items() for _ in range(count))
        height = width = min(LARGEST, statistics.median_low(short))
    return (height, width), (
        f"{_have(sizes)} (height×width); they are resized to {height}×{width} {_FITTED[fit]}. --images.size sets "
        f"another size, --images.fit another way"
    )


def _have(sizes: Mapping[Size, int]) -> str:
    """What sizes the files have: the number of sizes, and the smallest and the largest one."""
    by_area = sorted(sizes, key=lambda size: (size[0] * size[1], size))
    if len(sizes) == 1:
        return f"the files are {_shown(by_area[0])}"
    return f"the files have {len(sizes):,} sizes, from {_shown(by_area[0])} to {_shown(by_area[-1])}"


def _shown(size: Size) -> str:
    return f"{size[0]}×{size[1]}"
