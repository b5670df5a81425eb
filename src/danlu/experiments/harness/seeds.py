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
    return [seed_of("experiment", seed, number) for number in range(count)]


def seed_of(*parts: int | str) -> int:
    """A seed of 31 bits for a run, or for a network in a run.

    Args:
        parts: the parts of its key.

    >>> 0 <= seed_of("critic", 0) < 2**31, seed_of("critic", 0) == seed_of("critic", 1)
    (True, False)
    """
    return key(*parts) % 2**31
