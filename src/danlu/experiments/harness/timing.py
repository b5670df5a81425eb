"""Processor times of operations, and how they grow with a size.

Processor time counts only the time in which this process runs, so waiting for other processes does not change it. What
they take from shared caches and from the memory bus still does. Operations are therefore measured in alternation, a
time is a median over rounds, and the rounds are divided into two halves, whose results an experiment compares.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from statistics import median
from typing import TypeVar

LEAST = 5e-3
"""seconds: shorter operations are repeated for so long, because reading the clock takes time"""
K = TypeVar("K", bound=Hashable)


def alternating_times(operations: Mapping[K, Callable[[], object]], rounds: int) -> dict[K, list[float]]:
    """The processor time of one call of each operation in each round, in seconds.

    Each operation is called once or twice before, without measurement. Every second round has the reverse order.

    Args:
        operations: functions without arguments, by name.
        rounds: number of rounds.

    >>> {name: len(times) for name, times in alternating_times({"sum": lambda: sum(range(9))}, rounds=3).items()}
    {'sum': 3}
    """
    repeats = {name: _repeats(operation) for name, operation in operations.items()}
    times: dict[K, list[float]] = {name: [] for name in operations}
    order = list(operations)
    for number in range(rounds):
        for name in order[::-1] if number % 2 else order:
            times[name].append(_time(operations[name], repeats[name]))
    return times


def _repeats(operation: Callable[[], object]) -> int:
    """How often an operation is called in one measurement; a short one is called twice to find out."""
    if _time(operation, 1) >= 2 * LEAST:  # the first call can take longer
        return 1
    return max(1, math.ceil(LEAST / max(_time(operation, 1), 1e-7)))


def _time(operation: Callable[[], object], repeats: int) -> float:
    begun = time.process_time()
    for _ in range(repeats):
        operation()
    return (time.process_time() - begun) / repeats


def halves(times: Sequence[float]) -> tuple[float, float]:
    """The medians of the rounds with an even and with an odd number.

    >>> halves([1.0, 5.0, 2.0, 6.0, 9.0])
    (2.0, 5.5)
    """
    return median(times[::2]), median(times[1::2])


def growth(sizes: Sequence[float], times: Sequence[float]) -> float:
    """The slope of the logarithm of a time over the logarithm of a size: the exponent of a power law.

    Args:
        sizes: at least two different sizes.
        times: the time at each size.

    >>> round(growth([10, 20, 40], [1.0, 8.0, 64.0]), 6)
    3.0
    """
    x, y = ([math.log(value) for value in values] for values in (sizes, times))
    x_mean, y_mean = (sum(values) / len(values) for values in (x, y))
    return sum((a - x_mean) * (b - y_mean) for a, b in zip(x, y, strict=True)) / sum((a - x_mean) ** 2 for a in x)
