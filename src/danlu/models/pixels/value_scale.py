"""Conversion between pixel values of the data and the values from -1 to 1 that a network gets."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor


class ValueScale:
    """Levels of the data as values from -1 to 1.

    With discrete values, the lowest level is -1 and the highest 1. With continuous values, the interval of a level
    begins at the level and has the length of the spacing D; the union of these intervals, [low, high + D), becomes
    [-1, 1).

    Args:
        levels: number of equidistant levels.
        range: lowest and highest level.
        continuous: whether values within the interval of a level differ.

    Raises:
        ValueError: if there are fewer than 2 levels, or the range is empty.

    >>> scale = ValueScale(levels=3, range=(0.0, 1.0))
    >>> scale.to_network(torch.tensor([0.0, 0.4, 1.0])).tolist()
    [-1.0, 0.0, 1.0]
    """

    def __init__(self, levels: int, range: Sequence[float], continuous: bool = False):
        if levels < 2:
            raise ValueError(f"levels={levels} must be at least 2")
        low, high = range
        if not low < high:
            raise ValueError(f"range={tuple(range)} must be two numbers, the lower one first")
        self.levels, self.low, self.high, self.continuous = levels, low, high, continuous
        self.spacing = (high - low) / (levels - 1)

    @property
    def log_slope(self) -> float:
        """Logarithm of the derivative of ``to_network`` for continuous values."""
        return math.log(2 / (self.levels * self.spacing))

    def check(self, low: float, high: float) -> None:
        """Check the smallest and the largest value of images. Half the spacing outside of the range is allowed.

        Raises:
            ValueError: if a value is out of range.
        """
        if low < self.low - self.spacing / 2 or high > self.high + self.spacing / 2:
            raise ValueError(
                f"images have values from {low:g} to {high:g}; this model needs values from {self.low:g} to "
                f"{self.high:g}: scale them to this range"
            )

    def to_network(self, x: Tensor) -> Tensor:
        """Values from -1 to 1; discrete values are rounded to the nearest level."""
        steps = (x - self.low) / self.spacing
        if self.continuous:
            return steps * (2 / self.levels) - 1
        return steps.round().clamp(0, self.levels - 1) * (2 / (self.levels - 1)) - 1

    def to_data(self, y: Tensor) -> Tensor:
        """The levels of values of the network: of continuous values, the level in whose interval they are."""
        if self.continuous:
            level = ((y + 1) * (self.levels / 2)).floor().clamp(0, self.levels - 1)
        else:
            level = self.level(y)
        return level / (self.levels - 1) * (self.high - self.low) + self.low

    def level(self, y: Tensor) -> Tensor:
        """The number of the level of discrete values of the network, from 0, in the dtype of the values."""
        return ((y + 1) * ((self.levels - 1) / 2)).round()

    def nearest(self, y: Tensor) -> Tensor:
        """The nearest value of a level."""
        return self.level(y.clamp(-1, 1)) * (2 / (self.levels - 1)) - 1

    def within(self, x: Tensor) -> Tensor:
        """Values of the network for levels: of continuous values, the middle of the interval of each level."""
        return self.to_network(x + self.spacing / 2 if self.continuous else x)
