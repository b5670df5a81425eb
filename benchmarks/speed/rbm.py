"""Training of an RBM with 784 visible and 500 hidden units on black-and-white MNIST, beside scikit-learn.

Both do persistent contrastive divergence with one step, batches of 100, a learning rate of 0.05 and no momentum, on the
same images in float32. The peer's products run in numpy's OpenBLAS: unset OPENBLAS_CORETYPE and OPENBLAS_L2_SIZE, which
some machines set, because they slow it. The step of danlu has its stream, gradient norm and check for NaN. Both
machines are then judged by the same annealed importance sampling. bf16 has products in bfloat16 and weights in float32;
it is fast only on a processor with instructions for bfloat16.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from itertools import islice
from typing import Any

import torch
from sklearn.neural_network import BernoulliRBM
from threadpoolctl import threadpool_limits

from benchmarks.harness import Row, alternate, compared, cpu_seconds
from danlu.data import Part
from danlu.models import RBM
from danlu.recipes import RBMRecipe, build
from danlu.recipes.config.build import start_runtime
from danlu.training.runtime import Precision

HIDDEN, BATCH, LR, PAIRS, STEPS, JUDGED = 500, 100, 0.05, 9, 60, 3000
"""hidden units, examples of a batch, learning rate, pairs of measurements, batches in each, and batches before AIS"""
BETAS, TEST = 32_000, 2000
TARGETS: dict[Precision, float] = {"float32": 0.85, "bf16": 1.5}


def run() -> Iterator[Row]:
    """A row for each precision, in µs of processor time for each image on one thread."""
    torch.set_num_threads(1)
    if found := [name for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE") if name in os.environ]:
        warnings.warn(f"{' and '.join(found)} slow the peer; unset them", stacklevel=1)
    with threadpool_limits(1):
        for precision in TARGETS:
            yield _row(precision)


def _row(precision: Precision) -> Row:
    recipe = RBMRecipe(
        data="mnist",
        binarize="threshold",
        model={"hidden": HIDDEN},  # type: ignore[arg-type]
        batch_size=BATCH,
        rounds=2 * JUDGED + (PAIRS + 1) * STEPS,
        epochs=None,
        lr=LR,
        schedule="constant",
        precision=precision,
        likelihood=False,
        evaluate_every=10**6,
        sample_grids=0,
    )
    built = build(recipe, start_runtime(recipe, "cpu"))
    rounds = iter(built.trainer)
    peer: Any = BernoulliRBM(HIDDEN, learning_rate=LR, batch_size=BATCH, random_state=0)
    batches = _batches(built.data.train)
    pairs = alternate(
        lambda: cpu_seconds(lambda: [peer.partial_fit(x) for x in islice(batches, STEPS)]) / STEPS / BATCH * 1e6,
        lambda: cpu_seconds(lambda: [next(rounds) for _ in range(STEPS)]) / STEPS / BATCH * 1e6,
        PAIRS,
    )
    done = (PAIRS + 1) * STEPS
    for _ in range(JUDGED - done):
        next(rounds)
        peer.partial_fit(next(batches))
    times, x = compared(pairs), built.data.test["image"][:TEST]
    ours, theirs = _judged(built.task.model, x), _judged(_as_danlu(peer, built.task.model), x)
    return Row(
        name=f"rbm-{precision}",
        peer=f"BernoulliRBM, scikit-learn {version('scikit-learn')}, float32",
        unit="µs an image",
        **times,
        target=f"at least {TARGETS[precision]:g} times as fast",
        met=times["ratio"] >= TARGETS[precision],
        notes=f"{1e6 / times['theirs']:,.0f} images/s theirs, {1e6 / times['ours']:,.0f} ours; log-likelihood in nats "
        f"of {TEST:,} test images after {JUDGED:,} batches, with {BETAS:,} temperatures: {theirs} theirs, {ours} ours",
    )


def _batches(part: Part) -> Iterator[Any]:
    """Batches in a new order in each epoch, for the peer."""
    x, source = part["image"].flatten(1).numpy(), torch.Generator().manual_seed(0)
    while True:
        for rows in torch.randperm(len(x), generator=source).split(BATCH):
            if len(rows) == BATCH:
                yield x[rows.numpy()]


def _as_danlu(peer: Any, like: Any) -> Any:
    """The peer's weights in a model of danlu, with the moments of the data of another one."""
    model: Any = RBM(like.shape, HIDDEN)
    model.load_state_dict(like.state_dict())
    with torch.no_grad():
        model.weight.copy_(torch.from_numpy(peer.components_.T))
        model.bias.copy_(torch.from_numpy(peer.intercept_hidden_))
        model.units.bias.copy_(torch.from_numpy(peer.intercept_visible_))
    return model


@torch.no_grad()
def _judged(model: Any, x: torch.Tensor) -> str:
    log_z = model.log_normalizer(betas=BETAS)
    error = "unreliable" if log_z.standard_error is None else f"± {log_z.standard_error:.2f}"
    return f"{-float(model.energy(x).double().mean()) - log_z.value:.2f} {error}"
