"""Image grids: many small images in one PNG file, in rows and columns."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from danlu.storage.atomic import write_bytes

GAP = 2
BACKGROUND = 255
HEAD = 12
"""height of a line of text in pixels"""
SMALLEST = 32
"""side in pixels below which an image is enlarged by an integer factor"""


def make_grid(
    images: Float[Tensor, "n c h w"],
    columns: int | None = None,
    value_range: tuple[float, float] = (0.0, 1.0),
    heads: Sequence[str] = (),
) -> UInt8[Tensor, "height width c"]:
    """Arrange images in a grid, row by row.

    Args:
        images: gray (c = 1) or RGB (c = 3) images.
        columns: images in a row; by default the grid is nearly square.
        value_range: the values of black and white; other values are clamped.
        heads: short text above each image; cut to the width of the image.

    Raises:
        ValueError: if there are no images, or their number of channels is not 1 or 3.

    >>> make_grid(torch.zeros(10, 1, 32, 32), columns=5).shape
    torch.Size([70, 172, 1])
    """
    if not len(images) or images.shape[1] not in (1, 3):
        raise ValueError(f"images must have shape (n, 1 or 3, height, width) with n > 0, got {tuple(images.shape)}")
    columns = columns or math.ceil(math.sqrt(len(images)))
    pixels = as_bytes(images, value_range)
    factor = math.ceil(SMALLEST / min(images.shape[2:]))
    pixels = pixels.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
    rows, (height, width) = math.ceil(len(images) / columns), pixels.shape[2:]
    head = HEAD if heads else 0
    step_down, step_right = height + GAP + head, width + GAP
    page = torch.full(
        (images.shape[1], rows * step_down + GAP, columns * step_right + GAP), BACKGROUND, dtype=torch.uint8
    )
    for number, image in enumerate(pixels):
        top, left = (number // columns) * step_down + GAP, (number % columns) * step_right + GAP
        if heads:
            page[:, top : top + head, left : left + width] = _written(heads[number], width)
        page[:, top + head : top + head + height, left : left + width] = image
    return page.permute(1, 2, 0)


def _written(text: str, width: int) -> UInt8[Tensor, "head width"]:
    """A line of text in the default font of Pillow, dark on light."""
    strip = Image.new("L", (width, HEAD), BACKGROUND)
    ImageDraw.Draw(strip).text((0, HEAD // 2), text, fill=0, font=ImageFont.load_default(), anchor="lm")
    return torch.from_numpy(np.array(strip))


def as_bytes(images: Float[Tensor, "..."], value_range: tuple[float, float] = (0.0, 1.0)) -> UInt8[Tensor, "..."]:
    """Values as integers from 0 to 255; values outside the range are clamped.

    >>> as_bytes(torch.tensor([-1.0, 0.2, 1.0]))
    tensor([  0,  51, 255], dtype=torch.uint8)
    """
    low, high = value_range
    return ((images.detach().float().cpu() - low) / (high - low)).nan_to_num(0).clamp(0, 1).mul(255).round().byte()


def png(pixels: UInt8[Tensor, "height width c"]) -> bytes:
    """The bytes of a PNG file with an image."""
    array, content = pixels.numpy(), io.BytesIO()
    Image.fromarray(array[..., 0] if array.shape[2] == 1 else array).save(content, format="PNG")
    return content.getvalue()


def write_png(pixels: UInt8[Tensor, "height width c"], path: Path) -> None:
    """Write an image as a PNG file, atomically."""
    write_bytes(path, png(pixels))
