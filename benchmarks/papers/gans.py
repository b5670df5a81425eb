"""GANs on MNIST and Fashion-MNIST on two cores, each within twenty minutes: their distance, and a sheet of samples."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import danlu
from benchmarks.harness import Score, flags

MINUTES = 20
PICTURES = Path(__file__).parents[2] / "docs" / "images"


class Promise(NamedTuple):
    """A recipe on a data set, and what it is called with."""

    recipe: str
    data: str
    changes: dict[str, Any]


NARROW: dict[str, Any] = {"generator.width": 32, "critic.width": 32, "evaluate_every": 500, "channels_last": "on"}
DCGAN: dict[str, Any] = {**NARROW, "rounds": 3000}
WGAN_GP: dict[str, Any] = {**NARROW, "rounds": 1200, "lr": 2e-4, "evaluate_every": 300}
PROMISES = (
    Promise("dcgan", "mnist", DCGAN),
    Promise("dcgan", "fashion-mnist", DCGAN),
    Promise("wgan-gp", "mnist", WGAN_GP),
    Promise("wgan-gp", "fashion-mnist", WGAN_GP),
)


def run() -> Iterator[Score]:
    """One row for each promise, trained as ``danlu train NAME`` trains it; its samples go to the pages of the docs."""
    for promise in PROMISES:
        yield _row(promise)


def _row(promise: Promise) -> Score:
    with tempfile.TemporaryDirectory() as scratch:
        begun = time.monotonic()
        out = Path(scratch) / "run"
        done = danlu.train(promise.recipe, data=promise.data, out=out, quiet=True, **promise.changes)
        seconds = time.monotonic() - begun
        name = f"{promise.data}-{promise.recipe}"
        danlu.sample(out, 64, out=PICTURES / f"{promise.recipe}-{promise.data}.png", overwrite=True)
    scores = done.scores["generated"]
    distance = next(score for score in scores if score.startswith("FID["))
    others = ", ".join(f"{score} {value:.3g}" for score, value in scores.items() if score != distance)
    return Score(
        name=name,
        metric=distance,
        published="none with these features",
        values=[scores[distance]],
        protocol=f"danlu train {promise.recipe} --data {promise.data} {flags(promise.changes)}; {others}",
        seconds=seconds,
        target=f"samples that can be recognized, within {MINUTES} minutes",
        met=seconds <= 60 * MINUTES,
    )
