"""Log-likelihood of an RBM with 500 hidden units on MNIST beside the published one, one seed.

On a CPU the training is cut to 15 minutes on two cores, with persistent chains of one step; on a GPU it is contrastive
divergence with 25 steps, as published. The log-likelihood is an estimate by annealed importance sampling with its
standard error, or unreliable. Data from DANLU_DATA or fetched; the run is kept in ``runs/``.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

import danlu
from benchmarks.harness import Score, flags

MINUTES = 15
KEPT = Path("runs") / "rbm-mnist"
COMMON: dict[str, Any] = {
    "data": "mnist",
    "model.hidden": 500,
    "batch_size": 100,
    "weight_decay": 2e-4,
    "evaluate_every": 6000,
    "sample_grids": 2,
}
SHORT: dict[str, Any] = {"epochs": 60}
PUBLISHED: dict[str, Any] = {"chains": "data", "steps": 25, "epochs": 300}


def run() -> Iterator[Score]:
    """One row: persistent chains on a CPU, contrastive divergence with 25 steps on a GPU."""
    given = {**COMMON, **(PUBLISHED if torch.cuda.is_available() else SHORT)}
    shutil.rmtree(KEPT, ignore_errors=True)
    begun = time.monotonic()
    done = danlu.train("rbm", out=KEPT, threads=torch.get_num_threads(), quiet=True, **given)
    seconds = time.monotonic() - begun
    scores = done.page["scores"]["test"]
    reliable = "log_prob_estimate" in scores
    error = f"standard error {scores['log_prob_error']:.2f}" if reliable else "unreliable"
    yield Score(
        name="rbm-mnist",
        metric="log-likelihood of the dynamically binarized test images, nats, higher is better",
        published="-86.34 (500 hidden units, CD-25, Salakhutdinov and Murray 2008, table 1)",
        values=[scores["log_prob_estimate" if reliable else "log_prob_unreliable"]],
        protocol=f"{flags(given)}; annealed importance sampling: {error}, {scores['effective_chains']:.0f} effective "
        f"chains of 100; a tenth of the 60,000 training images is for validation",
        seconds=seconds,
        target=f"an estimate with its standard error within {MINUTES} minutes, data, report and samples included",
        met=reliable and seconds <= 60 * MINUTES,
    )
