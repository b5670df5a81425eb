"""Minus log p(x) of dynamically binarized MNIST beside Burda et al., 2016, table 1: VAE, and IWAE where there is a GPU.

Their network, 784-200-200-50 with tanh, their Adam and their course of the learning rate; from DANLU_DATA or fetched.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import torch

import danlu
from benchmarks.harness import Score
from danlu.recipes import VAERecipe
from danlu.rng import generator

SEEDS, DRAWS, AT_ONCE, NEAR = 2, 5000, 100, 0.5
STAGES = [3**i for i in range(8)]
"""epochs with learning rates 0.001 · 10^(-i/7)"""
NETWORK: dict[str, Any] = {
    "data": "mnist",
    "binarize": "dynamic",
    "model.hidden": (200, 200),
    "model.latent": 50,
    "model.activation": "tanh",
    "optimizer": "adam",
    "eps": 1e-4,
    "schedule": "step",
    "milestones": tuple(passed / sum(STAGES) for passed in accumulate(STAGES[:-1])),
    "gamma": 10 ** (-1 / 7),
    "monitor": "none",
    "sample_grids": 0,
}


class Published(NamedTuple):
    """A row of their table, and how long it is trained here."""

    name: str
    nats: float
    changes: dict[str, Any]


CPU = (Published("vae-mnist", 86.76, {"batch_size": 100, "epochs": 400}),)
GPU = (
    Published("vae-mnist", 86.76, {"batch_size": 100, "epochs": sum(STAGES), "cuda_graphs": True}),
    Published("iwae-50-mnist", 84.78, {"objective": "iwae", "samples": 50, "batch_size": 100, "epochs": 1000}),
)


def run() -> list[Score]:
    """A row for each published one that this machine can train."""
    return [_row(row) for row in (GPU if torch.cuda.is_available() else CPU)]


def _row(row: Published) -> Score:
    values, seconds = [], []
    given = {**NETWORK, **row.changes, "evaluate_every": 20_000}
    with tempfile.TemporaryDirectory() as scratch:
        for seed in range(SEEDS):
            begun, out = time.monotonic(), Path(scratch) / str(seed)
            threads = None if torch.cuda.is_available() else 1
            danlu.train("vae", seed=seed, out=out, quiet=True, threads=threads, **given)
            seconds.append(time.monotonic() - begun)
            values.append(_nats(danlu.load(out), seed))
            print(f"  {row.name}, seed {seed}: {values[-1]:.2f} nats", flush=True)
    return Score(
        name=row.name,
        metric=f"minus the importance weighted bound of log p(x) from {DRAWS} draws, nats, 10,000 official test images",
        published=f"{row.nats} nats (Burda et al. 2016, table 1)",
        values=values,
        protocol=f"54,000 training pictures, {row.changes['epochs']} epochs of batches of {row.changes['batch_size']} "
        f"instead of 60,000, {sum(STAGES)} and 20, their learning rates stretched over them; test pictures drawn once; "
        f"a run takes {statistics.mean(seconds):.0f} s",
        seconds=sum(seconds),
        target=f"no worse than theirs by more than {NEAR} nats",
        met=statistics.mean(values) <= row.nats + NEAR,
    )


def _nats(model: Any, seed: int) -> float:
    """Mean of minus log p(x) over the test pictures."""
    test = VAERecipe(data="mnist", binarize="dynamic").load().test
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model, random = model.to(device).eval(), generator(seed, device=device)
    with torch.no_grad():
        chunks = test["image"].to(device).split(AT_ONCE)
        return -float(torch.cat([model.log_prob_bound(c, DRAWS, generator=random) for c in chunks]).double().mean())
