"""Convolution arithmetic: output size and receptive field."""

from __future__ import annotations

from collections.abc import Iterable


def output_size(n: int, kernel: int, stride: int = 1, padding: int = 0) -> int:
    r"""Output length of a convolution or pooling along one axis.

    .. math:: \lfloor (n + 2p - k) / s \rfloor + 1

    Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", 2016, relationship 6.

    Args:
        n: input length.
        kernel: kernel size k.
        stride: stride s.
        padding: padding p on each side.

    Raises:
        ValueError: if the kernel is longer than the padded input, or an argument is too small.

    >>> output_size(28, kernel=3), output_size(224, kernel=7, stride=2, padding=3)
    (26, 112)
    """
    if kernel < 1 or stride < 1 or padding < 0:
        raise ValueError(f"kernel={kernel} and stride={stride} must be at least 1, and padding={padding} at least 0")
    if n + 2 * padding < kernel:
        raise ValueError(
            f"kernel={kernel} is larger than the input of {n} with padding {padding}; "
            f"use a smaller kernel, more padding or fewer poolings"
        )
    return (n + 2 * padding - kernel) // stride + 1


def receptive_field(layers: Iterable[tuple[int, int]]) -> int:
    r"""Receptive field along one axis: the number of input entries that one output entry depends on.

    .. math:: r = 1 + \sum_l (k_l - 1) \prod_{m < l} s_m

    Araujo et al., "Computing receptive fields of convolutional neural networks", Distill 2019, equation 2.

    Args:
        layers: (kernel, stride) of each convolution or pooling, in order.

    >>> receptive_field([(3, 1), (3, 1)])
    5
    """
    field, jump = 1, 1
    for kernel, stride in layers:
        field += (kernel - 1) * jump
        jump *= stride
    return field
