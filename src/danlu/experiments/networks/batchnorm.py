"""Batch norm keeps the scale of activations across layers and during training (notes, 1.2.3).

A fully connected ReLU network of 16 layers is trained on the digits, with and without batch norm. The initial weights
are the PyTorch defaults multiplied by 0.5, 1 or √6; the last gives the variance 2/inputs of He et al. ("Delving deep
into rectifiers", 2015), which is designed to keep the scale. The scale of a layer's activations is their standard
deviation over the training examples, because a component that is the same for every example carries no information;
the root mean square of the activations is also measured. The scale of a layer's gradient is its root mean square over
the weights. Both are measured at initialization and after training. Three seeds.
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
from danlu.experiments.harness.experiment import JudgedExperiment, Numbers, ProgressCallback, Table, Verdict
from danlu.experiments.harness.trainers import classification_trainer, error, from_seed, spread
from danlu.losses.classification import cross_entropy
from danlu.models.classify.mlp import MLP
from danlu.training.optimization.settings import OptimizerSettings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DEPTH, WIDTH = 16, 64
HE = 6**0.5
INITS = (0.5, 1.0, HE)  # factors of PyTorch's default weights, which are uniform in ±1/√inputs
KINDS = ("without", "with")
WHEN = ("start", "end")
KEPT = 3.0  # largest layer over smallest: the scale is kept if the ratio is at most this
LOST = 10.0  # the scale is lost if the ratio is above this


def network(norm: bool, init: float) -> MLP:
    """The network, with PyTorch's default weights multiplied by a factor."""
    model = cast(MLP, MLP((1, 8, 8), 10, hidden=(WIDTH,) * DEPTH, norm="batch" if norm else None))
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, nn.Linear):
                layer.weight.mul_(init)
    return model


def measure(seed: int, progress: ProgressCallback, quick: bool = False) -> Numbers:
    """Scales of activations and gradients by layer, before and after training, by kind, factor and seed; accuracy."""
    seeds = range(seed, seed + (1 if quick else 3))
    rounds = 30 if quick else 200
    data = digits()
    runs = [(kind, init, run_seed) for kind in KINDS for init in INITS for run_seed in seeds]
    numbers: Numbers = {kind: {f"{init:.3g}": [] for init in INITS} for kind in KINDS}
    for done, (kind, init, run_seed) in enumerate(runs):
        progress("networks", done, len(runs))
        net = from_seed(lambda kind=kind, init=init: network(kind == "with", init), run_seed)
        results: Numbers = {"start": scales(net, data.train)}
        try:
            for _ in classification_trainer(
                net, data.train, OptimizerSettings(optimizer="sgd", lr=0.1), rounds, 64, run_seed
            ):
                pass
            results |= {
                "end": scales(net, data.train),
                "accuracy": 1 - error(net, data.test["image"], data.test["label"]),
            }
        except Diverged:
            results |= {"end": None, "accuracy": None}
        numbers[kind][f"{init:.3g}"].append(results)
    norms = [part for part in network(True, 1.0).modules() if isinstance(part, nn.BatchNorm1d)]
    trained = sum(p.numel() for part in norms for p in part.parameters())
    return {"runs": numbers, "trained parameters of a norm": trained // len(norms), "width": WIDTH}


def scales(net: MLP, part: Part) -> Numbers:
    """Scales of the activations of each hidden layer and of the gradients of its weights.

    A copy of the network is used in training mode, with batch statistics; the network is not changed.
    """
    net = deepcopy(net).train()
    deviations: list[float] = []
    sizes: list[float] = []
    for layer in net.body:
        layer.register_forward_hook(lambda _, __, out: deviations.append(_rms(out - out.mean(dim=0))))
        layer.register_forward_hook(lambda _, __, out: sizes.append(_rms(out)))
    cross_entropy(net(part["image"]), part["label"]).mean().backward()
    weights = [p for name, p in net.body.named_parameters() if name.endswith("linear.weight")]
    gradients = [_rms(w.grad) for w in weights if w.grad is not None]
    return {"activations": deviations, "root mean squares": sizes, "gradients": gradients}


def _rms(values: torch.Tensor) -> float:
    return float(values.detach().double().square().mean().sqrt())


def ratio(values: list[float]) -> float:
    """Largest over smallest.

    >>> ratio([2.0, 1.0, 4.0])
    4.0
    """
    return max(values) / max(min(values), 1e-30)


def _worst(numbers: Numbers, kind: str, quantity: str, when: str, init: str | None = None) -> float:
    """The largest ratio between layers over seeds, and over all factors or for one; infinite if a run diverged."""
    runs = [run for factor, runs in numbers["runs"][kind].items() for run in runs if init in (None, factor)]
    return max(ratio(run[when][quantity]) if run[when] else float("inf") for run in runs)


def verdict(numbers: Numbers) -> Verdict:
    """Holds if batch norm keeps activations within a factor of 3 and gradients within 10, and only batch norm does."""
    normalized = [_worst(numbers, "with", "activations", when) for when in WHEN]
    gradients = [_worst(numbers, "with", "gradients", when) for when in WHEN]
    without = {
        init: [_worst(numbers, "without", "activations", when, init) for when in WHEN]
        for init in numbers["runs"]["without"]
    }
    ratios_text = "; ".join(f"× {init} {_times(start)} and {_times(end)}" for init, (start, end) in without.items())
    reason = (
        f"With batch norm the scale of activations differs between layers at most {_times(normalized[0])} at "
        f"initialization and {_times(normalized[1])} after training, for all initial weights. Without batch norm, by "
        f"initial weights: {ratios_text}."
    )
    note = (
        " (The notes state that batch norm has no trained parameters; it has "
        f"{numbers['trained parameters of a norm']} in a "
        f"layer of {numbers['width']} units, a scale and a shift for each.)"
    )
    kept_alone = [init for init, ratios in without.items() if max(ratios) < LOST]
    if max(normalized) > LOST or len(kept_alone) == len(without):
        return Verdict("does not hold", reason + note)
    limits = []
    if kept_alone:
        limits.append(f" Some initial weights keep the scale without batch norm (× {', × '.join(kept_alone)}).")
    if max(normalized) > KEPT or max(gradients) > LOST:
        limits.append(
            f" Gradients are kept less well: with batch norm they differ {_times(gradients[0])} at initialization and "
            f"{_times(gradients[1])} after training."
        )
    largest_rms = max(_worst(numbers, "without", "root mean squares", when, init) for when in WHEN for init in without)
    note = (
        " (Without batch norm the root mean squares, which include the part that is equal for all examples, differ "
        f"{_times(largest_rms)}.)" + note
    )
    return Verdict("holds with limits" if limits else "holds", reason + "".join(limits) + note)


def _times(value: float) -> str:
    return f"{value:.1f}-fold" if value < 100 else "without bound" if value > 1e20 else f"{value:.0e}-fold"


def table(numbers: Numbers) -> Table:
    """Ratios between layers, and accuracy, by kind of network and factor of the initial weights."""
    rows: Table = [
        ("network", "initial weights", "activations, before", "after", "gradients, before", "after", "test accuracy")
    ]
    for kind in KINDS:
        for init, runs in numbers["runs"][kind].items():
            cells = [_mean_ratio(runs, quantity, when) for quantity in ("activations", "gradients") for when in WHEN]
            accuracies = [run["accuracy"] for run in runs if run["accuracy"] is not None]
            rows.append(
                (f"{kind} batch norm", f"× {init}", *cells, spread(accuracies, ".2f") if accuracies else "diverged")
            )
    return rows


def _mean_ratio(runs: list[Numbers], quantity: str, when: str) -> str:
    values = [ratio(run[when][quantity]) for run in runs if run[when]]
    mean = fmean(values) if values else float("inf")
    return "–" if not values else f"{mean:.1f}" if mean < 1000 else f"{mean:.0e}"


def plot(numbers: Numbers) -> Figure:
    """Scale by layer of activations and gradients, before and after training."""
    from danlu.experiments.harness.plots import legend_above, line, logarithmic, panels

    figure, axes = panels(2, rows=2, height=2.1, sharex=True)
    layers = range(1, DEPTH + 1)
    for index, (quantity, when) in enumerate((q, w) for q in ("activations", "gradients") for w in WHEN):
        for number, kind in enumerate(KINDS):
            for style, (init, runs) in zip(("dotted", "solid", "dashed"), numbers["runs"][kind].items(), strict=True):
                values = [run[when][quantity] for run in runs if run[when]]
                if values:
                    line(
                        axes[index],
                        layers,
                        values,
                        number,
                        f"{kind} batch norm, × {init}",
                        linestyle=style,
                        marker=None,
                    )
        logarithmic(axes[index].yaxis)
        axes[index].set_title(f"{quantity}, {'before training' if when == 'start' else 'after training'}")
        axes[index].set_ylabel("standard deviation over examples" if quantity == "activations" else "root mean square")
        axes[index].set_xticks([1, 4, 8, 12, 16])
    axes[2].set_xlabel("layer")
    axes[3].set_xlabel("layer")
    legend_above(figure, axes[0], columns=3)
    return figure


EXPERIMENT = JudgedExperiment(measure, verdict, table, plot)
