"""Batch norm keeps the scale of activations through depth and training (notes, 1.2.3).

A fully connected ReLU network of 16 layers learns the digits, with and without batch norm, its weights begun as torch
begins them, half as large, and √6 times as large, which is He et al.'s variance 2/inputs, made to keep the scale
("Delving deep into rectifiers", 2015). The scale of a layer's activations is their standard deviation over the training
examples (what is the same for every example carries nothing); their root mean square is measured beside it. That of its
gradient is the root mean square over its weights. Both at the start and after training. Three seeds.
"""

from __future__ import annotations

from copy import deepcopy
from statistics import fmean
from typing import TYPE_CHECKING, cast

import torch
from torch import nn

from danlu.data.base.dataset import Part
from danlu.data.datasets.digits import digits
from danlu.errors import Diverged
from danlu.experiments.harness.experiment import Experiment, Numbers, Table, Tell, Verdict
from danlu.experiments.harness.trainers import classifying, error, from_seed, spread
from danlu.losses.classification import cross_entropy
from danlu.models.classify.mlp import MLP
from danlu.training.optimization import OptimizerSettings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DEPTH, WIDTH = 16, 64
HE = 6**0.5
INITS = (0.5, 1.0, HE)  # times torch's weights, which are uniform within ±1/√inputs
KINDS = ("without", "with")
WHEN = ("start", "end")
KEPT = 3.0  # largest layer over smallest: a scale that is kept stays within it
LOST = 10.0  # and one that is lost goes beyond it


def network(norm: bool, init: float) -> MLP:
    """The network, its weights as torch begins them times a factor."""
    made = cast(MLP, MLP((1, 8, 8), 10, hidden=(WIDTH,) * DEPTH, norm="batch" if norm else None))
    with torch.no_grad():
        for layer in made.modules():
            if isinstance(layer, nn.Linear):
                layer.weight.mul_(init)
    return made


def measure(seed: int, tell: Tell, quick: bool = False) -> Numbers:
    """Scales by layer of activations and gradients at the start and the end, by kind, factor and seed; accuracy."""
    seeds = range(seed, seed + (1 if quick else 3))
    rounds = 30 if quick else 200
    data = digits()
    runs = [(kind, init, own) for kind in KINDS for init in INITS for own in seeds]
    numbers: Numbers = {kind: {f"{init:.3g}": [] for init in INITS} for kind in KINDS}
    for done, (kind, init, own) in enumerate(runs):
        tell("networks", done, len(runs))
        net = from_seed(lambda kind=kind, init=init: network(kind == "with", init), own)
        found: Numbers = {"start": scales(net, data.train)}
        try:
            for _ in classifying(net, data.train, OptimizerSettings(optimizer="sgd", lr=0.1), rounds, 64, own):
                pass
            found |= {
                "end": scales(net, data.train),
                "accuracy": 1 - error(net, data.test["image"], data.test["label"]),
            }
        except Diverged:
            found |= {"end": None, "accuracy": None}
        numbers[kind][f"{init:.3g}"].append(found)
    norms = [part for part in network(True, 1.0).modules() if isinstance(part, nn.BatchNorm1d)]
    trained = sum(p.numel() for part in norms for p in part.parameters())
    return {"runs": numbers, "trained parameters of a norm": trained // len(norms), "width": WIDTH}


def scales(net: MLP, part: Part) -> Numbers:
    """Deviation of each hidden layer's activations over all examples, and size of the gradient of its weights.

    The network is looked at as it is while training, with statistics of the batch; it is not changed.
    """
    net = deepcopy(net).train()
    seen: list[float] = []
    sizes: list[float] = []
    for layer in net.body:
        layer.register_forward_hook(lambda _, __, out: seen.append(_rms(out - out.mean(dim=0))))
        layer.register_forward_hook(lambda _, __, out: sizes.append(_rms(out)))
    cross_entropy(net(part["image"]), part["label"]).mean().backward()
    weights = [p for name, p in net.body.named_parameters() if name.endswith("linear.weight")]
    gradients = [_rms(w.grad) for w in weights if w.grad is not None]
    return {"activations": seen, "root mean squares": sizes, "gradients": gradients}


def _rms(values: torch.Tensor) -> float:
    return float(values.detach().double().square().mean().sqrt())


def ratio(values: list[float]) -> float:
    """Largest over smallest.

    >>> ratio([2.0, 1.0, 4.0])
    4.0
    """
    return max(values) / max(min(values), 1e-30)


def _worst(numbers: Numbers, kind: str, what: str, when: str, init: str | None = None) -> float:
    """The largest ratio between layers over seeds, and over all factors or for one; infinite if a run diverged."""
    runs = [run for own, runs in numbers["runs"][kind].items() for run in runs if init in (None, own)]
    return max(ratio(run[when][what]) if run[when] else float("inf") for run in runs)


def judge(numbers: Numbers) -> Verdict:
    """With it activations stay within a factor of 3 and gradients of 10; without it they leave 10, however begun."""
    with_ = [_worst(numbers, "with", "activations", when) for when in WHEN]
    gradients = [_worst(numbers, "with", "gradients", when) for when in WHEN]
    without = {
        init: [_worst(numbers, "without", "activations", when, init) for when in WHEN]
        for init in numbers["runs"]["without"]
    }
    said = "; ".join(f"× {init} {_times(start)} and {_times(end)}" for init, (start, end) in without.items())
    reason = (
        f"Between the layers of one network activations differ at most {_times(with_[0])} at the start and "
        f"{_times(with_[1])} after training with batch norm, however begun; without, by initial weights: {said}."
    )
    beside = (
        f" (It does have trained parameters, which the notes deny: {numbers['trained parameters of a norm']} in a "
        f"layer of {numbers['width']}, a scale and a shift for each unit.)"
    )
    kept_alone = [init for init, ratios in without.items() if max(ratios) < LOST]
    if max(with_) > LOST or len(kept_alone) == len(without):
        return Verdict("does not hold", reason + beside)
    limits = []
    if kept_alone:
        limits.append(f" Weights that are begun well keep the scale without it (× {', × '.join(kept_alone)}).")
    if max(with_) > KEPT or max(gradients) > LOST:
        limits.append(
            f" Gradients are not kept as well: with it they differ {_times(gradients[0])} at the start and "
            f"{_times(gradients[1])} after training."
        )
    alike = max(_worst(numbers, "without", "root mean squares", when, init) for when in WHEN for init in without)
    beside = f" (By root mean squares, which see what all examples share, {_times(alike)} without.)" + beside
    return Verdict("holds with limits" if limits else "holds", reason + "".join(limits) + beside)


def _times(value: float) -> str:
    return f"{value:.1f}-fold" if value < 100 else "without bound" if value > 1e20 else f"{value:.0e}-fold"


def table(numbers: Numbers) -> Table:
    """Ratios between layers and accuracy, by kind and factor of the initial weights."""
    rows: Table = [
        ("network", "weights begun", "activations, start", "end", "gradients, start", "end", "test accuracy")
    ]
    for kind in KINDS:
        for init, runs in numbers["runs"][kind].items():
            cells = [_mean_ratio(runs, what, when) for what in ("activations", "gradients") for when in WHEN]
            right = [run["accuracy"] for run in runs if run["accuracy"] is not None]
            rows.append((f"{kind} batch norm", f"× {init}", *cells, spread(right, ".2f") if right else "diverged"))
    return rows


def _mean_ratio(runs: list[Numbers], what: str, when: str) -> str:
    values = [ratio(run[when][what]) for run in runs if run[when]]
    mean = fmean(values) if values else float("inf")
    return "–" if not values else f"{mean:.1f}" if mean < 1000 else f"{mean:.0e}"


def draw(numbers: Numbers) -> Figure:
    """Scale by layer, of activations and gradients, at the start and after training."""
    from danlu.experiments.harness.plots import key_above, line, logarithmic, panels

    figure, axes = panels(2, rows=2, height=2.1, sharex=True)
    layers = range(1, DEPTH + 1)
    for place, (what, when) in enumerate((w, t) for w in ("activations", "gradients") for t in WHEN):
        for number, kind in enumerate(KINDS):
            for style, (init, runs) in zip(("dotted", "solid", "dashed"), numbers["runs"][kind].items(), strict=True):
                own = [run[when][what] for run in runs if run[when]]
                if own:
                    line(axes[place], layers, own, number, f"{kind} batch norm, × {init}", linestyle=style, marker=None)
        logarithmic(axes[place].yaxis)
        axes[place].set_title(f"{what}, {'at the start' if when == 'start' else 'after training'}")
        axes[place].set_ylabel("deviation over examples" if what == "activations" else "root mean square")
        axes[place].set_xticks([1, 4, 8, 12, 16])
    axes[2].set_xlabel("layer")
    axes[3].set_xlabel("layer")
    key_above(figure, axes[0], columns=3)
    return figure


EXPERIMENT = Experiment(measure, judge, table, draw)
