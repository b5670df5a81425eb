"""Columns with a name whose values number or identify the rows. They are inputs unless the user leaves them out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

_FEWEST = 20
"""number of rows below which no column is taken for a number of the rows"""
_FEWEST_CODES = 50
"""the same for codes, which are integers with equally many digits"""
_SHORTEST_CODE = 10_000
"""smallest integer that is taken for a code"""
_SURPRISING = 5
"""number of pairs of equal integers that are expected; if there is none, the integers are different on purpose"""
_ROUNDING = 2.0**-24
"""error of a stored float32 number, relative to it: half a unit in the last place"""
_ROUNDING_64 = 2.0**-50
"""error of the computations in float64, relative to the largest number"""
KNOWN = 0.25
"""error below which a number is known so well that it can be taken for an integer"""


def identifies_rows(
    parts: Sequence[Float64[np.ndarray, "_"]], errors: Sequence[Float64[np.ndarray, "_"]] | None = None
) -> bool:
    """Whether a column may number or identify the rows.

    It may if it has at least 20 rows in the training part and is one of these:

    - integers that increase from row to row in each part, as a counter or sorted years;
    - equidistant values in any order, up to an eighth of a step, as hourly times;
    - different integers, so densely that at least 5 pairs would be equal if they were drawn at random: n² / (2 · range)
      is at least 5, where n is the number of rows;
    - different integers with equally many digits, at least five, in at least 50 rows, as customer numbers.

    Measured integers in a small table are often different, so the last two rules ask for more. A column can only be
    taken for integers if at least 20 of its values are known to a quarter.

    Args:
        parts: the values of the column in each part that has rows, the training part first.
        errors: largest error of each value; 0 by default.

    >>> source = np.random.default_rng(0)
    >>> numbers = source.permutation(np.unique(source.integers(100_000_000, 999_999_999, 200))).astype(float)
    >>> identifies_rows([numbers]), identifies_rows([np.append(numbers, numbers[:1])])
    (True, False)
    """
    if len(parts[0]) < _FEWEST or not all(np.isfinite(part).all() for part in parts):
        return False
    errors = [np.zeros(len(part)) for part in parts] if errors is None else errors
    values, error = np.concatenate(parts), np.concatenate(errors)
    if _equidistant(values, error):
        return True
    if not _integers(values, error):
        return False
    if all(_increases(part, bound) for part, bound in zip(parts, errors, strict=True)):
        return True
    low, high, n = float(values.min().round()), float(values.max().round()), len(values)
    dense = n**2 >= 2 * _SURPRISING * (high - low)
    codes = n >= _FEWEST_CODES and low >= _SHORTEST_CODE and len(f"{low:.0f}") == len(f"{high:.0f}")
    if not (dense or codes):
        return False
    order = values.argsort()
    return _increases(values[order], error[order])


def stored_error(
    stored: Float64[np.ndarray, "n"], scale: float | Float64[np.ndarray, "n"], largest: float | Float64[np.ndarray, "n"]
) -> Float64[np.ndarray, "n"]:
    """The largest errors of numbers that are stored as float32, in the units of the file.

    Args:
        stored: the standardized numbers.
        scale: the number by which they were divided.
        largest: the largest number of the column, in the units of the file.
    """
    return _ROUNDING * scale * np.abs(stored) + _ROUNDING_64 * largest


def _integers(values: Float64[np.ndarray, "n"], error: Float64[np.ndarray, "n"]) -> bool:
    """Whether enough values are known to a quarter, and these can be integers."""
    known = error < KNOWN
    values, error = values[known], error[known]
    return len(values) >= _FEWEST and bool((np.abs(values - values.round()) <= error).all())


def _increases(values: Float64[np.ndarray, "n"], error: Float64[np.ndarray, "n"]) -> bool:
    """Whether integers, each known up to an error, can increase."""
    return bool((np.diff(values) >= 1 - error[1:] - error[:-1]).all())


def _equidistant(values: Float64[np.ndarray, "n"], error: Float64[np.ndarray, "n"]) -> bool:
    """Whether the sorted values can be equidistant, and are known so well that random values could not."""
    n, low, extent = len(values), values.min(), np.ptp(values)
    if extent <= 20 * np.sqrt(n) * error.max():  # n random values differ from equidistant ones by about extent / √n
        return False
    step = extent / (n - 1)
    tolerance = 2 * error.max() + step / 8  # the numbers of the file may be rounded
    below = int((values < low + extent / 2).sum())
    if abs(below - n / 2) > tolerance / step + 1:  # sorting takes longer
        return False
    return bool((np.abs(np.sort(values) - (low + step * np.arange(n))) <= tolerance).all())
