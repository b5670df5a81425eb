"""Checks of the arguments of a pixel model."""

from __future__ import annotations

from danlu.nn.dense import check_width
from danlu.nn.masked.convolution import check_kernel


def check_network(
    layers: int, channels: int, kernel: int, first_kernel: int, groups: int, least_kernel: int = 1
) -> None:
    """Check the sizes of a network by the names that its user gave them, before layers are built.

    Args:
        layers: number of layers.
        channels: number of channels.
        kernel: side of the kernels.
        first_kernel: side of the kernel of the first layer.
        groups: number of color groups.
        least_kernel: smallest side of a kernel.

    Raises:
        ValueError: if a number is out of range, or there are fewer channels than color groups.

    >>> check_network(layers=2, channels=8, kernel=3, first_kernel=4, groups=1)
    Traceback (most recent call last):
    ValueError: first_kernel=4 must be an odd number of at least 1
    """
    check_width("layers", layers)
    check_width("channels", channels)
    check_kernel("kernel", kernel, least_kernel)
    check_kernel("first_kernel", first_kernel, least_kernel)
    if channels < groups:
        raise ValueError(f"channels={channels} must be at least {groups}, one for each color")
