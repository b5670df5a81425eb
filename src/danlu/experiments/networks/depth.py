"""Deep plain networks are not trained well; residual and dense networks are (notes, 1.4).

Convolutional networks of 4 and of 64 layers are trained on the digits at a large learning rate, and, if this fails, at
a small one, so that no network fails only because of its learning rate. Training has at most 100 rounds. It stops as
soon as the training loss is a quarter of the loss of guessing, or if it has hardly fallen after half the rounds.

* Plain: convolutions and ReLU with the weights of PyTorch, as in the notes; with the weights of He et al., "Delving
  deep into rectifiers", 2015; and with batch norm, as in the comparison of He et al., "Deep residual learning for image
  recognition", 2016.
* Residual and dense: as published, with batch norm; and with the blocks of the notes, which have none.

Plain and residual networks have constant width. The dense networks have three blocks, and their layers add channels, so
the number of weights differs. The norm of the gradient with respect to the weights of the first layer is measured
before training, in double precision. For the claim it is compared between networks without normalization: the plain
network and the blocks of the notes. Batch norm changes the gradient, too, so networks with batch norm are compared with
each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy
from math import exp
from statistics import fmean
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from danlu.data.base.dataset import Part
from danlu.data.datasets.digits import digits
from danlu.errors import Diverged
from danlu.experiments.harness.criteria import Comparison, Criteria, Judgment
from danlu.experiments.harness.experiment import Experiment, Numbers, ProgressCallback, Table
from danlu.experiments.harness.parallel import run_each
from danlu.experiments.harness.seeds import seeds
from danlu.experiments.harness.trainers import classification_trainer, from_seed
from danlu.experiments.harness.wording import mean_and_range, number
from danlu.losses.classification import cross_entropy
from danlu.models.classify.densenet import DenseNet
from danlu.models.classify.resnet import ResNet
from danlu.nn.conv.he_init import he_normal
from danlu.training.optimization.settings import OptimizerSettings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DEPTHS = (4, 8, 16, 32, 64)  # of which the first and the last are trained
SHALLOW, DEEP = min(DEPTHS), max(DEPTHS)
RATES = (0.05, 0.002)
ROUNDS, LATE = 100, 8  # and the last rounds, whose mean loss is the final loss
SHAPE, WIDTH, GROWTH = (1, 8, 8), 8, 4
GUESSING = math.log(10)  # loss of uniform guessing among ten classes
STOPPED = 0.5 * GUESSING  # a network whose final loss is above this has hardly trained
NO_GRADIENT = torch.finfo(torch.float32).tiny
STALLED = 0.95 * GUESSING  # training is given up if the loss is above this after half the rounds
TRAINED = 0.25 * GUESSING  # a network whose final loss is below this has trained


def _blocks(depth: int) -> tuple[int]:
    """One stage of blocks of two convolutions, between a first convolution and a last linear layer."""
    return ((depth - 2) // 2,)


def _thirds(layers: int) -> tuple[int, ...]:
    """Three blocks with as many layers in all; one block if there are too few."""
    return (layers,) if layers < 3 else tuple((layers + k) // 3 for k in range(3))


def _he(depth: int) -> nn.Module:
    network = ResNet(SHAPE, 10, "notes", blocks=_blocks(depth), width=WIDTH, shortcut="none")
    he_normal(network)
    return network


def _dense(depth: int) -> nn.Module:
    """Without a transition between the blocks if there is only one."""
    blocks = _thirds(depth - 2 if depth - 2 < 3 else depth - 4)
    return DenseNet(SHAPE, 10, 40, blocks=blocks, growth=GROWTH, width=WIDTH, pool=False)


def _dense_of_the_notes(depth: int) -> nn.Module:
    """With a transition after each block."""
    blocks = _thirds(depth - 3 if depth - 3 < 3 else depth - 5)
    return DenseNet(SHAPE, 10, "notes", blocks=blocks, growth=GROWTH, width=WIDTH, stem="3x3")


PLAIN, PLAIN_HE, PLAIN_NORM = "plain", "plain, He weights", "plain, batch norm"
RESIDUAL, DENSE = "residual", "dense"
RESIDUAL_NOTES, DENSE_NOTES = "residual, block of the notes", "dense, block of the notes"
NETWORKS: dict[str, Callable[[int], nn.Module]] = {
    PLAIN: lambda depth: ResNet(SHAPE, 10, "notes", blocks=_blocks(depth), width=WIDTH, shortcut="none"),
    PLAIN_HE: _he,
    PLAIN_NORM: lambda depth: ResNet(SHAPE, 10, blocks=_blocks(depth), width=WIDTH, shortcut="none", pool=False),
    RESIDUAL: lambda depth: ResNet(SHAPE, 10, blocks=_blocks(depth), width=WIDTH, pool=False),
    RESIDUAL_NOTES: lambda depth: ResNet(SHAPE, 10, "notes", blocks=_blocks(depth), width=WIDTH),
    DENSE: _dense,
    DENSE_NOTES: _dense_of_the_notes,
}


def measure(seed: int, progress: ProgressCallback, quick: bool = False) -> Numbers:
    """Gradient of the first layer, final loss and rounds, by kind of network, depth and seed."""
    run_seeds = seeds(seed, 2 if quick else 5)
    rounds, depths, rates = (1, (SHALLOW, DEEP), RATES[:1]) if quick else (ROUNDS, DEPTHS, RATES)
    arms: Numbers = {arm(name, depth): {} for name in NETWORKS for depth in depths}
    runs = [
        (run_seed, name, depth, 8 if quick else 64, rounds, rates)
        for depth in sorted(depths, reverse=True)  # the longest first
        for run_seed in run_seeds
        for name in NETWORKS
    ]
    for (_, name, depth, *_), results in zip(runs, run_each(measure_network, runs, progress, "networks"), strict=True):
        for quantity, value in results.items():
            arms[arm(name, depth)].setdefault(quantity, []).append(value)
    return {"arms": arms, "depths": list(depths), "rounds": rounds}


def measure_network(
    seed: int, name: str, depth: int, examples: int, rounds: int, rates: tuple[float, ...]
) -> dict[str, float]:
    """The gradient of the first layer of one network, on some examples, and if it is trained its final loss."""
    part = digits().train
    network = from_seed(lambda: NETWORKS[name](depth), seed)
    results = {"gradient": first_gradient(network, part, examples)}
    if depth in (SHALLOW, DEEP):
        results["loss"] = best_loss(network, part, rounds, seed, rates)
    return results


def arm(name: str, depth: int) -> str:
    """The name of a network of some depth."""
    return f"{name}, {depth} layers"


def first_gradient(network: nn.Module, part: Part, examples: int = 64) -> float:
    """Norm of the gradient of the first convolution's weights, in float64; the network is not changed.

    The smallest normal number of float32, the precision of the training, stands for anything smaller: a network whose
    units are all inactive has no gradient at all.
    """
    network = deepcopy(network).double().train()
    first = next(layer for layer in network.modules() if isinstance(layer, nn.Conv2d))
    loss = cross_entropy(network(part["image"][:examples].double()), part["label"][:examples]).mean()
    return max(float(torch.autograd.grad(loss, first.weight)[0].norm()), NO_GRADIENT)


def best_loss(network: nn.Module, part: Part, rounds: int, seed: int, rates: tuple[float, ...] = RATES) -> float:
    """The lowest final loss of copies of a network with several learning rates, up to the first that trains."""
    losses: list[float] = []
    for rate in rates:
        losses.append(_learn(deepcopy(network), part, rate, rounds, seed))
        if losses[-1] <= TRAINED:
            break
    return min(losses)


def _learn(network: nn.Module, part: Part, rate: float, rounds: int, seed: int) -> float:
    """The mean training loss of the last rounds; the loss of guessing if training diverged."""
    late: list[float] = []
    settings = OptimizerSettings(optimizer="momentum", lr=rate)
    try:
        for report in classification_trainer(network, part, settings, rounds, 32, seed):
            late = [*late[1 - LATE :], report.values()["classifier/cross_entropy"]]
            if len(late) == LATE and fmean(late) <= TRAINED:
                break
            if report.round == rounds // 2 and fmean(late) > STALLED:
                break
    except Diverged:
        return GUESSING
    return fmean(late)


VANISHED = 1000.0  # factor between gradients: what is this much smaller is not trained at any common learning rate
_BETWEEN = STOPPED - TRAINED


def _trains(name: str, depth: int) -> Comparison:
    clause = f"the network '{name}' of {depth} layers trains"
    return Comparison(clause, arm(name, depth), STOPPED, "loss", _BETWEEN, lower=True)


def _fails(name: str) -> Comparison:
    clause = f"the network '{name}' of {DEEP} layers does not train"
    return Comparison(clause, arm(name, DEEP), TRAINED, "loss", _BETWEEN)


def _keeps(name: str) -> Comparison:
    clause = f"the gradient of the first layer is larger in the network '{name}' of {DEEP} layers than in the plain one"
    return Comparison(clause, arm(name, DEEP), arm(PLAIN, DEEP), "gradient", VANISHED, ratio=True)


SKIPS, PLAINS, NOTES = (RESIDUAL, DENSE), (PLAIN_HE, PLAIN_NORM), (RESIDUAL_NOTES, DENSE_NOTES)
PLAIN_FAILS, SKIPS_TRAIN = _fails(PLAIN), {name: _trains(name, DEEP) for name in SKIPS}
VANISHES = Comparison(
    f"the gradient of the first layer of the plain network vanishes from {SHALLOW} to {DEEP} layers",
    arm(PLAIN, DEEP), arm(PLAIN, SHALLOW), "gradient", VANISHED, lower=True, ratio=True,
)  # fmt: skip
KEPT = [_keeps(name) for name in NOTES]  # like the plain network, these have no normalization
OTHERS_FAIL = {name: _fails(name) for name in PLAINS}
NOTES_TRAIN = {name: _trains(name, DEEP) for name in NOTES}
CRITERIA = Criteria(
    clauses=(PLAIN_FAILS, *SKIPS_TRAIN.values(), VANISHES, *KEPT),
    gates=tuple(_trains(name, SHALLOW) for name in (PLAIN, *SKIPS)),
    limits=(*OTHERS_FAIL.values(), *NOTES_TRAIN.values()),
)


def conclude(numbers: Numbers, judgment: Judgment) -> str:
    """Losses of the deep networks; other plain networks; gradients with batch norm; blocks of the notes."""
    arms = numbers["arms"]
    loss = {name: number(fmean(arms[arm(name, DEEP)]["loss"]), 2) for name in NETWORKS}
    text = (
        f"With {DEEP} layers and at most {ROUNDS} rounds the training loss is {loss[PLAIN]} nats in the plain network, "
        f"{loss[RESIDUAL]} in the residual and {loss[DENSE]} in the dense one (guessing: {GUESSING:.2f})."
    )
    text += judgment.not_shown(PLAIN_FAILS, *SKIPS_TRAIN.values(), VANISHES, *KEPT)
    trained = [name for name in PLAINS if _has_trained(arms, name)]
    if trained:
        losses = _and([loss[name] for name in trained])
        text += f" The depth alone is not the cause: training succeeds, too, with {_and(trained)} (loss {losses})."
    text += judgment.not_shown(*(one for name, one in OTHERS_FAIL.items() if name not in trained))
    text += _with_batch_norm(arms)
    failed = [name for name, one in NOTES_TRAIN.items() if not judgment.supported(one.clause)]
    if failed:
        losses = _and([mean_and_range(arms[arm(name, DEEP)]["loss"], 2) for name in failed])
        text += f" Not shown to train: {_and(failed)}, which have no batch norm (loss {losses})."
    return text + _shallow_failures(arms)


def _has_trained(arms: Numbers, name: str) -> bool:
    """Whether a deep network trains, by the comparison that decides it for residual and dense networks."""
    return Criteria((_trains(name, DEEP),)).judge(arms).word == "holds"


def _with_batch_norm(arms: Numbers) -> str:
    """How the gradient of the plain network with batch norm depends on the depth, after a space."""
    few, many = (_geometric_mean(arms[arm(PLAIN_NORM, depth)]["gradient"]) for depth in (SHALLOW, DEEP))
    change = f"changes by less than a factor of {VANISHED:g}"
    if many >= VANISHED * few:
        change = "grows with the depth instead of vanishing"
    elif few >= VANISHED * many:
        change = "vanishes, too"
    others = [number(_geometric_mean(arms[arm(name, DEEP)]["gradient"]), 2) for name in SKIPS]
    return (
        f" With batch norm the gradient of the plain network {change}: {number(few, 2)} with {SHALLOW} layers, "
        f"{number(many, 2)} with {DEEP} (residual {others[0]}, dense {others[1]})."
    )


def _shallow_failures(arms: Numbers) -> str:
    """The networks that fail without being deep, after a space; empty if all train with every seed."""
    losses = {name: arms[arm(name, SHALLOW)]["loss"] for name in NETWORKS}
    failures = {name: sum(loss > TRAINED for loss in values) for name, values in losses.items()}
    rates = [f"'{name}' with {count} of {len(losses[name])} seeds" for name, count in failures.items() if count]
    return f" With {SHALLOW} layers some training fails, too: {', '.join(rates)}." if rates else ""


def _and(names: list[str]) -> str:
    return " and ".join(f"'{name}'" if not name[0].isdigit() else name for name in names)


def table(numbers: Numbers) -> Table:
    """Gradients by depth, and losses of the shallow and the deep network."""
    arms, depths = numbers["arms"], (SHALLOW, DEEP)
    quantities = {"gradient": "gradient of the first layer", "loss": "training loss"}
    rows: Table = [("network", *(f"{words}, {depth} layers" for words in quantities.values() for depth in depths))]
    for name in NETWORKS:
        values = (arms[arm(name, depth)][quantity] for quantity in quantities for depth in depths)
        rows.append((name, *(mean_and_range(one, 2) for one in values)))
    return rows


def plot(numbers: Numbers) -> Figure:
    """Gradient of the first layer against depth, and the loss of the deepest networks."""
    from danlu.experiments.harness.plots import MARKERS, colors, logarithmic, panels, secondary_color

    figure, (left, right) = panels(2, height=2.8, width_ratios=(1, 1.1))
    kinds = ("plain", "residual", "dense")
    for row, name in enumerate(NETWORKS):
        kind = kinds.index(name.split(",")[0])
        form = [other for other in NETWORKS if other.startswith(kinds[kind])].index(name)
        style: dict[str, Any] = {
            "color": colors()[kind],
            "linestyle": ("-", "--", ":")[form],
            "marker": MARKERS[row % 5],
        }
        gradients = [_geometric_mean(numbers["arms"][arm(name, depth)]["gradient"]) for depth in numbers["depths"]]
        left.plot(numbers["depths"], gradients, markersize=3, **style)
        losses = numbers["arms"][arm(name, DEEP)]["loss"]
        right.plot(losses, [row] * len(losses), MARKERS[row % 5], color=colors()[kind], markersize=3.5)
        right.plot(fmean(losses), row, "|", color=secondary_color(), markersize=11)
    right.axvline(GUESSING, color=secondary_color(), linewidth=0.7, linestyle=(0, (3, 2)))
    logarithmic(left.yaxis)
    logarithmic(left.xaxis, numbers["depths"])
    left.set(title="gradient of the first layer", xlabel="layers", ylabel="norm before training")
    right.set(title=f"training loss with {DEEP} layers", xlabel="cross-entropy, nats; dashed: guessing", xlim=(0, 2.6))
    right.set(yticks=range(len(NETWORKS)), yticklabels=[name.replace(", ", ",\n") for name in NETWORKS])
    right.set_ylim(len(NETWORKS) - 0.5, -0.5)
    right.grid(True, axis="x")
    return figure


def _geometric_mean(values: list[float]) -> float:
    return exp(fmean(map(math.log, values)))


EXPERIMENT = Experiment(
    measure=measure,
    criteria=CRITERIA,
    conclude=conclude,
    table=table,
    plot=plot,
    method=(
        f"Plain, residual and dense convolutional networks of {SHALLOW} and {DEEP} layers are trained on the digits, "
        f"each at two learning rates of which the better counts, for at most {ROUNDS} rounds. The gradient of the "
        "first layer before training and the training loss at the end are compared; for the gradient, networks without "
        "normalization with each other."
    ),
    caption=(
        "Left: norm of the gradient of the first layer before training, geometric mean over seeds; colors and markers "
        f"as on the right. Right: training loss of the networks of {DEEP} layers, one point per seed, vertical line: "
        "mean; training stops at a quarter of the loss of guessing. Points at the dashed line are networks that do not "
        "train."
    ),
)
