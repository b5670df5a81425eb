"""Exact likelihoods on MNIST beside published ones: RealNVP, MAF, PixelCNN and Gated PixelCNN, one seed each.

Each run is cut to about ten minutes on two CPU cores. Data from DANLU_DATA or fetched; the runs are kept in ``runs/``.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

import danlu
from benchmarks.harness import Score, flags
from danlu.data.base.batch_stream import in_order
from danlu.data.base.dataset import DataSet
from danlu.data.base.density import dequantize, fixed_noise
from danlu.recipes import as_recipe

MINUTES, BATCH = 10, 500
KEPT = Path("runs") / "mnist-density"


class Published(NamedTuple):
    """A published number, and how a recipe is trained for it here."""

    recipe: str
    metric: str
    published: str
    score: str | Callable[[Any, DataSet], float]
    changes: dict[str, Any]


def logit_nats(model: Any, data: DataSet) -> float:
    """Mean log-density of the logits of the dequantized test images in nats, as Papamakarios et al. 2017 count it."""
    total = 0.0
    for batch in in_order(data.test, BATCH):
        x = batch[data.info.inputs]
        noisy = dequantize(x, fixed_noise(x, batch.numbers), data.info)
        with torch.no_grad():
            total += float((model.log_prob(noisy) - model.logit(noisy.flatten(1))[1]).double().sum())
    return total / len(data.test)


LOGITS = "log-density of the logits of the dequantized test images, nats, higher is better"
NATS = "log-likelihood of the dynamically binarized test images, nats, higher is better"
OF_PIXELCNN = "-81.30 (PixelCNN of van den Oord et al. 2016, Pixel recurrent neural networks, table of MNIST)"
ROWS = (
    Published(
        "maf",
        LOGITS,
        "-1300.5 (MAF of five blocks, Papamakarios et al. 2017, table 2)",
        logit_nats,
        {
            "model.hidden": (512,),
            "model.alpha": 1e-6,
            "batch_size": 100,
            "lr": 1e-3,
            "rounds": 4500,
            "schedule": "cosine",
        },
    ),
    Published(
        "realnvp", "bits per pixel of the test images", "none for this network", "bits_per_dimension", {"rounds": 1200}
    ),
    Published("pixelcnn", NATS, OF_PIXELCNN, "log_prob", {"binarize": "dynamic", "rounds": 1000, "schedule": "cosine"}),
    Published(
        "gated-pixelcnn",
        NATS,
        OF_PIXELCNN,
        "log_prob",
        {"binarize": "dynamic", "rounds": 800, "schedule": "cosine"},
    ),
)


def run() -> Iterator[Score]:
    """One row for each model."""
    return map(_row, ROWS)


def _row(row: Published) -> Score:
    given = {"data": "mnist", "sample_grids": 4, **row.changes}
    out = KEPT / row.recipe
    shutil.rmtree(out, ignore_errors=True)
    begun = time.monotonic()
    done = danlu.train(row.recipe, out=out, threads=torch.get_num_threads(), quiet=True, **given)
    seconds = time.monotonic() - begun
    scores = done.page["scores"]["test"]
    value = (
        scores[row.score]
        if isinstance(row.score, str)
        else row.score(danlu.load(out), as_recipe(row.recipe, given).load())
    )
    return Score(
        name=f"mnist-{row.recipe}",
        metric=row.metric,
        published=row.published,
        values=[value],
        protocol=f"{flags(given)}; a tenth of the 60,000 training images is for validation, which chooses the weights; "
        f"{scores['bits_per_dimension']:.3f} bits per pixel",
        seconds=seconds,
        target=f"a run within {MINUTES} minutes, data, report and sample images included",
        met=seconds <= 60 * MINUTES,
    )
