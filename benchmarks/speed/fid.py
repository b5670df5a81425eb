"""The Fréchet distance from 2048 features of each example, beside torchmetrics: many examples, and few.

Both begin with the features of two sets and end with one number in float64. The peer's classes want a network that
makes the features; what is timed of them is what their ``update`` and ``compute`` do with features.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version

import torch
from torch import Tensor

from benchmarks.harness import Row, alternate, compared, cpu_seconds
from danlu.metrics import fid_from_features
from danlu.rng import generator

WIDTH, PAIRS, EQUAL = 2048, 7, 1e-6
TARGETS = {10_000: 1.5, 500: 20.0}


def run() -> list[Row]:
    """A row for each number of examples, in seconds of processor time on one thread."""
    torch.set_num_threads(1)
    return [_row(n, target) for n, target in TARGETS.items()]


def _row(n: int, target: float) -> Row:
    real, fake = (_features(n, number) for number in range(2))
    found: dict[str, float] = {}
    theirs, ours = _timed(_by_torchmetrics, real, fake, found), _timed(fid_from_features, real, fake, found)
    pairs = alternate(theirs, ours, PAIRS)
    times = compared(pairs)
    apart = abs(found["fid_from_features"] / found["_by_torchmetrics"] - 1)
    same = apart <= EQUAL
    return Row(
        name=f"fid-{n}",
        peer=f"torchmetrics {version('torchmetrics')}",
        unit="s",
        **times,
        target=f"at least {target:g} times as fast, and equal to {EQUAL:g}",
        met=same and times["ratio"] >= target,
        notes=f"2 × {n} examples, {WIDTH} features; {found['fid_from_features']:.6f}, which is {apart:.1e} apart",
    )


def _features(n: int, number: int) -> Tensor:
    """Above zero and correlated, with variances over several powers of ten, as those after a network's last pooling."""
    source = generator("features", number)
    mix = torch.randn(WIDTH, WIDTH, generator=generator("mix")) / WIDTH**0.5 * torch.logspace(0, -1.5, WIDTH)
    return (torch.randn(n, WIDTH, generator=source) @ mix + 0.05 * number).relu()


def _timed(
    distance: Callable[[Tensor, Tensor], float], real: Tensor, fake: Tensor, found: dict[str, float]
) -> Callable[[], float]:
    def once() -> float:
        return cpu_seconds(lambda: found.update({distance.__name__: distance(real, fake)}))

    return once


def _by_torchmetrics(real: Tensor, fake: Tensor) -> float:
    from torchmetrics.image.fid import _compute_fid

    moments = []
    for features in (real.double(), fake.double()):
        n, total, squares = len(features), features.sum(dim=0), features.t().mm(features)
        mean = (total / n).unsqueeze(0)
        moments += [mean.squeeze(0), (squares - n * mean.t().mm(mean)) / (n - 1)]
    return float(_compute_fid(*moments))
