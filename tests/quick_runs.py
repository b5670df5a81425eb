"""The quick runs of the experiments, each made once in a process for all tests that look at it."""

from functools import cache
from typing import Any

import pytest

from danlu.catalogue import find_experiment
from danlu.experiments import Outcome
from danlu.experiments.harness.seeds import seeds


def two_seeds(seed: int, count: int) -> list[int]:
    """Two seeds in place of more."""
    return seeds(seed, min(count, 2))


SMALLER: dict[str, dict[str, object]] = {
    "distillation": {"seeds": two_seeds, "REPEATS": 1, "STEPS": 1, "DRAWS": 100, "GENERATED": 20},
    "one-sided-smoothing": {"SAMPLES": 250},
}
"""experiment: values of names of its module that make it smaller; then it may show no effect"""


def grouped(names: Any) -> list[Any]:
    """Parameters of which each runs in one process, so that what `quick_run` keeps is used there."""
    return [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in names]


@cache
def quick_run(name: str) -> tuple[Outcome, list[tuple[str, int, int]]]:
    """The outcome of an experiment's quick run with seed 0, and the progress that it has reported."""
    told: list[tuple[str, int, int]] = []
    experiment = find_experiment(name)
    with pytest.MonkeyPatch.context() as patch:
        for constant, value in SMALLER.get(name, {}).items():
            patch.setattr(f"{experiment.measure.__module__}.{constant}", value)
        return experiment.run(0, lambda *progress: told.append(progress), quick=True), told
