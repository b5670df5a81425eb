"""Mini-batch noise reduces overfitting (notes, 0.3.2).

A network with one hidden layer is trained on 400 digits by plain SGD at one learning rate, with batches of 4, 16, 64
and 400 examples; larger batches have less gradient noise. Training stops when the loss over the whole training set
reaches 0.02. All networks then fit the training set equally well, so differences in test loss are differences in
overfitting. The experiment measures the test loss and the sharpness: the largest eigenvalue of the Hessian of the mean
training loss with respect to the weights, computed by power iteration (Keskar et al., "On large-batch training for
deep learning", 2017, state that noise leads to flat minima, which generalize better). Five seeds.
"""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from danlu.data.base.dataset import Part
from danlu.data.base.split_settings import Split
from danlu.data.datasets.digits import digits
from danlu.experiments.harness.experiment import JudgedExperiment, Numbers, ProgressCallback, Table, Verdict
from danlu.experiments.harness.trainers import always_less, classification_trainer, from_seed, spread, stratified_subset
from danlu.losses.classification import cross_entropy
from danlu.models.classify.mlp import MLP
from danlu.rng.keys import generator
from danlu.training.optimization.settings import OptimizerSettings
from danlu.training.validation import evaluate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EXAMPLES = 400
SIZES = (4, 16, 64, 400)
LR = 0.1
STOP_LOSS = 0.02  # training loss, in nats, at which training stops
MATERIAL = 0.05  # relative reduction of the test loss that counts as material


def measure(seed: int, progress: ProgressCallback, quick: bool = False) -> Numbers:
    """Test loss, accuracy, sharpness and rounds, by batch size and seed."""
    seeds = range(seed, seed + (2 if quick else 5))
    goal, sizes = (0.2, (4, 400)) if quick else (STOP_LOSS, SIZES)
    runs: Numbers = {str(size): [] for size in sizes}
    for index, size in enumerate(sizes):
        for run_seed in seeds:
            progress("networks", index * len(seeds) + run_seed - seed, len(sizes) * len(seeds))
            data = digits(split=Split(seed=run_seed))
            part = stratified_subset(data.train, EXAMPLES, run_seed)
            runs[str(size)].append(_learn(part, data.test, size, goal, run_seed))
    return {"batch sizes": list(sizes), "runs": runs, "stopped at": goal}


def _learn(part: Part, test: Part, size: int, goal: float, seed: int) -> Numbers:
    """Train one network until its training loss reaches the goal."""
    network = from_seed(lambda: MLP((1, 8, 8), 10, hidden=(64,)), seed)
    trainer = classification_trainer(network, part, OptimizerSettings(optimizer="sgd", lr=LR), 40_000, size, seed)
    loss = float("inf")
    for report in trainer:
        if report.round % 25 == 0:
            loss = evaluate(trainer, part)["cross_entropy"]
            if loss <= goal:
                break
    scores = evaluate(trainer, test)
    return {
        "training loss": loss,
        "test loss": scores["cross_entropy"],
        "accuracy": scores["accuracy"],
        "sharpness": sharpness(network, part["image"], part["label"]),
        "rounds": trainer.round,
    }


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


def verdict(numbers: Numbers) -> Verdict:
    """Holds if the smallest batch has the lower test loss in every seed, by a twentieth, and a flatter minimum."""
    sizes = numbers["batch sizes"]
    small_batches, large_batches = (numbers["runs"][str(size)] for size in (min(sizes), max(sizes)))
    better, flatter = (
        always_less(_all(small_batches, quantity), _all(large_batches, quantity))
        for quantity in ("test loss", "sharpness")
    )
    a, b = (fmean(_all(runs, "test loss")) for runs in (small_batches, large_batches))
    p, q = (fmean(_all(runs, "sharpness")) for runs in (small_batches, large_batches))
    reason = (
        f"At equal training loss ({numbers['stopped at']:g} nats) the test loss is {a:.3f} with batches of "
        f"{min(sizes)} and {b:.3f} with batches of {max(sizes)}; the sharpness is {p:.2f} and {q:.2f}."
    )
    unfinished = sum(run["training loss"] > numbers["stopped at"] for runs in numbers["runs"].values() for run in runs)
    if unfinished:
        return Verdict(
            "does not hold",
            f"{reason} {unfinished} networks never reached this training loss, so the comparison is not valid.",
        )
    if a >= b or not (better or 1 - a / b >= MATERIAL):
        flat = ", although the minima are flatter in every seed" if flatter else ""
        return Verdict("does not hold", f"{reason} Noise does not reduce overfitting here{flat}.")
    if better and flatter and 1 - a / b >= MATERIAL:
        return Verdict("holds", f"{reason} Both are lower in every seed.")
    limits = [
        "" if better else " The test loss is not lower in every seed.",
        "" if 1 - a / b >= MATERIAL else " The difference is less than a twentieth.",
        "" if flatter else " The minima are not flatter in every seed, so flatness does not explain it.",
    ]
    return Verdict("holds with limits", reason + "".join(limits))


def _all(runs: list[Numbers], quantity: str) -> list[float]:
    return [run[quantity] for run in runs]


def table(numbers: Numbers) -> Table:
    """The measurements by batch size."""
    rows: Table = [("batch size", "rounds", "training loss", "test loss", "test accuracy", "sharpness")]
    for size, runs in numbers["runs"].items():
        cells = (
            spread(_all(runs, quantity), form)
            for quantity, form in (
                ("training loss", ".4f"),
                ("test loss", ".3f"),
                ("accuracy", ".3f"),
                ("sharpness", ".2f"),
            )
        )
        rows.append((size, f"{fmean(_all(runs, 'rounds')):,.0f}", *cells))
    return rows


def plot(numbers: Numbers) -> Figure:
    """Test loss and sharpness against the batch size."""
    from danlu.experiments.harness.plots import line, logarithmic, panels, secondary_color

    figure, axes = panels(2)
    shown = (("test loss", "cross-entropy, nats"), ("sharpness", "largest eigenvalue of the Hessian"))
    for index, (quantity, label) in enumerate(shown):
        by_seed = list(zip(*(_all(runs, quantity) for runs in numbers["runs"].values()), strict=True))
        line(axes[index], numbers["batch sizes"], by_seed, index, quantity)
        for values in by_seed:
            axes[index].plot(numbers["batch sizes"], values, color=secondary_color(), linewidth=0.4, zorder=0)
        logarithmic(axes[index].xaxis, numbers["batch sizes"])
        axes[index].set(title=quantity, xlabel="batch size (larger: less noise)", ylabel=label)
    return figure


EXPERIMENT = JudgedExperiment(measure, verdict, table, plot)
