"""Penn Treebank, words: Zaremba et al., 2014, table 1, and noise-contrastive estimation beside the full softmax.

The LSTMs of the paper with its course of the learning rate. In the authors' code the loss is a sum over the tokens of a
step, danlu's is their mean: the rate is so many times larger, the clip as many times smaller. What is only for a GPU is
left out elsewhere.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

import danlu
from benchmarks.harness import Score


class Published(NamedTuple):
    """A row of their table 1, and how its network is trained."""

    name: str
    perplexity: float
    width: int
    bptt: int
    scale: float
    dropout: float
    epochs: int
    constant: int
    """epochs before the rate begins to fall"""
    divisor: float
    clip: float


SMALL = Published("lstm-ptb-small", 114.5, 200, 20, 0.1, 0.0, 13, 4, 2.0, 5.0)
MEDIUM = Published("lstm-ptb-medium", 82.7, 650, 35, 0.05, 0.5, 39, 6, 1.2, 5.0)
LARGE = Published("lstm-ptb-large", 78.4, 1500, 35, 0.04, 0.65, 55, 14, 1.15, 10.0)
NEAR = 1.03
"""ours may be larger by this factor"""
NCE_EPOCHS = 3


def run() -> Iterator[Score]:
    """A row for each network that this machine can train, then estimation by noise beside the full softmax."""
    gpu = torch.cuda.is_available()
    for row in (SMALL, MEDIUM, LARGE) if gpu else (SMALL,):
        yield _row(row, gpu)
    yield _noise(gpu)


def settings(row: Published) -> dict[str, Any]:
    """What ``danlu train lstm-lm`` is called with for one of their networks."""
    return {
        "data": "ptb",
        "model.width": row.width,
        "model.embedding": row.width,
        "model.layers": 2,
        "model.dropout": row.dropout,
        "model.initial": "uniform",
        "model.forget_bias": None,
        "model.scale": row.scale,
        "batch_size": 20,
        "bptt": row.bptt,
        "epochs": row.epochs,
        "optimizer": "sgd",
        "lr": float(row.bptt),
        "grad_clip": row.clip / row.bptt,
        "schedule": "step",
        "gamma": 1 / row.divisor,
        "milestones": tuple(epoch / row.epochs for epoch in range(row.constant, row.epochs)),
        "text_samples": 0,
    }


def _row(row: Published, gpu: bool) -> Score:
    test, validation, seconds = _trained("lstm-lm", settings(row), gpu)
    return Score(
        name=row.name,
        metric=f"perplexity per word of PTB's test part, 2×{row.width} LSTM; {validation:.1f} on the validation part",
        published=f"{row.perplexity} (Zaremba et al. 2014, table 1)",
        values=[test],
        protocol=f"theirs: {row.epochs} epochs of 20 lanes of {row.bptt} words; weights of the best validation score "
        "are kept; the first word of the text is given",
        seconds=seconds,
        target=f"within {NEAR - 1:.0%} of theirs",
        met=test <= NEAR * row.perplexity,
    )


def _noise(gpu: bool) -> Score:
    """The same small LSTM by both losses, for as many epochs."""
    same: dict[str, Any] = {
        "data": "ptb",
        "model.width": 200,
        "model.layers": 2,
        "model.embedding": 200,
        "model.dropout": 0.2,
        "model.initial": "orthogonal",
        "model.forget_bias": 1.0,
        "batch_size": 20,
        "bptt": 20,
        "epochs": NCE_EPOCHS,
        "text_samples": 0,
    }
    theirs, _, slow = _trained("lstm-lm", {**same, "text.tokens": "words"}, gpu)
    ours, _, quick = _trained("nce-lm", {**same, "noise.words": 100}, gpu)
    return Score(
        name="nce-ptb",
        metric="perplexity per word of PTB's test part, normalized, 2×200 LSTM by noise-contrastive estimation",
        published="an order of magnitude less time at equal quality, of another network (Mnih & Teh 2012, abstract)",
        values=[ours],
        protocol=f"{NCE_EPOCHS} epochs each, 100 words of noise for a batch; the full softmax in as many epochs: "
        f"{theirs:.1f}, {slow / quick:.1f} times as long with two evaluations included",
        seconds=slow + quick,
        target="within 5% of the full softmax",
        met=ours <= 1.05 * theirs,
    )


def _trained(recipe: str, given: dict[str, Any], gpu: bool) -> tuple[float, float, float]:
    """Perplexities of test and validation part, and seconds."""
    how: dict[str, Any] = {"precision": "bf16", "cuda_graphs": True} if gpu else {"threads": 1}
    with tempfile.TemporaryDirectory() as scratch:
        begun = time.monotonic()
        done = danlu.train(recipe, out=Path(scratch) / "run", quiet=True, **how, **given)
        seconds = time.monotonic() - begun
    print(f"  {recipe}: {done.scores['test']['perplexity']:.1f} in {seconds:.0f} s", flush=True)
    return done.scores["test"]["perplexity"], done.scores["validation"]["perplexity"], seconds
