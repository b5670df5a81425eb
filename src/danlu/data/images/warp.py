"""Flip, rotate, scale and translate images, each with its own parameters.

Pixels outside of an image are zero, or the reflected image, without repetition of the border. Pairs of numbers are
(horizontal, vertical); right and down are positive.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from danlu.data.images.settings import PadMode


def move(
    images: Float[Tensor, "n c h w"],
    flip: Bool[Tensor, "n 2"],
    shift: Int[Tensor, "n 2"],
    pad_mode: PadMode = "zeros",
) -> Float[Tensor, "n c h w"]:
    """Flip, then shift by whole pixels, without interpolation.

    Args:
        images: the images.
        flip: whether the image is flipped horizontally, and vertically.
        shift: shift in pixels; less than the sides of the image if ``pad_mode`` is reflect.
        pad_mode: values outside of the image.

    >>> image = torch.tensor([[[[1.0, 2.0, 3.0]]]])
    >>> move(image, torch.tensor([[True, False]]), torch.tensor([[1, 0]]))
    tensor([[[[0., 3., 2.]]]])
    """
    n, c, h, w = images.shape
    columns, column_inside = _sources(w, flip[:, :1], shift[:, :1], pad_mode)
    rows, row_inside = _sources(h, flip[:, 1:], shift[:, 1:], pad_mode)
    index = torch.add(columns[:, None, :], rows[:, :, None], alpha=w).view(n, 1, h * w)
    moved = images.reshape(n, c, h * w).gather(2, index.expand(n, c, h * w)).view(n, c, h, w)
    if pad_mode == "zeros":
        moved *= (column_inside.to(images.dtype)[:, None, :] * row_inside.to(images.dtype)[:, :, None])[:, None]
    return moved


def warp(
    images: Float[Tensor, "n c h w"],
    mirror: Float[Tensor, "n 2"],
    turn: Float[Tensor, "n 1"],
    zoom: Float[Tensor, "n 1"],
    shift: Float[Tensor, "n 2"],
    pad_mode: PadMode = "zeros",
) -> Float[Tensor, "n c h w"]:
    r"""Flip, then rotate and scale about the center, then translate: one affine map with one bilinear interpolation.

    .. math:: \text{out}(q) = \text{in}(M R_\theta^{-1} (q - s) / z)

    where q is the position relative to the center of the image.

    Args:
        images: the images.
        mirror: M; negative if the image is flipped horizontally, and vertically.
        turn: angle θ in radians, counter-clockwise.
        zoom: scale z; above 1 enlarges.
        shift: translation s in pixels.
        pad_mode: values outside of the image.

    >>> image, one, none = torch.eye(2).view(1, 1, 2, 2), torch.ones(1, 2), torch.zeros(1, 2)
    >>> warp(image, one, torch.full((1, 1), torch.pi / 2), torch.ones(1, 1), none).round(decimals=4)
    tensor([[[[0., 1.],
              [1., 0.]]]])
    """
    n, _, h, w = images.shape
    border = int(pad_mode == "reflect")  # reflection at the centers of the border pixels, which are then at -1 and 1
    x, y, unit = _grid(h, w, border, images.dtype, images.device)
    factor = torch.copysign(unit / zoom, mirror)
    cos, sin = turn.cos(), turn.sin()
    across, down = torch.cat([cos, sin], 1) * factor, torch.cat([-sin, cos], 1) * factor
    start = torch.addcmul(across * shift[:, :1], down, shift[:, 1:])
    start, across, down = (v.view(2 * n, 1) for v in (start, across, down))
    grid = (across * x).addcmul_(down, y).sub_(start).view(n, 2, h, w).permute(0, 2, 3, 1)
    padding = "reflection" if border else "zeros"
    return F.grid_sample(images, grid, padding_mode=padding, align_corners=bool(border))


@lru_cache(maxsize=16)
def _grid(height: int, width: int, border: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, ...]:
    """Positions of the pixels relative to the center, and the size of a pixel if the image spans [-1, 1]."""
    x, y = (torch.arange(side, dtype=dtype, device=device) - (side - 1) / 2 for side in (width, height))
    unit = 2 / torch.tensor([max(side - border, 1) for side in (width, height)], dtype=dtype, device=device)
    return x.repeat(height), y.repeat_interleave(width), unit


def _sources(
    length: int, flip: Bool[Tensor, "n 1"], shift: Int[Tensor, "n 1"], pad_mode: PadMode
) -> tuple[Int[Tensor, "n length"], Bool[Tensor, "n length"]]:
    """The source pixel of each position along one side, and whether it is inside of the image."""
    last = length - 1
    source = torch.arange(length, device=shift.device) - shift
    inside = source.clamp(0, last) == source
    source = last - (last - source.abs()).abs() if pad_mode == "reflect" else source.clamp_(0, last)
    return torch.where(flip, last - source, source), inside
