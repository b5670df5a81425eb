"""Intervals of a mean difference over seeds, and the changes of sign of a randomization test."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import product
from math import isinf, sqrt
from statistics import fmean, stdev
from typing import NamedTuple

LEVEL = 0.95
"""the level of all intervals of the experiments"""
MAX_SEEDS = 12
"""all changes of sign are enumerated: 4096 for 12 seeds"""


class Interval(NamedTuple):
    """A mean and its confidence interval."""

    mean: float
    low: float
    high: float


def confidence_interval(values: Sequence[float], level: float = LEVEL) -> Interval:
    """The mean of independent values with Student's interval.

    A single value is its own interval: it stands for an exact result. With infinite values, which stand for failed
    runs, the interval is the range of the values: with five seeds all are on one side of 0 with probability 1/16 if
    there is no effect.

    Args:
        values: one value for each seed.
        level: the confidence level.

    >>> mean, low, high = confidence_interval([1.0, 2.0, 3.0])
    >>> round(low, 3), mean, round(high, 3)
    (-0.484, 2.0, 4.484)
    """
    if any(map(isinf, values)):
        low, high = min(values), max(values)
        return Interval(sorted(values)[(len(values) - 1) // 2], low, high)
    mean = fmean(values)
    if len(values) == 1:
        return Interval(mean, mean, mean)
    half = quantile(len(values) - 1, level) * stdev(values) / sqrt(len(values))
    return Interval(mean, mean - half, mean + half)


@cache
def quantile(freedom: int, level: float) -> float:
    """The two-sided quantile of Student's distribution.

    >>> round(quantile(4, 0.95), 3)
    2.776
    """
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + level) / 2))


@cache
def sign_flips(count: int) -> tuple[tuple[int, ...], ...]:
    """All choices of a sign for each of some values. If there is no effect, all are equally probable.

    Raises:
        ValueError: if there are too many.

    >>> sign_flips(2)
    ((1, 1), (1, -1), (-1, 1), (-1, -1))
    """
    if count > MAX_SEEDS:
        raise ValueError(f"{count} seeds give 2**{count} changes of sign; use at most {MAX_SEEDS} seeds")
    return tuple(product((1, -1), repeat=count))
