"""Masked convolutions: an output depends on pixels that come earlier in raster order."""

from __future__ import annotations

import math
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from danlu.nn.dense import check_width

MaskType = Literal["A", "B"]


def color_groups(channels: int, groups: int, parts: int = 1) -> Int[Tensor, "channels"]:
    """The color group of each channel: consecutive channels have the same group, and sizes differ by at most one.

    Args:
        channels: number of channels.
        groups: number of color groups.
        parts: number of equal parts of the channels, each of which is divided into the groups.

    Raises:
        ValueError: if the parts have different sizes, or a part has fewer channels than groups.

    >>> color_groups(7, 3).tolist(), color_groups(4, 2, parts=2).tolist()
    ([0, 0, 0, 1, 1, 2, 2], [0, 1, 0, 1])
    """
    if channels % parts or channels // parts < groups:
        raise ValueError(f"{channels} channels cannot be divided into {parts} parts with at least {groups} channels")
    size = channels // parts
    return (torch.arange(size) * groups // size).repeat(parts)


class MaskedConv2d(nn.Module):
    r"""A convolution whose output at a pixel depends on pixels above and to the left, and on its own earlier colors.

    .. math:: y_{o,i,j} = b_o + \sum_{c,a,b} M_{o,c,a,b} W_{o,c,a,b} \, x_{c,i+a,j+b}

    The mask M is 0 for a > 0, and for a = 0 and b > 0. At the pixel itself, a = b = 0, it is 1 if the color group of
    the input channel is earlier than that of the output channel (type A), or not later (type B). Red is before green,
    and green before blue. The parameter has only the rows of the kernel up to the pixel itself.
    van den Oord, Kalchbrenner and Kavukcuoglu, "Pixel recurrent neural networks", 2016, section 3.4 and figure 4.

    Args:
        inputs: input channels.
        outputs: output channels.
        kernel: side of the kernel, an odd number; pixels outside of the image are 0.
        mask: "A" for the first layer, whose input is the image, or "B" for later layers.
        groups: number of color groups: 1 if a pixel is generated as a whole, or the number of colors.
        above: whether the output depends on rows above; otherwise on the same row only, as in the horizontal stack of
            van den Oord et al., "Conditional image generation with PixelCNN decoders", 2016.
        parts: number of equal parts of the outputs that are each divided into color groups: 2 for gated units.

    Attributes:
        reach: number of pixels to the left, to the right and above that an output depends on.
        rows: number of rows above that an output depends on: ``reach`` or 0.
        groups: number of color groups.
        parts: number of parts of the outputs.

    Raises:
        ValueError: if a number is out of range, or the kernel is even.

    >>> layer = MaskedConv2d(3, 6, kernel=5, mask="A", groups=3)
    >>> layer(torch.zeros(2, 3, 7, 8)).shape, layer.weight.shape
    (torch.Size([2, 6, 7, 8]), torch.Size([6, 3, 3, 5]))
    """

    mask: Tensor

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        mask: MaskType,
        groups: int = 1,
        above: bool = True,
        parts: int = 1,
    ):
        super().__init__()
        check_width("inputs", inputs)
        check_width("outputs", outputs)
        check_kernel("kernel", kernel)
        if mask not in ("A", "B"):
            raise ValueError(f"mask={mask!r} is unknown; choose one of A, B")
        self.reach = kernel // 2
        self.rows = self.reach if above else 0
        self.groups, self.parts = groups, parts
        order = color_groups(outputs, groups, parts)[:, None] - color_groups(inputs, groups)
        allowed = torch.ones(outputs, inputs, self.rows + 1, kernel)
        allowed[:, :, -1, self.reach :] = 0
        allowed[:, :, -1, self.reach] = (order > 0 if mask == "A" else order >= 0).float()
        self.register_buffer("mask", allowed, persistent=False)
        self.weight = nn.Parameter(torch.empty_like(allowed))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw weights uniformly within ±1/√n, with n the number of inputs that the mask leaves to an output."""
        inputs = self.mask.flatten(1).sum(1).clamp(min=1)
        nn.init.uniform_(self.weight, -1, 1)
        self.weight.mul_(inputs.rsqrt()[:, None, None, None])
        nn.init.zeros_(self.bias)

    def masked_weight(self) -> Float[Tensor, "outputs inputs rows kernel"]:
        """The weights, with 0 where the mask is 0."""
        return self.weight * self.mask

    def forward(self, x: Float[Tensor, "n inputs h w"]) -> Float[Tensor, "n outputs h w"]:
        """The outputs at all pixels."""
        padded = F.pad(x, (self.reach, self.reach, self.rows, 0)) if self.reach else x
        return F.conv2d(padded, self.masked_weight(), self.bias)

    def extra_repr(self) -> str:
        outputs, inputs, rows, kernel = self.weight.shape
        return f"{inputs}, {outputs}, kernel={kernel}, rows={rows}, groups={self.groups}"


class VerticalConv2d(nn.Module):
    """A convolution whose output depends on rows above and, unless it is the first one, on the whole row of its pixel.

    In the first layer of a vertical stack the input is the image, and the output at row i depends on rows above i.
    The features of row i of later layers then do not depend on pixels of row i either, and no weight is masked.
    van den Oord et al., "Conditional image generation with PixelCNN decoders", 2016, section 2.2 and figure 1.

    Args:
        inputs: input channels.
        outputs: output channels.
        kernel: side of the square kernel whose upper part is used, an odd number.
        first: whether the input is the image.

    Attributes:
        reach: number of pixels to the left, to the right and above that an output depends on.
        first: whether the input is the image.

    Raises:
        ValueError: if a number is out of range, or the kernel is even.

    >>> VerticalConv2d(1, 4, kernel=5, first=True)(torch.zeros(2, 1, 7, 8)).shape
    torch.Size([2, 4, 7, 8])
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, first: bool = False):
        super().__init__()
        check_width("inputs", inputs)
        check_width("outputs", outputs)
        check_kernel("kernel", kernel, least=3)
        self.reach, self.first = kernel // 2, first
        self.weight = nn.Parameter(torch.empty(outputs, inputs, self.reach + (not first), kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))
        bound = 1 / math.sqrt(self.weight[0].numel())
        nn.init.uniform_(self.weight, -bound, bound)

    def forward(self, x: Float[Tensor, "n inputs h w"]) -> Float[Tensor, "n outputs h w"]:
        """The outputs at all pixels."""
        padded = F.pad(x, (self.reach, self.reach, self.reach, -1 if self.first else 0))
        return F.conv2d(padded, self.weight, self.bias)

    def extra_repr(self) -> str:
        outputs, inputs, rows, kernel = self.weight.shape
        return f"{inputs}, {outputs}, kernel={kernel}, rows={rows}, first={self.first}"


def check_kernel(name: str, kernel: int, least: int = 1) -> None:
    """Check the side of the kernel of a masked convolution.

    Raises:
        ValueError: if it is not an integer, even or too small.
    """
    if not isinstance(kernel, int) or kernel < least or kernel % 2 == 0:
        raise ValueError(f"{name}={kernel} must be an odd number of at least {least}")
