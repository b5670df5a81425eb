"""Plain networks stop training when deep; residual and dense ones do not (notes, 1.4).

Convolutional networks of 4 to 64 layers learn the digits for 80 rounds, at a large and a small learning rate, of which
the better one counts, so that no network fails for its rate alone. Plain and residual ones have one width; in the dense
ones, as published, each layer adds channels, so that at 64 layers they have eleven times the weights. Plain
ones come in two forms: as the notes write them, with neither normalization nor a way around, and with batch norm, as in
the comparison of He et al., "Deep residual learning for image recognition", 2016. Residual and dense ones have batch
norm too, as published. Measured are the gradient of the first layer before training, and the training loss after it,
averaged over the last tenth. Two seeds.
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
from danlu.experiments.harness.experiment import Experiment, Numbers, Table, Tell, Verdict
from danlu.experiments.harness.trainers import classifying, from_seed, spread
from danlu.losses.classification import cross_entropy
from danlu.models.classify.densenet import DenseNet
from danlu.models.classify.resnet import ResNet
from danlu.training.optimization import OptimizerSettings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DEPTHS = (4, 8, 16, 32, 64)
RATES = (0.05, 0.005)
SHAPE, WIDTH, GROWTH = (1, 8, 8), 8, 4
GUESSING = math.log(10)  # loss of who knows nothing of ten classes
STOPPED = 0.5 * GUESSING  # a deep network that still has this loss has hardly trained
TRAINED = 0.25 * GUESSING  # and one below this has
VANISHED = 1e-3  # of the shallowest network's gradient

NETWORKS: dict[str, Callable[[int], nn.Module]] = {
    "plain": lambda depth: ResNet(SHAPE, 10, "notes", blocks=_blocks(depth), width=WIDTH, shortcut="none"),
    "plain, batch norm": lambda depth: ResNet(
        SHAPE, 10, blocks=_blocks(depth), width=WIDTH, shortcut="none", pool=False
    ),
    "residual": lambda depth: ResNet(SHAPE, 10, blocks=_blocks(depth), width=WIDTH, pool=False),
    "dense": lambda depth: DenseNet(SHAPE, 10, 40, blocks=(depth - 2,), growth=GROWTH, width=WIDTH, pool=False),
}
PLAIN, WITH_WAYS = ("plain", "plain, batch norm"), ("residual", "dense")


def _blocks(depth: int) -> tuple[int]:
    """One stage of blocks of two convolutions, between a first convolution and a last linear layer."""
    return ((depth - 2) // 2,)


def measure(seed: int, tell: Tell, quick: bool = False) -> Numbers:
    """Gradient of the first layer and loss at the end, by kind, depth and seed."""
    seeds = range(seed, seed + (1 if quick else 2))
    depths, rounds = ((4, 32), 15) if quick else (DEPTHS, 80)
    data = digits()
    runs = [(name, own, depth) for name in NETWORKS for own in seeds for depth in depths]
    numbers: Numbers = {name: {"gradient": [], "loss": []} for name in NETWORKS}
    for done, (name, own, depth) in enumerate(runs):
        tell("networks", done, len(runs))
        network = from_seed(lambda name=name, depth=depth: NETWORKS[name](depth), own)
        if depth == depths[0]:
            for values in numbers[name].values():
                values.append([])
        numbers[name]["gradient"][-1].append(first_gradient(network, data.train))
        tries = [_learn(deepcopy(network), data.train, rate, rounds, own) for rate in RATES]
        numbers[name]["loss"][-1].append(min(tries))
    return {"depths": list(depths), "networks": numbers}


def first_gradient(network: nn.Module, part: Part, examples: int = 256) -> float:
    """Norm of the gradient of the first convolution's weights; the network's weights are not changed."""
    first = next(layer for layer in network.modules() if isinstance(layer, nn.Conv2d))
    loss = cross_entropy(network.train()(part["image"][:examples]), part["label"][:examples]).mean()
    return float(torch.autograd.grad(loss, first.weight)[0].norm())


def _learn(network: nn.Module, part: Part, rate: float, rounds: int, seed: int) -> float:
    """The mean training loss of the last tenth of the rounds; that of guessing if it diverged."""
    losses: list[float] = []
    try:
        for report in classifying(network, part, OptimizerSettings(optimizer="momentum", lr=rate), rounds, 32, seed):
            losses.append(report.values()["classifier/cross_entropy"])
    except Diverged:
        return GUESSING
    return fmean(losses[-max(1, rounds // 10) :])


def judge(numbers: Numbers) -> Verdict:
    """Deep plain networks keep half the loss of guessing, shallow ones do not; the others get below a quarter."""
    deep = numbers["depths"][-1]
    loss = {name: fmean(run[-1] for run in found["loss"]) for name, found in numbers["networks"].items()}
    shrink = {
        name: fmean(run[-1] for run in found["gradient"]) / fmean(run[0] for run in found["gradient"])
        for name, found in numbers["networks"].items()
    }
    said = "; ".join(f"{name} {loss[name]:.2f} (gradient × {shrink[name]:.1g})" for name in loss)
    reason = (
        f"Training loss at {deep} layers, where guessing is {GUESSING:.2f}, and what becomes of the first layer's "
        f"gradient from {numbers['depths'][0]} layers on: {said}."
    )
    stopped = [name for name in PLAIN if loss[name] >= STOPPED and _best(numbers, name) < STOPPED]
    if not stopped or any(loss[name] > STOPPED for name in WITH_WAYS):
        return Verdict("does not hold", reason)
    limits = []
    if len(stopped) < len(PLAIN):
        limits.append(f" Of the plain networks only {stopped[0]} trains when shallow and stops when deep.")
    if any(loss[name] > TRAINED for name in WITH_WAYS):
        limits.append(" Not both networks with ways around come below a quarter of guessing.")
    beside = ""
    if shrink["plain, batch norm"] > 1 / VANISHED and shrink["plain"] < VANISHED:
        beside = (
            " Both ways that the notes name are there: without norm the gradient vanishes, and with batch norm, which "
            "all networks of the residual paper have, it explodes. Ways around keep it."
        )
    return Verdict("holds with limits" if limits else "holds", reason + "".join(limits) + beside)


def _best(numbers: Numbers, name: str) -> float:
    """The smallest mean loss over the depths."""
    return min(fmean(losses) for losses in zip(*numbers["networks"][name]["loss"], strict=True))


def table(numbers: Numbers) -> Table:
    """Loss and gradient by network and depth."""
    rows: Table = [("network", "measured", *(f"{depth} layers" for depth in numbers["depths"]))]
    for name, found in numbers["networks"].items():
        for what, form in (("loss", ".2f"), ("gradient", ".1e")):
            columns = zip(*found[what], strict=True)
            rows.append((name, f"{what}", *(spread(values, form) for values in columns)))
    return rows


def draw(numbers: Numbers) -> Figure:
    """Gradient of the first layer and loss after training against depth."""
    from danlu.experiments.harness.plots import key_above, line, logarithmic, panels, quiet

    figure, (left, right) = panels(2, height=2.6)
    for number, (name, found) in enumerate(numbers["networks"].items()):
        line(left, numbers["depths"], found["gradient"], number, name)
        line(right, numbers["depths"], found["loss"], number, name)
        if not all(run[-1] for run in found["gradient"]):
            left.annotate("0 in float32", (0.98, 0.04), xycoords="axes fraction", ha="right", fontsize=7, color=quiet())
    right.axhline(GUESSING, color=quiet(), linewidth=0.7, linestyle=(0, (3, 2)))
    right.annotate(
        "guessing",
        (numbers["depths"][0], GUESSING),
        xytext=(0, 3),
        textcoords="offset points",
        fontsize=7,
        color=quiet(),
    )
    logarithmic(left.yaxis)
    for axes in (left, right):
        logarithmic(axes.xaxis, numbers["depths"])
        axes.set_xlabel("layers")
    left.set(title="gradient of the first layer, at the start", ylabel="norm")
    right.set(title="training loss after training", ylabel="cross-entropy, nats", ylim=(0, 2.6))
    key_above(figure, left)
    return figure


EXPERIMENT = Experiment(measure, judge, table, draw)
