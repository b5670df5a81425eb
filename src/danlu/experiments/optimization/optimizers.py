"""Adam adapts and converges where SGD struggles (notes, 0.3.4).

One network learns the digits twice: as they are, and with every pixel multiplied by a factor of its own between 0.01
and 100, so that the loss is steep in some directions and flat in others. SGD, momentum, RMSProp and Adam each run at
every learning rate of one grid, and are compared at the one that ends with the lowest training loss on a seed that is
not measured afterwards. Measured are the training loss after 300 rounds, and at how many rates of the grid an optimizer
learns at all. Three seeds.
"""

from __future__ import annotations

import math
from statistics import fmean
from typing import TYPE_CHECKING, Literal

import torch

from danlu.data.base.dataset import Part
from danlu.data.datasets.digits import digits
from danlu.errors import Diverged
from danlu.experiments.harness.experiment import Experiment, Numbers, Table, Tell, Verdict
from danlu.experiments.harness.trainers import always_less, classifying, from_seed, spread
from danlu.models.classify.mlp import MLP
from danlu.rng.keys import generator
from danlu.training.optimization import OptimizerSettings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Optimizer = Literal["sgd", "momentum", "rmsprop", "adam"]
OPTIMIZERS: tuple[Optimizer, ...] = ("sgd", "momentum", "rmsprop", "adam")
NAMES: dict[str, str] = {"sgd": "SGD", "momentum": "momentum", "rmsprop": "RMSProp", "adam": "Adam"}
PROBLEMS = ("well scaled", "badly scaled")
DECADES = 2.0  # factors between 10⁻² and 10²
RATES = [10 ** (exponent / 2) for exponent in range(-10, 3)]  # 10⁻⁵ to 10
TWICE = 2.0  # times the loss of Adam: who ends above it struggles
LEARNT = 0.5  # nats: a loss that only who learns comes below
EVERY = 10  # rounds to a point of the curves


def measure(seed: int, tell: Tell, quick: bool = False) -> Numbers:
    """Loss against rounds at the best rate of each, and the last loss at every rate."""
    seeds = range(seed, seed + (2 if quick else 3))
    rounds, rates = (80, RATES[2::2]) if quick else (300, RATES)
    runs: list[tuple[str, Optimizer]] = [(problem, name) for problem in PROBLEMS for name in OPTIMIZERS]
    steps, done = len(runs) * (len(rates) + len(seeds)), 0
    numbers: Numbers = {problem: {} for problem in PROBLEMS}
    for problem, name in runs:
        swept: list[float | None] = []
        for rate in rates:
            tell("networks", done := done + 1, steps)
            curve = _learn(problem, name, rate, rounds, seed + 1000)
            swept.append(curve[-1] if curve else None)
        best = min((loss, rate) for loss, rate in zip(swept, rates, strict=True) if loss is not None)[1]
        curves = []
        for own in seeds:
            tell("networks", done := done + 1, steps)
            curves.append(_learn(problem, name, best, rounds, own))
        numbers[problem][name] = {"rates": swept, "best": best, "curves": curves}
    return {"problems": numbers, "rates": rates, "rounds": list(range(EVERY, rounds + 1, EVERY))}


def _learn(problem: str, name: Optimizer, rate: float, rounds: int, seed: int) -> list[float] | None:
    """The training loss, averaged over ten rounds each; None if it diverged."""
    part = digits().train
    if problem == "badly scaled":
        part = rescaled(part, seed)
    network = from_seed(lambda: MLP((1, 8, 8), 10, hidden=(32,)), seed)
    losses: list[float] = []
    try:
        for report in classifying(network, part, OptimizerSettings(optimizer=name, lr=rate), rounds, 64, seed):
            losses.append(report.values()["classifier/cross_entropy"])
    except Diverged:
        return None
    return [fmean(losses[start : start + EVERY]) for start in range(0, rounds, EVERY)]


def rescaled(part: Part, seed: int) -> Part:
    """The pictures with every pixel times a factor of its own, which is 10 to a power uniform in [−2, 2]."""
    powers = DECADES * (2 * torch.rand(8, 8, generator=generator("scales", seed)) - 1)
    return Part({**part.fields, "image": part["image"] * 10**powers})


def last(numbers: Numbers, problem: str, name: Optimizer) -> list[float]:
    """The loss at the end of each seed; infinite where it diverged."""
    return [curve[-1] if curve else math.inf for curve in numbers["problems"][problem][name]["curves"]]


def judge(numbers: Numbers) -> Verdict:
    """Badly scaled, SGD and momentum end above twice Adam's loss in every seed, and farther behind than well scaled."""
    good, bad = ({name: last(numbers, problem, name) for name in OPTIMIZERS} for problem in PROBLEMS)
    means = {name: fmean(values) for name, values in bad.items()}
    badly = ", ".join(f"{NAMES[name]} {value:.3g}" for name, value in means.items())
    well = ", ".join(f"{NAMES[name]} {fmean(values):.3g}" for name, values in good.items())
    reason = f"Training loss at the best rate of each, badly scaled: {badly}; well scaled: {well}."
    struggles = always_less([TWICE * loss for loss in bad["adam"]], bad["sgd"])
    if not struggles:
        return Verdict("does not hold", f"{reason} SGD does not end above twice Adam's loss in every seed.")
    limits = []
    lag_good, lag_bad = ([s / a for s, a in zip(some["sgd"], some["adam"], strict=True)] for some in (good, bad))
    reason += f" SGD's loss is {fmean(lag_bad):.1f} times Adam's badly scaled, {fmean(lag_good):.1f} times well scaled."
    if not always_less(lag_good, lag_bad):
        limits.append(" So it is not the scales alone that SGD struggles with.")
    if not always_less([TWICE * loss for loss in bad["adam"]], bad["momentum"]):
        limits.append(" SGD with momentum does not struggle as much, so part of it is momentum.")
    if fmean(bad["rmsprop"]) <= TWICE * means["adam"]:
        limits.append(
            " RMSProp does as well: what adapts is its division by the size of each gradient, which Adam "
            "has from it (the notes say: from SGD and momentum)."
        )
    if fmean(good["adam"]) > TWICE * fmean(good["sgd"]):
        limits.append(" Where the scales are equal Adam is the slower one.")
    return Verdict("holds with limits" if limits else "holds", reason + "".join(limits))


def table(numbers: Numbers) -> Table:
    """Best rate, loss at the end, and at how many rates it comes below half a nat."""
    rows: Table = [("problem", "optimizer", "best rate", "training loss", f"rates that reach {LEARNT} nats")]
    for problem, found in numbers["problems"].items():
        for name, run in found.items():
            learnt = sum(loss is not None and loss <= LEARNT for loss in run["rates"])
            rows.append(
                (
                    problem,
                    NAMES[name],
                    f"{run['best']:.2g}",
                    spread(last(numbers, problem, name), ".3g"),
                    f"{learnt} of {len(run['rates'])}",
                )
            )
    return rows


def draw(numbers: Numbers) -> Figure:
    """Loss against rounds at the best rates; loss at the end against the rate."""
    from danlu.experiments.harness.plots import MARKERS, colors, key_above, line, logarithmic, panels

    figure, axes = panels(2, rows=2, height=2.2, sharey="row")
    for place, (problem, found) in enumerate(numbers["problems"].items()):
        for number, (name, run) in enumerate(found.items()):
            curves = [curve for curve in run["curves"] if curve]
            if curves:
                line(axes[place], numbers["rounds"], curves, number, NAMES[name], marker=MARKERS[number], markevery=6)
            reached = [
                (rate, loss) for rate, loss in zip(numbers["rates"], run["rates"], strict=True) if loss is not None
            ]
            axes[place + 2].plot(
                *zip(*reached, strict=True), color=colors()[number], marker=MARKERS[number], markersize=3
            )
        axes[place].set(title=f"{problem}, best rates", xlabel="round")
        axes[place + 2].set(title=f"{problem}, after {numbers['rounds'][-1]} rounds", xlabel="learning rate")
        axes[place + 2].grid(True, axis="y")
        logarithmic(axes[place].yaxis)
        logarithmic(axes[place + 2].xaxis, [1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1, 10])
        logarithmic(axes[place + 2].yaxis)
    axes[0].set_ylabel("training loss, nats")
    axes[2].set_ylabel("training loss, nats")
    key_above(figure, axes[0])
    return figure


EXPERIMENT = Experiment(measure, judge, table, draw)
