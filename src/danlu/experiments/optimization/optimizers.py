"""Adam adapts its step sizes and converges where SGD is slow or diverges (notes, 0.3.4).

One network is trained on the digits in two versions: unchanged, and with each pixel multiplied by its own factor
between 0.01 and 100, which makes the loss steep in some directions and flat in others. SGD, momentum, RMSProp and Adam
run at every learning rate of one grid. They are compared at the learning rate with the lowest final training loss on a
separate seed. The experiment measures the training loss after 300 rounds, and the number of learning rates in the grid
at which an optimizer reaches a low loss. Three seeds.
"""

from __future__ import annotations

import math
from statistics import fmean
from typing import TYPE_CHECKING, Literal

import torch

from danlu.data.base.dataset import Part
from danlu.data.datasets.digits import digits
from danlu.errors import Diverged
from danlu.experiments.harness.experiment import JudgedExperiment, Numbers, ProgressCallback, Table, Verdict
from danlu.experiments.harness.trainers import always_less, classification_trainer, from_seed, spread
from danlu.models.classify.mlp import MLP
from danlu.rng.keys import generator
from danlu.training.optimization.settings import OptimizerSettings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Optimizer = Literal["sgd", "momentum", "rmsprop", "adam"]
OPTIMIZERS: tuple[Optimizer, ...] = ("sgd", "momentum", "rmsprop", "adam")
NAMES: dict[str, str] = {"sgd": "SGD", "momentum": "momentum", "rmsprop": "RMSProp", "adam": "Adam"}
PROBLEMS = ("well scaled", "badly scaled")
DECADES = 2.0  # factors between 10⁻² and 10²
RATES = [10 ** (exponent / 2) for exponent in range(-10, 3)]  # 10⁻⁵ to 10
STRUGGLES = 2.0  # an optimizer struggles if its loss is above this many times the loss of Adam
LEARNED = 0.5  # nats: an optimizer has learned at a learning rate if its loss is at most this
EVERY = 10  # rounds that are averaged into one point of a curve


def measure(seed: int, progress: ProgressCallback, quick: bool = False) -> Numbers:
    """Loss by round at the best learning rate of each optimizer, and the final loss at every learning rate."""
    seeds = range(seed, seed + (2 if quick else 3))
    rounds, rates = (40, RATES[2::2]) if quick else (300, RATES)
    runs: list[tuple[str, Optimizer]] = [(problem, name) for problem in PROBLEMS for name in OPTIMIZERS]
    steps, done = len(runs) * (len(rates) + len(seeds)), 0
    numbers: Numbers = {problem: {} for problem in PROBLEMS}
    for problem, name in runs:
        final_losses: list[float | None] = []
        for rate in rates:
            progress("networks", done := done + 1, steps)
            curve = _learn(problem, name, rate, rounds, seed + 1000)
            final_losses.append(curve[-1] if curve else None)
        best = min((loss, rate) for loss, rate in zip(final_losses, rates, strict=True) if loss is not None)[1]
        curves = []
        for run_seed in seeds:
            progress("networks", done := done + 1, steps)
            curves.append(_learn(problem, name, best, rounds, run_seed))
        numbers[problem][name] = {"rates": final_losses, "best": best, "curves": curves}
    return {"problems": numbers, "rates": rates, "rounds": list(range(EVERY, rounds + 1, EVERY))}


def _learn(problem: str, name: Optimizer, rate: float, rounds: int, seed: int) -> list[float] | None:
    """The training loss, averaged over intervals of ten rounds; None if training diverged."""
    part = digits().train
    if problem == "badly scaled":
        part = rescaled(part, seed)
    network = from_seed(lambda: MLP((1, 8, 8), 10, hidden=(32,)), seed)
    losses: list[float] = []
    try:
        for report in classification_trainer(
            network, part, OptimizerSettings(optimizer=name, lr=rate), rounds, 64, seed
        ):
            losses.append(report.values()["classifier/cross_entropy"])
    except Diverged:
        return None
    return [fmean(losses[start : start + EVERY]) for start in range(0, rounds, EVERY)]


def rescaled(part: Part, seed: int) -> Part:
    """Multiply each pixel by its own factor: 10 to a power that is uniform in [−2, 2]."""
    powers = DECADES * (2 * torch.rand(8, 8, generator=generator("scales", seed)) - 1)
    return Part({**part.fields, "image": part["image"] * 10**powers})


def last(numbers: Numbers, problem: str, name: Optimizer) -> list[float]:
    """The final loss of each seed; infinite if training diverged."""
    return [curve[-1] if curve else math.inf for curve in numbers["problems"][problem][name]["curves"]]


def verdict(numbers: Numbers) -> Verdict:
    """Holds if, badly scaled, SGD and momentum exceed twice Adam's loss in every seed, by more than well scaled."""
    good, bad = ({name: last(numbers, problem, name) for name in OPTIMIZERS} for problem in PROBLEMS)
    means = {name: fmean(values) for name, values in bad.items()}
    badly = ", ".join(f"{NAMES[name]} {value:.3g}" for name, value in means.items())
    well = ", ".join(f"{NAMES[name]} {fmean(values):.3g}" for name, values in good.items())
    reason = f"Training loss at the best learning rate of each optimizer, badly scaled: {badly}; well scaled: {well}."
    sgd_fails = always_less([STRUGGLES * loss for loss in bad["adam"]], bad["sgd"])
    if not sgd_fails:
        return Verdict(
            "does not hold", f"{reason} The final loss of SGD is not above twice that of Adam in every seed."
        )
    limits = []
    lag_good, lag_bad = ([s / a for s, a in zip(final["sgd"], final["adam"], strict=True)] for final in (good, bad))
    reason += (
        f" The loss of SGD is {fmean(lag_bad):.1f} times that of Adam badly scaled, {fmean(lag_good):.1f} times well "
        "scaled."
    )
    if not always_less(lag_good, lag_bad):
        limits.append(
            " SGD is not further behind on badly scaled inputs in every seed: the scales alone are not the cause."
        )
    if not always_less([STRUGGLES * loss for loss in bad["adam"]], bad["momentum"]):
        limits.append(
            " SGD with momentum does not exceed twice Adam's loss in every seed, so momentum is part of the advantage."
        )
    if fmean(bad["rmsprop"]) <= STRUGGLES * means["adam"]:
        limits.append(
            " RMSProp performs as well: the adaptive part is the division by the root mean square of each gradient, "
            "which Adam takes from RMSProp (the notes name SGD and momentum as its origin)."
        )
    if fmean(good["adam"]) > STRUGGLES * fmean(good["sgd"]):
        limits.append(" Well scaled, Adam is slower than SGD.")
    return Verdict("holds with limits" if limits else "holds", reason + "".join(limits))


def table(numbers: Numbers) -> Table:
    """Best learning rate, final loss, and the number of learning rates that reach half a nat."""
    rows: Table = [
        ("problem", "optimizer", "best learning rate", "training loss", f"learning rates that reach {LEARNED} nats")
    ]
    for problem, results in numbers["problems"].items():
        for name, run in results.items():
            learned = sum(loss is not None and loss <= LEARNED for loss in run["rates"])
            rows.append(
                (
                    problem,
                    NAMES[name],
                    f"{run['best']:.2g}",
                    spread(last(numbers, problem, name), ".3g"),
                    f"{learned} of {len(run['rates'])}",
                )
            )
    return rows


def plot(numbers: Numbers) -> Figure:
    """Loss by round at the best learning rates; final loss against the learning rate."""
    from danlu.experiments.harness.plots import MARKERS, colors, legend_above, line, logarithmic, panels

    figure, axes = panels(2, rows=2, height=2.2, sharey="row")
    for index, (problem, results) in enumerate(numbers["problems"].items()):
        for number, (name, run) in enumerate(results.items()):
            curves = [curve for curve in run["curves"] if curve]
            if curves:
                line(axes[index], numbers["rounds"], curves, number, NAMES[name], marker=MARKERS[number], markevery=6)
            reached = [
                (rate, loss) for rate, loss in zip(numbers["rates"], run["rates"], strict=True) if loss is not None
            ]
            axes[index + 2].plot(
                *zip(*reached, strict=True), color=colors()[number], marker=MARKERS[number], markersize=3
            )
        axes[index].set(title=f"{problem}, best learning rates", xlabel="round")
        axes[index + 2].set(title=f"{problem}, after {numbers['rounds'][-1]} rounds", xlabel="learning rate")
        axes[index + 2].grid(True, axis="y")
        logarithmic(axes[index].yaxis)
        logarithmic(axes[index + 2].xaxis, [1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1, 10])
        logarithmic(axes[index + 2].yaxis)
    axes[0].set_ylabel("training loss, nats")
    axes[2].set_ylabel("training loss, nats")
    legend_above(figure, axes[0])
    return figure


EXPERIMENT = JudgedExperiment(measure, verdict, table, plot)
