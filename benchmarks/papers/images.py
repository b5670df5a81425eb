"""Test accuracy on MNIST and Fashion-MNIST, three seeds each, and how long a run takes; from DANLU_DATA or fetched."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import danlu
from benchmarks.harness import Score

SEEDS, MINUTES = 3, 10


class Promise(NamedTuple):
    """A recipe on a data set, what it is called with, and the accuracy that is promised."""

    recipe: str
    data: str
    changes: dict[str, Any]
    target: float


CROP = {"augment.crop": 2}
PROMISES = (
    Promise("mlp", "mnist", {"epochs": 12}, 0.982),
    Promise("resnet-fast", "mnist", {**CROP, "epochs": 10}, 0.993),
    Promise("resnet-fast", "fashion-mnist", {**CROP, "augment.flip": "alternating", "epochs": 14}, 0.92),
)


def run() -> list[Score]:
    """One row for each promise, trained as ``danlu train NAME --seed N`` trains it."""
    return [_row(promise) for promise in PROMISES]


def _row(promise: Promise) -> Score:
    values, seconds = [], []
    with tempfile.TemporaryDirectory() as scratch:
        for seed in range(SEEDS):
            begun = time.monotonic()
            out = Path(scratch) / str(seed)
            done = danlu.train(promise.recipe, data=promise.data, seed=seed, out=out, quiet=True, **promise.changes)
            seconds.append(time.monotonic() - begun)
            values.append(done.page["scores"]["test"]["accuracy"])
    given = " ".join(f"--{name} {value}" for name, value in promise.changes.items())
    return Score(
        name=f"{promise.data}-{promise.recipe}",
        metric="accuracy on the 10,000 official test images",
        published="none for this network",
        values=values,
        protocol=f"{given}; a tenth of the 60,000 training images is for validation, which chooses the weights; "
        f"a run takes {statistics.mean(seconds):.0f} s, the slowest {max(seconds):.0f} s",
        seconds=sum(seconds),
        target=f"at least {promise.target}, each run within {MINUTES} minutes",
        met=statistics.mean(values) >= promise.target and max(seconds) <= 60 * MINUTES,
    )
