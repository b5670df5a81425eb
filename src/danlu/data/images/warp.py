"""Moving pictures: mirrored, turned, zoomed and shifted, each picture in its own way.

What a picture shows beyond its border is zero, or its mirror image without the border repeated. Pairs of numbers are
(across, down): to the right and to the bottom are positive, as pixels are counted.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

PadMode = Literal["zeros", "reflect"]


def move(
    images: Float[Tensor, "n c h w"],
    mirrored: Bool[Tensor, "n 2"],
    shift: Int[Tensor, "n 2"],
    pad_mode: PadMode = "zeros",
) -> Float[Tensor, "n c h w"]:
    """Mirror, then shift by whole pixels: no value changes, each only goes elsewhere.

    Args:
        images: the pictures.
        mirrored: whether left and right, and top and bottom, change places.
        shift: in pixels, less than the picture's sides if it is reflected.
        pad_mode: what is beyond the border.

    >>> image = torch.tensor([[[[1.0, 2.0, 3.0]]]])
    >>> move(image, torch.tensor([[True, False]]), torch.tensor([[1, 0]]))
    tensor([[[[0., 3., 2.]]]])
    """
    n, c, h, w = images.shape
    across, inside_across = _from(w, mirrored[:, :1], shift[:, :1], pad_mode)
    down, inside_down = _from(h, mirrored[:, 1:], shift[:, 1:], pad_mode)
    index = torch.add(across[:, None, :], down[:, :, None], alpha=w).view(n, 1, h * w)
    moved = images.reshape(n, c, h * w).gather(2, index.expand(n, c, h * w)).view(n, c, h, w)
    if pad_mode == "zeros":
        moved *= (inside_across.to(images.dtype)[:, None, :] * inside_down.to(images.dtype)[:, :, None])[:, None]
    return moved


def warp(
    images: Float[Tensor, "n c h w"],
    mirror: Float[Tensor, "n 2"],
    turn: Float[Tensor, "n 1"],
    zoom: Float[Tensor, "n 1"],
    shift: Float[Tensor, "n 2"],
    pad_mode: PadMode = "zeros",
) -> Float[Tensor, "n c h w"]:
    r"""Mirror, then turn and zoom about the middle, then shift: one affine map, and each pixel interpolated once.

    .. math:: \text{out}(q) = \text{in}(M R_\theta^{-1} (q - s) / z)

    where q counts from the middle of the picture, and between pixels values are bilinear.

    Args:
        images: the pictures.
        mirror: below 0 where left and right, or top and bottom, change places.
        turn: θ in radians, counter-clockwise.
        zoom: z, above 1 makes what is shown larger.
        shift: s in pixels.
        pad_mode: what is beyond the border.

    >>> image, one, none = torch.eye(2).view(1, 1, 2, 2), torch.ones(1, 2), torch.zeros(1, 2)
    >>> warp(image, one, torch.full((1, 1), torch.pi / 2), torch.ones(1, 1), none).round(decimals=4)
    tensor([[[[0., 1.],
              [1., 0.]]]])
    """
    n, _, h, w = images.shape
    border = int(pad_mode == "reflect")  # mirrored at the middle of the last pixels, which then are at -1 and 1
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
    """Where pixels are, across and down, from the middle; and what a pixel is where the picture goes from -1 to 1."""
    x, y = (torch.arange(side, dtype=dtype, device=device) - (side - 1) / 2 for side in (width, height))
    unit = 2 / torch.tensor([max(side - border, 1) for side in (width, height)], dtype=dtype, device=device)
    return x.repeat(height), y.repeat_interleave(width), unit


def _from(
    length: int, mirrored: Bool[Tensor, "n 1"], shift: Int[Tensor, "n 1"], pad_mode: PadMode
) -> tuple[Int[Tensor, "n length"], Bool[Tensor, "n length"]]:
    """Which pixel along one side comes to each place, and whether it is inside the picture."""
    last = length - 1
    place = torch.arange(length, device=shift.device) - shift
    inside = place.clamp(0, last) == place
    place = last - (last - place.abs()).abs() if pad_mode == "reflect" else place.clamp_(0, last)
    return torch.where(mirrored, last - place, place), inside
