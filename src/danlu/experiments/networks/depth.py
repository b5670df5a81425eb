"""Deep plain networks are not trained well; residual and dense networks are (notes, 1.4).

Convolutional networks of 4 to 64 layers are trained on the digits for 80 rounds at a large and a small learning rate.
The better result counts, so that no network fails only because of its learning rate. Plain and residual networks have
constant width; in the dense networks, as published, each layer adds channels, so at 64 layers they have eleven times
the weights. There are two plain networks: the one of the notes, without normalization and without skip connections,
and one with batch norm, as in the comparison of He et al., "Deep residual learning for image recognition", 2016.
Residual and dense networks have batch norm, as published. The experiment measures the gradient of the first layer
before training and the training loss, averaged over the last tenth of the rounds. Two seeds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy
from statistics import fmean
from typing import TYPE_CHECKING

import torch
from torch import nn

from danlu.data.base.dataset import Part
from danlu.data.datasets.digits import digits
from danlu.errors import Diverged
from danlu.experiments.harness.experiment import JudgedExperiment, Numbers, ProgressCallback, Table, Verdict
from danlu.experiments.harness.trainers import classification_trainer, from_seed, spread
from danlu.losses.classification import cross_entropy
from danlu.models.classify.densenet import DenseNet
from danlu.models.classify.resnet import ResNet
from danlu.training.optimization.settings import OptimizerSettings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DEPTHS = (4, 8, 16, 32, 64)
RATES = (0.05, 0.005)
SHAPE, WIDTH, GROWTH = (1, 8, 8), 8, 4
GUESSING = math.log(10)  # loss of uniform guessing among ten classes
STOPPED = 0.5 * GUESSING  # a network whose final loss is above this has hardly trained
TRAINED = 0.25 * GUESSING  # a network whose final loss is below this has trained
VANISHED = 1e-3  # relative to the gradient of the shallowest network

NETWORKS: dict[str, Callable[[int], nn.Module]] = {
    "plain": lambda depth: ResNet(SHAPE, 10, "notes", blocks=_blocks(depth), width=WIDTH, shortcut="none"),
    "plain, batch norm": lambda depth: ResNet(
        SHAPE, 10, blocks=_blocks(depth), width=WIDTH, shortcut="none", pool=False
    ),
    "residual": lambda depth: ResNet(SHAPE, 10, blocks=_blocks(depth), width=WIDTH, pool=False),
    "dense": lambda depth: DenseNet(SHAPE, 10, 40, blocks=(depth - 2,), growth=GROWTH, width=WIDTH, pool=False),
}
PLAIN, WITH_SKIPS = ("plain", "plain, batch norm"), ("residual", "dense")


def _blocks(depth: int) -> tuple[int]:
    """One stage of blocks of two convolutions, between a first convolution and a last linear layer."""
    return ((depth - 2) // 2,)


def measure(seed: int, progress: ProgressCallback, quick: bool = False) -> Numbers:
    """Gradient of the first layer and final loss, by kind of network, depth and seed."""
    seeds = range(seed, seed + (1 if quick else 2))
    depths, rounds = ((4, 32), 6) if quick else (DEPTHS, 80)
    data = digits()
    runs = [(name, run_seed, depth) for name in NETWORKS for run_seed in seeds for depth in depths]
    numbers: Numbers = {name: {"gradient": [], "loss": []} for name in NETWORKS}
    for done, (name, run_seed, depth) in enumerate(runs):
        progress("networks", done, len(runs))
        network = from_seed(lambda name=name, depth=depth: NETWORKS[name](depth), run_seed)
        if depth == depths[0]:
            for values in numbers[name].values():
                values.append([])
        numbers[name]["gradient"][-1].append(first_gradient(network, data.train))
        tries = [_learn(deepcopy(network), data.train, rate, rounds, run_seed) for rate in RATES]
        numbers[name]["loss"][-1].append(min(tries))
    return {"depths": list(depths), "networks": numbers}


def first_gradient(network: nn.Module, part: Part, examples: int = 256) -> float:
    """Norm of the gradient of the first convolution's weights; the network's weights are not changed."""
    first = next(layer for layer in network.modules() if isinstance(layer, nn.Conv2d))
    loss = cross_entropy(network.train()(part["image"][:examples]), part["label"][:examples]).mean()
    return float(torch.autograd.grad(loss, first.weight)[0].norm())


def _learn(network: nn.Module, part: Part, rate: float, rounds: int, seed: int) -> float:
    """The mean training loss of the last tenth of the rounds; the loss of guessing if training diverged."""
    losses: list[float] = []
    try:
        for report in classification_trainer(
            network, part, OptimizerSettings(optimizer="momentum", lr=rate), rounds, 32, seed
        ):
            losses.append(report.values()["classifier/cross_entropy"])
    except Diverged:
        return GUESSING
    return fmean(losses[-max(1, rounds // 10) :])


def verdict(numbers: Numbers) -> Verdict:
    """Holds if only deep plain networks keep half the loss of guessing and all others get below a quarter."""
    deep = numbers["depths"][-1]
    loss = {name: fmean(run[-1] for run in results["loss"]) for name, results in numbers["networks"].items()}
    shrink = {
        name: fmean(run[-1] for run in results["gradient"]) / fmean(run[0] for run in results["gradient"])
        for name, results in numbers["networks"].items()
    }
    losses_text = "; ".join(f"{name} {loss[name]:.2f} (gradient × {shrink[name]:.1g})" for name in loss)
    reason = (
        f"Training loss at {deep} layers (guessing: {GUESSING:.2f}) and the gradient of the first layer relative to "
        f"{numbers['depths'][0]} layers: {losses_text}."
    )
    stopped = [name for name in PLAIN if loss[name] >= STOPPED and _best(numbers, name) < STOPPED]
    if not stopped or any(loss[name] > STOPPED for name in WITH_SKIPS):
        return Verdict("does not hold", reason)
    limits = []
    if len(stopped) < len(PLAIN):
        limits.append(f" Of the two plain networks, only '{stopped[0]}' trains when shallow and fails when deep.")
    if any(loss[name] > TRAINED for name in WITH_SKIPS):
        limits.append(" At least one network with skip connections keeps more than a quarter of the loss of guessing.")
    note = ""
    if shrink["plain, batch norm"] > 1 / VANISHED and shrink["plain"] < VANISHED:
        note = (
            " Both causes that the notes name occur: without normalization the gradient vanishes, and with batch "
            "norm, which all networks of the residual paper have, it explodes. Skip connections keep its scale."
        )
    return Verdict("holds with limits" if limits else "holds", reason + "".join(limits) + note)


def _best(numbers: Numbers, name: str) -> float:
    """The smallest mean loss over the depths."""
    return min(fmean(losses) for losses in zip(*numbers["networks"][name]["loss"], strict=True))


def table(numbers: Numbers) -> Table:
    """Loss and gradient by network and depth."""
    rows: Table = [("network", "quantity", *(f"{depth} layers" for depth in numbers["depths"]))]
    for name, results in numbers["networks"].items():
        for quantity, form in (("loss", ".2f"), ("gradient", ".1e")):
            columns = zip(*results[quantity], strict=True)
            rows.append((name, quantity, *(spread(values, form) for values in columns)))
    return rows


def plot(numbers: Numbers) -> Figure:
    """Gradient of the first layer and loss after training against depth."""
    from danlu.experiments.harness.plots import legend_above, line, logarithmic, panels, secondary_color

    figure, (left, right) = panels(2, height=2.6)
    for number, (name, results) in enumerate(numbers["networks"].items()):
        line(left, numbers["depths"], results["gradient"], number, name)
        line(right, numbers["depths"], results["loss"], number, name)
        if not all(run[-1] for run in results["gradient"]):
            left.annotate(
                "0 in float32", (0.98, 0.04), xycoords="axes fraction", ha="right", fontsize=7, color=secondary_color()
            )
    right.axhline(GUESSING, color=secondary_color(), linewidth=0.7, linestyle=(0, (3, 2)))
    right.annotate(
        "uniform guessing",
        (numbers["depths"][0], GUESSING),
        xytext=(0, 3),
        textcoords="offset points",
        fontsize=7,
        color=secondary_color(),
    )
    logarithmic(left.yaxis)
    for axes in (left, right):
        logarithmic(axes.xaxis, numbers["depths"])
        axes.set_xlabel("layers")
    left.set(title="gradient of the first layer, before training", ylabel="norm")
    right.set(title="training loss after training", ylabel="cross-entropy, nats", ylim=(0, 2.6))
    legend_above(figure, left)
    return figure


EXPERIMENT = JudgedExperiment(measure, verdict, table, plot)
