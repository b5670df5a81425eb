"""The random seeds of an experiment's runs."""

from __future__ import annotations

from danlu.rng.keys import key


def seeds(seed: int, count: int) -> list[int]:
    """The seeds of several runs. Those of two experiments with different seeds have none in common.

    Args:
        seed: the seed of the experiment.
        count: number of runs.

    >>> len({*seeds(0, 5), *seeds(1, 5)}), seeds(0, 2) == seeds(0, 5)[:2]
    (10, True)
    """
    return [key("experiment", seed, number) % 2**31 for number in range(count)]
