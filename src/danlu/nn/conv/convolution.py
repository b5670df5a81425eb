"""The arithmetic of convolutions: how large the output is, and how much of the input it sees."""

from __future__ import annotations

from collections.abc import Iterable


def output_size(n: int, kernel: int, stride: int = 1, padding: int = 0) -> int:
    r"""Length of a convolution's or pooling's output along one axis.

    .. math:: \lfloor (n + 2p - k) / s \rfloor + 1

    Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", 2016, relationship 6.

    Args:
        n: length of the input.
        kernel: length k of the window.
        stride: step s of the window.
        padding: entries p added on either side.

    Raises:
        ValueError: if the window is longer than the padded input, or a number is too small.

    >>> output_size(28, kernel=3), output_size(224, kernel=7, stride=2, padding=3)
    (26, 112)
    """
    if kernel < 1 or stride < 1 or padding < 0:
        raise ValueError(f"kernel={kernel} and stride={stride} must be at least 1, and padding={padding} at least 0")
    if n + 2 * padding < kernel:
        raise ValueError(
            f"a window of {kernel} does not fit an input of {n} with padding {padding}; "
            f"use a smaller kernel, more padding or fewer poolings"
        )
    return (n + 2 * padding - kernel) // stride + 1


def receptive_field(layers: Iterable[tuple[int, int]]) -> int:
    r"""How many input entries along one axis one output entry depends on, for layers in order.

    .. math:: r = 1 + \sum_l (k_l - 1) \prod_{m < l} s_m

    Araujo et al., "Computing receptive fields of convolutional neural networks", Distill 2019, equation 2.

    Args:
        layers: (kernel, stride) of each convolution or pooling.

    >>> receptive_field([(3, 1), (3, 1)])
    5
    """
    field, jump = 1, 1
    for kernel, stride in layers:
        field += (kernel - 1) * jump
        jump *= stride
    return field
