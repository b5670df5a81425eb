"""Batch norm avoids vanishing and exploding gradients by keeping the scale of each layer's outputs (notes, 1.2.3).

A fully connected ReLU network of 16 layers is trained on the digits, with and without batch norm, from the same weights
and with the same batches. The initial weights are the PyTorch defaults multiplied by 0.5, with which values become
small from layer to layer, by 5, with which they become large, or by √6; the last gives the variance 2/inputs of He et
al. ("Delving deep into rectifiers", 2015), which is designed to keep the scale.

The scale of a layer's outputs is their standard deviation over the training examples, because a component that is the
same for every example carries no information. The scale of its gradient is the root mean square of the derivative of
the loss with respect to these outputs. The measure of both is the factor, above 1, between the first and the last
hidden layer, before and after training; and the test accuracy after training.
"""

from __future__ import annotations

from copy import deepcopy
from math import exp
from statistics import fmean
from typing import TYPE_CHECKING, cast

import torch
from torch import nn

from danlu.data.base.dataset import Part
from danlu.data.datasets.digits import digits
from danlu.errors import Diverged
from danlu.experiments.harness.criteria import Comparison, Criteria, Judgment
from danlu.experiments.harness.experiment import Experiment, Numbers, ProgressCallback, Table
from danlu.experiments.harness.seeds import seeds
from danlu.experiments.harness.trainers import classification_trainer, error, from_seed
from danlu.experiments.harness.wording import mean_and_range, number
from danlu.losses.classification import cross_entropy
from danlu.models.classify.mlp import MLP
from danlu.training.optimization.settings import OptimizerSettings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DEPTH, WIDTH = 16, 64
INITS = {"small": 0.5, "He": 6**0.5, "large": 5.0}  # factors of PyTorch's default weights, uniform in ±1/√inputs
DISEASED = ("small", "large")
KINDS = ("without", "with")
WHEN = ("before", "after")
ROUNDS = 200


def network(norm: bool, init: float) -> MLP:
    """The network, with PyTorch's default weights multiplied by a factor."""
    model = cast(MLP, MLP((1, 8, 8), 10, hidden=(WIDTH,) * DEPTH, norm="batch" if norm else None))
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, nn.Linear):
                layer.weight.mul_(init)
    return model


def measure(seed: int, progress: ProgressCallback, quick: bool = False) -> Numbers:
    """Scales of outputs and gradients by layer, before and after training, by kind, weights and seed; accuracy."""
    run_seeds = seeds(seed, 2 if quick else 5)
    runs = [(kind, init, run_seed) for kind in KINDS for init in INITS for run_seed in run_seeds]
    layers: Numbers = {f"{kind}, {init}": [] for kind in KINDS for init in INITS}
    for done, (kind, init, run_seed) in enumerate(runs):
        progress("networks", done, len(runs))
        layers[f"{kind}, {init}"].append(_learn(kind, init, 5 if quick else ROUNDS, run_seed))
    return {"arms": {name: _arm(results) for name, results in layers.items()}, "layers": layers}


def _learn(kind: str, init: str, rounds: int, seed: int) -> Numbers:
    """Train one network; None for the measures after training if it diverges."""
    data = digits()
    net = from_seed(lambda: network(kind == "with", INITS[init]), seed)
    results: Numbers = {"before": scales(net, data.train), "after": None, "accuracy": None}
    settings = OptimizerSettings(optimizer="sgd", lr=0.1)
    try:
        for _ in classification_trainer(net, data.train, settings, rounds, 64, seed):
            pass
    except Diverged:
        return results
    accuracy = 1 - error(net, data.test["image"], data.test["label"])
    return {**results, "after": scales(net, data.train), "accuracy": accuracy}


def _arm(results: list[Numbers]) -> Numbers:
    """The measures of each seed."""
    factors = {
        f"{quantity} {when}": [factor(run[when][quantity]) if run[when] else None for run in results]
        for quantity in ("outputs", "gradients")
        for when in WHEN
    }
    return {**factors, "accuracy": [run["accuracy"] for run in results]}


def scales(net: MLP, part: Part) -> Numbers:
    """Scales of the outputs of each hidden layer, and of the derivative of the loss with respect to them.

    A copy of the network is used in training mode, with batch statistics; the network is not changed.
    """
    net = cast(MLP, deepcopy(net).train().double())
    outputs: list[torch.Tensor] = []
    for layer in net.body:
        layer.register_forward_hook(lambda _, __, out: outputs.append(cast(torch.Tensor, out)))
    loss = cross_entropy(net(part["image"].double()), part["label"]).mean()
    gradients = torch.autograd.grad(loss, outputs)
    return {
        "outputs": [_rms(out - out.mean(dim=0)) for out in outputs],
        "gradients": [_rms(gradient) for gradient in gradients],
    }


def _rms(values: torch.Tensor) -> float:
    return float(values.detach().square().mean().sqrt())


def factor(values: list[float]) -> float:
    """The factor between the first and the last layer, as a number above 1.

    >>> factor([2.0, 7.0, 8.0]), factor([8.0, 1.0, 2.0])
    (4.0, 4.0)
    """
    first, last = (max(value, 1e-300) for value in (values[0], values[-1]))
    return max(first, last) / min(first, last)


def _compared(measure: str, init: str, words: str) -> Comparison:
    # a factor of 10 in the scale: less does not stop training
    clause = f"{words} with {init} weights"
    return Comparison(clause, f"with, {init}", f"without, {init}", measure, 10.0, lower=True, ratio=True)


def _trains(init: str) -> Comparison:
    # one of ten classes more
    return Comparison(
        f"batch norm raises the accuracy with {init} weights", f"with, {init}", f"without, {init}", "accuracy", 0.1
    )


def _worse(init: str) -> Comparison:
    return Comparison(
        f"without batch norm the gradient changes strongly through the layers with {init} weights",
        f"without, {init}", 1.0, "gradients before", 100.0, ratio=True,
    )  # fmt: skip


OUTPUTS = [_compared("outputs before", init, "batch norm keeps the scale of outputs") for init in DISEASED]
GRADIENTS = [_compared("gradients before", init, "batch norm keeps the scale of gradients") for init in DISEASED]
TRAINED = [_trains(init) for init in DISEASED]
KEPT = [
    Comparison(
        f"with batch norm the gradient changes less than 10-fold with {init} weights",
        f"with, {init}", 10.0, "gradients before", 1.01, lower=True, ratio=True,
    )
    for init in DISEASED
]  # fmt: skip
NEEDED = _compared("gradients before", "He", "batch norm keeps the scale of gradients")
CRITERIA = Criteria(
    clauses=(*OUTPUTS, *GRADIENTS, *TRAINED),
    gates=tuple(_worse(init) for init in DISEASED),
    limits=(*KEPT, NEEDED),
)


def conclude(numbers: Numbers, judgment: Judgment) -> str:
    """Gradients with and without; where they are not kept; He weights; trained parameters."""
    arms = numbers["arms"]
    gains = {
        init: number(exp(judgment.finding(one.clause).interval.mean), 2)
        for init, one in zip(DISEASED, GRADIENTS, strict=True)
        if judgment.supported(one.clause)
    }
    text = (
        f"Batch norm reduces the change of the gradient through {DEPTH} layers by a factor of "
        f"{' and of '.join(f'{gain} with {init} weights' for init, gain in gains.items())}."
        if gains
        else "Batch norm does not keep the scale of gradients."
    )
    text += judgment.not_shown(*OUTPUTS, *TRAINED)
    if not all(judgment.supported(one.clause) for one in KEPT):
        factors = [mean_and_range(arms[f"with, {init}"]["gradients before"], 2) for init in DISEASED]
        text += (
            f" The gradient still grows toward the first layer: by {factors[0]} with small and {factors[1]} with large "
            "weights."
        )
    if not judgment.supported(NEEDED.clause):
        plain, normed = (number(fmean(arms[f"{kind}, He"]["gradients before"]), 2) for kind in KINDS)
        text += (
            f" With the weights of He et al. nothing vanishes or explodes without batch norm (factor {plain}; {normed} "
            "with it)."
        )
    return text + f" {_parameters()}"


def _parameters() -> str:
    norms = [part for part in network(True, 1.0).modules() if isinstance(part, nn.BatchNorm1d)]
    trained = sum(p.numel() for p in norms[0].parameters())
    return (
        f"(The notes state that batch norm has no trained parameters; a layer of {WIDTH} units has {trained}, a scale "
        "and a shift for each.)"
    )


def table(numbers: Numbers) -> Table:
    """Factors between the first and the last layer, and accuracy, by kind of network and initial weights."""
    head = ("outputs, before training", "outputs, after", "gradients, before training", "gradients, after")
    rows: Table = [("batch norm, initial weights", *(f"{name}, ×" for name in head), "test accuracy")]
    for name, measures in numbers["arms"].items():
        columns = [f"{quantity} {when}" for quantity in ("outputs", "gradients") for when in WHEN]
        rows.append((name, *(mean_and_range(measures[column], 2) for column in (*columns, "accuracy"))))
    return rows


def plot(numbers: Numbers) -> Figure:
    """Scale by layer of outputs and gradients, before training, for each kind of initial weights."""
    from danlu.experiments.harness.plots import legend_above, line, logarithmic, panels

    figure, axes = panels(len(INITS), rows=2, height=2.0, sharex=True)
    layers = range(1, DEPTH + 1)
    for row, quantity in enumerate(("outputs", "gradients")):
        for column, init in enumerate(INITS):
            panel = axes[row * len(INITS) + column]
            for index, kind in enumerate(KINDS):
                values = [run["before"][quantity] for run in numbers["layers"][f"{kind}, {init}"]]
                line(panel, layers, values, index, f"{kind} batch norm")
            logarithmic(panel.yaxis)
            panel.set_xticks([1, 4, 8, 12, 16])
            if not row:
                panel.set_title(f"{init} weights (× {INITS[init]:.3g})")
            else:
                panel.set_xlabel("layer")
        axes[row * len(INITS)].set_ylabel(("std. dev. of outputs", "gradient, RMS")[row])
    legend_above(figure, axes[0])
    return figure


EXPERIMENT = Experiment(
    measure=measure,
    criteria=CRITERIA,
    conclude=conclude,
    table=table,
    plot=plot,
    method=(
        f"A network of {DEPTH} layers is trained on the digits with and without batch norm, from weights that are too "
        "small, too large, and right by the rule of He et al. The change of the scale of outputs and gradients between "
        "the first and the last layer is measured, and the test accuracy."
    ),
    caption=(
        "Scale of each layer's outputs (above) and of the gradient with respect to them (below) before training; lines "
        "are means over seeds, bands the range. Each column has other initial weights, and each panel its own scale. A "
        "horizontal line means that the scale is kept; the axes are logarithmic, so a straight slope is vanishing or "
        "explosion."
    ),
)
