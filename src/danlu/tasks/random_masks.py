"""Random masks of the values that are hidden from an encoder during training."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from danlu.tasks.task import Task


class Masks(NamedTuple):
    """Random masks of the values that are hidden from the encoder during training.

    Attributes:
        fraction: maximum fraction of hidden values; the fraction of each example is uniform between 0 and this.
        blocks: whether half of the examples hide a rectangle with that fraction of the image area.
    """

    fraction: float = 0.0
    blocks: bool = True

    def draw(self, task: Task, x: Tensor) -> Float[Tensor, "n *seen"]:
        """Draw masks: 1 where a value is visible. All channels of a pixel have the same mask."""
        size = x.shape[2:] if x.dim() > 2 else x.shape[1:]
        hidden, kind = task.noise((1,), uniform=True) * self.fraction, task.noise((1,), uniform=True)
        pixels = task.noise(tuple(size), uniform=True).flatten(1) >= hidden
        if not self.blocks or len(size) != 2:
            return _shaped(pixels, x, size)
        position = task.noise((4,), uniform=True)
        rectangle = _outside(position, hidden[:, 0], size, x).flatten(1)
        return _shaped(torch.where(kind < 0.5, pixels, rectangle), x, size)


def _outside(uniform: Tensor, fraction: Tensor, size: torch.Size, x: Tensor) -> Tensor:
    """True outside a rectangle with this fraction of the image area. The ratio of its relative sides is at most 2."""
    # at least the fraction, because a lower rectangle would be wider than the image
    relative_height = (fraction.sqrt() * 2.0 ** (uniform[:, 2] - 0.5)).clamp(max=1).maximum(fraction)
    height, width = relative_height * size[0], fraction / relative_height.clamp(min=1e-6) * size[1]
    rows, columns = (torch.arange(side, device=x.device) + 0.5 for side in size)
    top, left = uniform[:, 0] * (size[0] - height), uniform[:, 1] * (size[1] - width)
    inside_rows = (rows >= top[:, None]) & (rows < (top + height)[:, None])
    inside_columns = (columns >= left[:, None]) & (columns < (left + width)[:, None])
    return ~(inside_rows[:, :, None] & inside_columns[:, None, :])


def _shaped(mask: Tensor, x: Tensor, size: torch.Size) -> Tensor:
    shape = (len(x), 1, *size) if x.dim() > 2 else (len(x), *size)
    return mask.reshape(shape).to(x.dtype)
