"""The numeric target of a regression: its name, and its values on the training part."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from danlu.errors import UsageError


@dataclass(frozen=True)
class NumberTarget:
    """A number that a model predicts for each example. Parts have it as ``(value - shift) / scale`` in ``target``.

    Attributes:
        name: name of the column.
        shift: mean on the training part.
        scale: standard deviation on the training part; 1 if all values are equal.
        median: median on the training part.
    """

    name: str
    shift: float = 0.0
    scale: float = 1.0
    median: float = 0.0

    def check(self) -> None:
        """Check values that come from a file.

        Raises:
            ValueError: if a value is not possible.
        """
        if not all(map(math.isfinite, (self.shift, self.scale, self.median))) or self.scale <= 0:
            raise ValueError("shift, scale and median of the target must be finite, and scale above 0")


def fitted_target(name: str, values: Float64[np.ndarray, "n"], source: str) -> NumberTarget:
    """The target with mean, standard deviation and median of the training values.

    Raises:
        UsageError: if all values are equal; the message names the source.
    """
    if values.min() == values.max():
        raise UsageError(
            f"{source}: column {name!r} has the same value {values[0]:g} in all training examples; "
            f"a numeric target needs at least two values"
        )
    return fit_target(name, values)


def fit_target(name: str, values: Float64[np.ndarray, "n"]) -> NumberTarget:
    """The target with mean, standard deviation and median of these values.

    >>> fit_target("price", np.array([1.0, 2.0, 6.0])).shift
    3.0
    """
    shift = float(values.mean())
    centered = values - shift
    largest = float(np.abs(centered).max())  # scaled first, because squares of very small numbers underflow to 0
    scale = largest * float(np.sqrt(np.square(centered / largest).mean())) if largest else 1.0
    return NumberTarget(name, shift, scale or 1.0, float(np.median(values)))
