"""Adam adapts its learning rate, and so fits different data sets better (notes, 0.3.4).

The notes state that Adam combines SGD and momentum, and adapts the learning rate, so that it fits different data sets
better. One network is trained on three data sets: the digits; the digits with each pixel multiplied by its own factor
between 0.01 and 100, which makes the loss steep in some directions and flat in others; and two moons. SGD, momentum,
RMSProp and Adam run at every learning rate of one grid, for the same number of rounds, from the same weights and with
the same batches. An optimizer that adapts has two properties:

* its best learning rate, by the final training loss, moves little between the data sets;
* its loss is low on all data sets at one learning rate, the best common one.
"""

from __future__ import annotations

import math
from statistics import fmean
from typing import TYPE_CHECKING, Literal

import torch

from danlu.data.base.dataset import Part
from danlu.data.base.split_settings import Split
from danlu.data.datasets.digits import digits
from danlu.data.settings import DataSettings
from danlu.errors import Diverged
from danlu.experiments.harness.criteria import Comparison, Criteria, Judgment
from danlu.experiments.harness.experiment import Experiment, Numbers, ProgressCallback, Table
from danlu.experiments.harness.parallel import run_each
from danlu.experiments.harness.seeds import seeds
from danlu.experiments.harness.trainers import classification_trainer, from_seed
from danlu.experiments.harness.wording import mean_and_range, number
from danlu.models.classify.mlp import MLP
from danlu.rng.keys import generator
from danlu.training.optimization.settings import OptimizerSettings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Optimizer = Literal["sgd", "momentum", "rmsprop", "adam"]
OPTIMIZERS: tuple[Optimizer, ...] = ("sgd", "momentum", "rmsprop", "adam")
NAMES: dict[str, str] = {"sgd": "SGD", "momentum": "momentum", "rmsprop": "RMSProp", "adam": "Adam"}
PROBLEMS = {"digits": 10, "badly scaled digits": 10, "moons": 2}  # number of classes
DECADES = 2.0  # factors between 10⁻² and 10²
RATES = [10 ** (exponent / 2) for exponent in range(-6, 3)]  # 0.001 to 10
ROUNDS, BATCH = 100, 64
LAST = 10  # rounds over which the final loss is averaged
LEAST = 1e-6  # nats; smaller losses, which float32 can round to 0, count as this


def measure(seed: int, progress: ProgressCallback, quick: bool = False) -> Numbers:
    """The final loss of each data set, optimizer, learning rate and seed, and the two measures of adaptation."""
    run_seeds = seeds(seed, 2 if quick else 5)
    rounds, rates = (20, RATES[2::3]) if quick else (ROUNDS, RATES)
    losses: Numbers = {problem: {name: [] for name in OPTIMIZERS} for problem in PROBLEMS}
    runs: list[tuple[str, int, Optimizer, list[float], int]] = [
        (problem, s, name, rates, rounds) for problem in PROBLEMS for s in run_seeds for name in OPTIMIZERS
    ]
    for (problem, _, name, *_), by_rate in zip(runs, run_each(final_losses, runs, progress, "networks"), strict=True):
        losses[problem][name].append(by_rate)
    arms = {}
    for name in OPTIMIZERS:
        by_seed = [[losses[problem][name][k] for problem in PROBLEMS] for k in range(len(run_seeds))]
        arms[name] = {
            "movement": [movement(rows, rates) for rows in by_seed],
            "common loss": [common_rate(rows, rates)[1] for rows in by_seed],
            "common rate": [common_rate(rows, rates)[0] for rows in by_seed],
            **{
                f"lowest loss, {problem}": [_lowest(rows[place]) for rows in by_seed]
                for place, problem in enumerate(PROBLEMS)
            },
        }
    return {"arms": arms, "losses": losses, "rates": rates}


def final_losses(problem: str, seed: int, name: Optimizer, rates: list[float], rounds: int) -> list[float | None]:
    """The final loss of an optimizer on a data set at each learning rate."""
    part = training_data(problem, seed)
    return [final_loss(part, name, rate, rounds, seed) for rate in rates]


def training_data(problem: str, seed: int) -> Part:
    """The training examples, as inputs and labels."""
    if problem == "moons":
        return DataSettings(data="moons:2000", split=Split(seed=seed)).load().train
    part = digits().train
    return rescaled(part, seed) if problem == "badly scaled digits" else part


def rescaled(part: Part, seed: int) -> Part:
    """Multiply each pixel by its own factor: 10 to a power that is uniform in [−2, 2]."""
    powers = DECADES * (2 * torch.rand(8, 8, generator=generator("scales", seed)) - 1)
    return Part({**part.fields, "image": part["image"] * 10**powers})


def final_loss(part: Part, name: Optimizer, rate: float, rounds: int, seed: int) -> float | None:
    """The training loss, averaged over the last rounds; None if training diverged."""
    shape = (1, 8, 8) if "image" in part.fields else (2,)
    network = from_seed(lambda: MLP(shape, int(part["label"].max()) + 1, hidden=(32,)), seed)
    settings = OptimizerSettings(optimizer=name, lr=rate)
    losses: list[float] = []
    try:
        for report in classification_trainer(network, part, settings, rounds, BATCH, seed):
            if report.round > rounds - LAST:
                losses.append(report.values()["classifier/cross_entropy"])
    except Diverged:
        return None
    return max(fmean(losses), LEAST)


def movement(losses: list[list[float | None]], rates: list[float]) -> float:
    """The largest best learning rate over the smallest, over data sets.

    Args:
        losses: for each data set, the final loss at each learning rate.
        rates: the learning rates.

    >>> movement([[0.1, 0.2, None], [0.3, 0.2, None]], [0.01, 0.1, 1.0])
    10.0
    """
    best = [rates[row.index(_lowest(row))] for row in losses]
    return max(best) / min(best)


def _lowest(losses: list[float | None]) -> float:
    return min(loss for loss in losses if loss is not None)


def common_rate(losses: list[list[float | None]], rates: list[float]) -> tuple[float, float]:
    """The learning rate with the lowest loss over all data sets, and this loss, as geometric means over data sets.

    >>> rate, loss = common_rate([[0.1, 0.2, None], [0.4, 0.8, None]], [0.01, 0.1, 1.0])
    >>> rate, round(loss, 3)
    (0.01, 0.2)
    """
    usable = {
        rate: math.exp(fmean(math.log(loss) for loss in column if loss is not None))
        for rate, column in zip(rates, zip(*losses, strict=True), strict=True)
        if None not in column
    }
    best = min(usable, key=usable.__getitem__)
    return best, usable[best]


LESS = Comparison(
    "Adam's best learning rate moves less between data sets than that of SGD",
    "adam", "sgd", "movement", 3.0, lower=True, ratio=True,  # 3 is a step of the usual grid 1, 3, 10, 30
)  # fmt: skip
LOWER = Comparison(
    "at one learning rate for all data sets, Adam's loss is lower than that of SGD",
    "adam", "sgd", "common loss", 4 / 3, lower=True, ratio=True,  # a quarter lower
)  # fmt: skip
ORIGIN = Comparison(
    "momentum, which the notes name as the origin of Adam, moves less than SGD, too",
    "momentum", "sgd", "movement", 3.0, lower=True, ratio=True,
)  # fmt: skip
CRITERIA = Criteria(
    clauses=(LESS, LOWER),
    gates=(
        # below a factor of 3 one learning rate of the usual grid would do for SGD, and nothing is left to adapt
        Comparison("the best learning rate of SGD depends on the data set", "sgd", 1.0, "movement", 3.0, ratio=True),
        *(
            Comparison(
                f"SGD learns the {problem} at its best rate",  # half the loss of a guess
                "sgd", math.log(classes), f"lowest loss, {problem}", 2.0, lower=True, ratio=True,
            )
            for problem, classes in PROBLEMS.items()
        ),
    ),
    limits=(ORIGIN,),
)  # fmt: skip


def conclude(numbers: Numbers, judgment: Judgment) -> str:
    """Movement of the best rate, loss at a common rate, and the source of the effect."""
    moves, losses = (
        {name: number(_geometric(numbers["arms"][name][measure]), 2) for name in OPTIMIZERS}
        for measure in ("movement", "common loss")
    )
    text = (
        f"Between the data sets the best learning rate moves by a factor of {moves['sgd']} with SGD and of "
        f"{moves['adam']} with Adam"
    )
    text += "." if judgment.supported(LESS.clause) else ", which is not clearly less."
    if judgment.supported(LOWER.clause):
        text += f" At one learning rate for all of them Adam's loss is lower ({losses['adam']} nats; {losses['sgd']})."
    else:
        text += (
            f" At one learning rate for all of them Adam's loss is not lower by a quarter ({losses['adam']} nats; "
            f"{losses['sgd']})."
        )
    if not judgment.supported(ORIGIN.clause):
        text += (
            " The notes call Adam a combination of SGD and momentum: SGD with momentum does not adapt (factor "
            f"{moves['momentum']}). Adam's published parts are momentum and RMSProp; RMSProp alone has a factor of "
            f"{moves['rmsprop']}."
        )
    return text


def _geometric(values: list[float]) -> float:
    return math.exp(fmean(map(math.log, values)))


def table(numbers: Numbers) -> Table:
    """Movement, loss at the best common rate, and lowest losses."""
    columns = ("movement", "common rate", "common loss", *(f"lowest loss, {problem}" for problem in PROBLEMS))
    head = ("movement of the best rate, ×", "best common rate", "loss at that rate, nats")
    rows: Table = [("optimizer", *head, *(f"lowest loss, {problem}" for problem in PROBLEMS))]
    for name, measures in numbers["arms"].items():
        rows.append((NAMES[name], *(mean_and_range(measures[column], 2) for column in columns)))
    return rows


def plot(numbers: Numbers) -> Figure:
    """Final loss against the learning rate, for each data set, with the best rate of each seed."""
    from danlu.experiments.harness.plots import MARKERS, colors, legend_above, logarithmic, panels

    figure, axes = panels(len(PROBLEMS), height=2.6)
    for panel, (problem, results) in zip(axes, numbers["losses"].items(), strict=True):
        for index, name in enumerate(OPTIMIZERS):
            columns = zip(numbers["rates"], zip(*results[name], strict=True), strict=True)
            known = [(rate, _geometric(list(column))) for rate, column in columns if None not in column]
            panel.plot(
                *zip(*known, strict=True), color=colors()[index], marker=MARKERS[index], markersize=3, label=NAMES[name]
            )
        logarithmic(panel.xaxis, [1e-3, 0.1, 10])
        logarithmic(panel.yaxis)
        panel.set(title=problem, xlabel="learning rate")
    axes[0].set_ylabel("training loss, nats")
    legend_above(figure, axes[0])
    return figure


EXPERIMENT = Experiment(
    measure=measure,
    criteria=CRITERIA,
    conclude=conclude,
    table=table,
    plot=plot,
    method=(
        f"One small network is trained for {ROUNDS} rounds on three data sets with four optimizers, at every learning "
        "rate of one grid. For each optimizer, the best learning rates of the data sets are compared, and the loss at "
        "the best learning rate for all of them."
    ),
    caption=(
        "Training loss at the end against the learning rate, one panel for each data set; means over seeds. An "
        "optimizer that adapts has its lowest point at the same learning rate in all panels. Missing points: training "
        "diverged."
    ),
)
