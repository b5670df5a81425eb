"""Mini-batch noise reduces overfitting (notes, 0.3.2).

A network with one hidden layer is trained on 200 digits by plain SGD, with batches of 4, 20 and all 200 examples;
smaller batches have more gradient noise, and the full batch has none. Each runs at every learning rate of one grid,
and the learning rate with the lowest loss on 400 validation digits is used for each batch size, so that all have equal
tuning. Training stops when the loss over the whole training set reaches 0.05. All networks then fit the training set
equally well, and differences in test loss are differences in overfitting. The initial weights and the examples are the
same for all batch sizes; the number of updates differs.

The sharpness is reported, too: the largest eigenvalue of the Hessian of the mean training loss with respect to the
weights, computed by power iteration (Keskar et al., "On large-batch training for deep learning", 2017, state that
noise leads to flat minima, which generalize better).
"""

from __future__ import annotations

from math import exp, inf
from statistics import fmean
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from danlu.data.base.dataset import Part
from danlu.data.base.split import stratified_split
from danlu.data.base.split_settings import Split
from danlu.data.datasets.digits import digits
from danlu.errors import Diverged
from danlu.experiments.harness.criteria import Comparison, Criteria, Judgment
from danlu.experiments.harness.experiment import Experiment, Numbers, ProgressCallback, Table
from danlu.experiments.harness.parallel import run_each
from danlu.experiments.harness.seeds import seeds
from danlu.experiments.harness.trainers import classification_trainer, from_seed
from danlu.experiments.harness.wording import mean_and_range, number
from danlu.losses.classification import cross_entropy
from danlu.models.classify.mlp import MLP
from danlu.rng.keys import generator
from danlu.training.optimization.settings import OptimizerSettings
from danlu.training.trainer import Trainer
from danlu.training.validation import evaluate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EXAMPLES, VALIDATION = 200, 400
SIZES = (4, 20, EXAMPLES)
NAMES = {size: "full batch" if size == EXAMPLES else f"batches of {size}" for size in SIZES}
SMALL, FULL = NAMES[min(SIZES)], NAMES[max(SIZES)]
RATES = (0.05, 0.2, 0.8, 1.6)
STOP_LOSS = 0.05  # training loss, in nats, at which training stops
LIMIT = 2000  # rounds
QUANTITIES = ("gap", "test error", "sharpness", "rounds")


def measure(seed: int, progress: ProgressCallback, quick: bool = False) -> Numbers:
    """Gap, test error, sharpness and rounds, by batch size, learning rate and seed."""
    run_seeds = seeds(seed, 2 if quick else 5)
    goal, sizes, rates = (0.8, (min(SIZES), max(SIZES)), RATES[1:3]) if quick else (STOP_LOSS, SIZES, RATES)
    runs: Numbers = {NAMES[size]: {str(rate): [] for rate in rates} for size in sizes}
    every = [(size, rate, goal, run_seed) for run_seed in run_seeds for size in sizes for rate in rates]
    for (size, rate, *_), result in zip(every, run_each(measure_network, every, progress, "networks"), strict=True):
        runs[NAMES[size]][str(rate)].append(result)
    best = {name: best_rate(results) for name, results in runs.items()}
    arms = {
        name: {
            **{quantity: [run[quantity] for run in results[best[name]]] for quantity in QUANTITIES},
            "gap at equal rates": [run["gap"] for run in results[best[SMALL]]],
        }
        for name, results in runs.items()
    }
    return {"arms": arms, "runs": runs, "best": best, "stopped at": goal}


def parts(seed: int) -> tuple[Part, Part, Part]:
    """Training, validation and test digits."""
    data = digits(split=Split(seed=seed))
    total = len(data.train)
    fractions = (EXAMPLES / total, VALIDATION / total, 1 - (EXAMPLES + VALIDATION) / total)
    training, validation, _ = (data.train.take(rows) for rows in stratified_split(data.train["label"], fractions, seed))
    return training, validation, data.test


def measure_network(size: int, rate: float, goal: float, seed: int) -> Numbers:
    """Train one network until its training loss reaches the goal; None for all measures if it never does."""
    part, validation, test = parts(seed)
    network = from_seed(lambda: MLP((1, 8, 8), 10, hidden=(64,)), seed)
    settings = OptimizerSettings(optimizer="sgd", lr=rate)
    batch: int | str = "full" if size == EXAMPLES else size
    trainer = classification_trainer(network, part, settings, LIMIT, batch, seed)  # type: ignore[arg-type]
    reached = train_to(trainer, part, goal)
    if reached is None:
        return dict.fromkeys(("validation", "training loss", *QUANTITIES))
    scores = evaluate(trainer, test)
    return {
        "validation": evaluate(trainer, validation)["cross_entropy"],
        "training loss": reached,
        "gap": scores["cross_entropy"] - reached,
        "test error": 1 - scores["accuracy"],
        "sharpness": sharpness(network, part["image"], part["label"]),
        "rounds": trainer.round,
    }


def train_to(trainer: Trainer, part: Part, goal: float, every: int = 20) -> float | None:
    """Train until the loss on a part is at most the goal.

    Returns:
        The loss at that point; None if it is never reached, or training diverges.
    """
    try:
        for report in trainer:
            if report.round % every == 0:
                loss = evaluate(trainer, part)["cross_entropy"]
                if loss <= goal:
                    return loss
    except Diverged:
        pass
    return None


def best_rate(results: dict[str, list[Numbers]]) -> str:
    """The learning rate with the lowest validation loss over seeds; every seed must reach the goal with it."""
    losses = {
        rate: [inf if run["validation"] is None else run["validation"] for run in results[rate]] for rate in results
    }
    return min(losses, key=lambda rate: fmean(losses[rate]))


def sharpness(network: nn.Module, x: Tensor, labels: Tensor, steps: int = 200, tolerance: float = 1e-4) -> float:
    r"""The eigenvalue of largest magnitude of the Hessian of the mean cross-entropy with respect to the weights.

    .. math:: v \leftarrow H v / \lVert H v \rVert, \qquad \lambda = v^\top H v

    Power iteration; the products Hv come from differentiating twice (Pearlmutter, "Fast exact multiplication by the
    Hessian", 1994).

    Args:
        network: maps x to logits.
        x: all training examples.
        labels: their classes.
        steps: maximum number of iterations.
        tolerance: relative change of λ at which the iteration stops.
    """
    weights = [p for p in network.parameters() if p.requires_grad]
    loss = cross_entropy(network(x), labels).mean()
    gradient = torch.autograd.grad(loss, weights, create_graph=True)
    source = generator("power iteration")
    v = [torch.randn(w.shape, generator=source, dtype=w.dtype) for w in weights]
    eigenvalue = 0.0
    for _ in range(steps):
        length = torch.stack([part.square().sum() for part in v]).sum().sqrt()
        v = [part / length for part in v]
        product = torch.autograd.grad(gradient, weights, grad_outputs=v, retain_graph=True)
        last, eigenvalue = eigenvalue, float(sum((a * b).sum() for a, b in zip(v, product, strict=True)))
        if abs(eigenvalue - last) <= tolerance * abs(eigenvalue):
            break
        v = list(product)
    return eigenvalue


# a tenth of the gap: less would not be called an effective remedy
LESS_GAP = Comparison(
    "with small batches the gap is smaller than with the full batch, each at its best learning rate",
    SMALL, FULL, "gap", 10 / 9, lower=True, ratio=True,
)  # fmt: skip
LESS_ERROR = Comparison(
    "with small batches the test error is lower than with the full batch",
    SMALL, FULL, "test error", 10 / 9, lower=True, ratio=True,
)  # fmt: skip
EQUAL_RATES = Comparison(
    "with small batches the gap is smaller at equal learning rates, too",
    SMALL, FULL, "gap at equal rates", 10 / 9, lower=True, ratio=True,
)  # fmt: skip
CRITERIA = Criteria(
    clauses=(LESS_GAP,),
    gates=(
        # test loss at least three times the training loss at which all networks stop
        Comparison("the network overfits with the full batch", FULL, 0.0, "gap", 2 * STOP_LOSS),
    ),
    limits=(LESS_ERROR, EQUAL_RATES),
)


def conclude(numbers: Numbers, judgment: Judgment) -> str:
    """Gap at the best rates; the two limits; sharpness."""
    arms, best = numbers["arms"], numbers["best"]
    factor = exp(-judgment.finding(LESS_GAP.clause).interval.mean)
    gaps = [number(fmean(arms[name]["gap"]), 2) for name in (SMALL, FULL)]
    less = judgment.supported(LESS_GAP.clause)
    text = (
        f"At equal training loss the gap between test and training loss with {SMALL} is {number(factor, 2)} times that "
        f"with the full batch, each at its best learning rate ({gaps[0]} and {gaps[1]} nats)"
    )
    text += "." if less else ": noise does not reduce overfitting by a tenth."
    if less and not judgment.supported(LESS_ERROR.clause):
        text += " The test error is not lower by a tenth."
    if less and not judgment.supported(EQUAL_RATES.clause):
        text += f" At the learning rate that is best for {SMALL} ({best[SMALL]}) the gap is not smaller."
    return text


def table(numbers: Numbers) -> Table:
    """Best learning rates, and the measures at them and at equal rates."""
    head = ("gap, nats", "test error", "sharpness", "rounds", f"gap at rate {numbers['best'][SMALL]}, nats")
    rows: Table = [("batch", "best learning rate", *head)]
    for name, measures in numbers["arms"].items():
        rows.append((name, numbers["best"][name], *(mean_and_range(values) for values in measures.values())))
    return rows


def plot(numbers: Numbers) -> Figure:
    """Gap and test error against the learning rate, for each batch size."""
    from danlu.experiments.harness.plots import legend_above, line, logarithmic, panels

    figure, axes = panels(2)
    for axis, (quantity, label, scale) in zip(
        axes, (("gap", "test loss − training loss, nats", 1), ("test error", "test error, %", 100)), strict=True
    ):
        for index, (name, results) in enumerate(numbers["runs"].items()):
            known = {float(r): [run[quantity] for run in runs] for r, runs in results.items()}
            known = {rate: [scale * v for v in values] for rate, values in known.items() if None not in values}
            if known:
                line(axis, list(known), list(zip(*known.values(), strict=True)), index, name)
        logarithmic(axis.xaxis, [float(rate) for rate in next(iter(numbers["runs"].values()))])
        axis.set(xlabel="learning rate", ylabel=label, ylim=(0, None))
    axes[0].set_title("overfitting")
    axes[1].set_title("error")
    legend_above(figure, axes[0])
    return figure


EXPERIMENT = Experiment(
    measure=measure,
    criteria=CRITERIA,
    conclude=conclude,
    table=table,
    plot=plot,
    method=(
        f"A small network is trained on {EXAMPLES} digits with batches of {', '.join(map(str, SIZES[:-1]))} and all "
        "examples, at several learning rates, until the training loss is the same. The gap between test and training "
        "loss is compared at the learning rate of each batch size that is best on validation digits."
    ),
    caption=(
        f"Left: test loss minus training loss when the training loss reaches {STOP_LOSS}, against the learning rate, "
        "for three batch sizes. Right: test error at that point. Lines are means over seeds, bands the range; if noise "
        "reduced overfitting, small batches would be clearly lower."
    ),
)
