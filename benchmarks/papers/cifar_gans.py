"""CIFAR-10 by DCGAN and convolutional WGAN-GP: Inception Score and FID beside published ones; for a GPU.

The features are Inception's if its public FID weights are found or can be fetched, and the row says so; else those of a
classifier of CIFAR-10, which no published number has.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch

import danlu
from benchmarks.harness import Score


class Published(NamedTuple):
    """A row of Gulrajani et al. 2017 and of public re-runs, and what danlu is called with."""

    name: str
    recipe: str
    numbers: str
    changes: dict[str, Any]


COMMON: dict[str, Any] = {
    "data": "cifar10",
    "precision": "bf16",
    "channels_last": "on",
    "evaluate_every": 5000,
    "feature_extractor": "inception",
    "augment.flip": "horizontal",
}
ROWS = (
    Published(
        "dcgan-cifar", "dcgan", "Inception Score 6.16 (Gulrajani et al. 2017, table 3)", {**COMMON, "rounds": 50_000}
    ),
    Published(
        "wgan-gp-cifar",
        "wgan-gp",
        "Inception Score 7.66, FID 19.83 (public re-runs of the convolutional network)",
        {**COMMON, "rounds": 100_000},
    ),
)


def run() -> list[Score]:
    """Both rows; none where there is no GPU. What does not fit into a sitting goes on with ``danlu resume``."""
    if not torch.cuda.is_available():
        print("cifar-gans: there is no GPU here")
        return []
    return [_row(row) for row in ROWS]


def _row(row: Published) -> Score:
    with tempfile.TemporaryDirectory() as scratch:
        begun = time.monotonic()
        done = danlu.train(row.recipe, out=Path(scratch) / "run", quiet=True, **row.changes)
        seconds = time.monotonic() - begun
    scores = done.scores["generated"]
    distance = next(score for score in scores if score.startswith("FID["))
    others = ", ".join(f"{score} {value:.4g}" for score, value in scores.items() if score != distance)
    return Score(
        name=row.name,
        metric=distance,
        published=row.numbers,
        values=[scores[distance]],
        protocol=f"danlu train {row.recipe}, {row.changes['rounds']:,} rounds in bf16; {others}",
        seconds=seconds,
        target="none: it is reported",
        met=True,
    )
