"""Convolution generalizes over shifts, fully connected layers do not (notes, 1.2.2).

The networks are trained on 8×8 digits in the center of 14×14 images, without shifts. The test digits are then shifted
by 1, 2 and 3 pixels in eight directions. Three networks have the same number of parameters up to 5%: a fully connected
network; a network of two convolutions, each with 2×2 max pooling, and fully connected layers; and one
convolution with max pooling over the whole map, as in the line detector of the notes. The notes' example is a digit
that is shifted by one pixel. All networks have the same data, rounds, batches and optimizer.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

from danlu.data.base.dataset import Part
from danlu.data.base.split_settings import Split
from danlu.data.datasets.digits import digits
from danlu.experiments.harness.criteria import Comparison, Criteria, Judgment
from danlu.experiments.harness.experiment import Experiment, Numbers, ProgressCallback, Table
from danlu.experiments.harness.parallel import run_each
from danlu.experiments.harness.seeds import seeds
from danlu.experiments.harness.trainers import classification_trainer, error, from_seed
from danlu.experiments.harness.wording import mean_and_range, percent
from danlu.models.classify.cnn import CNN
from danlu.models.classify.mlp import MLP
from danlu.training.optimization.settings import OptimizerSettings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BORDER = 3  # pixels; no shift moves a digit out of the image
SHIFTS = range(BORDER + 1)
SHAPE = (1, 8 + 2 * BORDER, 8 + 2 * BORDER)
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "fully connected": lambda: MLP(SHAPE, 10, hidden=(58, 28)),
    "convolution, pooling 2×2": lambda: CNN(SHAPE, 10, channels=(8, 16), hidden=(78,)),
    "convolution, pooling all": lambda: CNN(SHAPE, 10, channels=(184,), kernel=5, padding=2, pool=14, hidden=(44,)),
}
DENSE, USUAL, POOLED = NETWORKS
ROUNDS = 250


def measure(seed: int, progress: ProgressCallback, quick: bool = False) -> Numbers:
    """Accuracy by network, seed and shift."""
    run_seeds = seeds(seed, 2 if quick else 5)
    numbers: Numbers = {"sizes": {}, "accuracy": {name: [] for name in NETWORKS}, "shifts": list(SHIFTS)}
    runs = [(name, run_seed, 8 if quick else ROUNDS) for name in NETWORKS for run_seed in run_seeds]
    for (name, *_), accuracies in zip(runs, run_each(accuracy_by_shift, runs, progress, "networks"), strict=True):
        numbers["accuracy"][name].append(accuracies)
    for name, make in NETWORKS.items():
        numbers["sizes"][name] = sum(p.numel() for p in make().parameters())
    example = framed(digits().test)["image"][0, 0]
    arms = {
        name: {
            **{f"accuracy, shift {shift}": [run[shift] for run in runs] for shift in SHIFTS},
            "accuracy, all shifts": [fmean(run[1:]) for run in runs],
            "loss": [run[0] - run[-1] for run in runs],
        }
        for name, runs in numbers["accuracy"].items()
    }
    return {"arms": arms, **numbers, "example": [shifted(example[None], s, s)[0].tolist() for s in (0, BORDER)]}


def accuracy_by_shift(name: str, seed: int, rounds: int) -> list[float]:
    """Train one network; its accuracy on test digits for each shift."""
    data = digits(split=Split(seed=seed))
    network = from_seed(NETWORKS[name], seed)
    settings = OptimizerSettings(optimizer="adam", lr=2e-3, schedule="cosine")
    for _ in classification_trainer(network, framed(data.train), settings, rounds, 64, seed):
        pass
    return [_accuracy(network, framed(data.test), shift) for shift in SHIFTS]


def framed(part: Part) -> Part:
    """The images with an empty border."""
    return Part({**part.fields, "image": F.pad(part["image"], (BORDER,) * 4)})


def shifted(images: torch.Tensor, right: int, down: int) -> torch.Tensor:
    """Shift images by whole pixels; only empty pixels leave the image.

    >>> shifted(torch.tensor([[[1.0, 0.0], [0.0, 0.0]]]), right=1, down=1).tolist()
    [[[0.0, 0.0], [0.0, 1.0]]]
    """
    return images.roll((down, right), dims=(-2, -1))


def _accuracy(network: nn.Module, part: Part, shift: int) -> float:
    """Mean accuracy over the eight directions."""
    directions = {(x * shift, y * shift) for x in (-1, 0, 1) for y in (-1, 0, 1) if x or y}
    return fmean(
        1 - error(network, shifted(part["image"], *direction), part["label"]) for direction in sorted(directions)
    )


def _better(name: str, measure: str, words: str) -> Comparison:
    # one in 20 digits
    return Comparison(
        f"{name} has a higher accuracy than the fully connected network {words}", name, DENSE, measure, 0.05
    )


ONE_PIXEL = [_better(name, "accuracy, shift 1", "after a shift of one pixel") for name in (USUAL, POOLED)]
ALL_SHIFTS = [_better(name, "accuracy, all shifts", f"over shifts of 1 to {BORDER} pixels") for name in (USUAL, POOLED)]
INVARIANT = [
    Comparison(f"{name} loses at most 10 % accuracy at a shift of {BORDER} pixels", name, 0.2, "loss", 0.1, lower=True)
    for name in (USUAL, POOLED)
]
CRITERIA = Criteria(
    clauses=(*ONE_PIXEL, *ALL_SHIFTS),
    gates=(
        *(
            Comparison(f"{name} learns the digits without shift", name, 0.0, "accuracy, shift 0", 0.85)
            for name in NETWORKS
        ),
        Comparison(  # a tenth: the problem of the claim
            f"the fully connected network loses accuracy at a shift of {BORDER} pixels", DENSE, 0.0, "loss", 0.1
        ),
    ),
    limits=tuple(INVARIANT),
)


def conclude(numbers: Numbers, judgment: Judgment) -> str:
    """Accuracy at one pixel; where the accuracy falls."""
    arms = numbers["arms"]
    one = {name: percent(fmean(measures["accuracy, shift 1"])) for name, measures in arms.items()}
    text = (
        f"After a shift of one pixel the accuracy is {one[USUAL]} with two convolutions and 2×2 pooling, {one[POOLED]} "
        f"with one convolution and pooling over the map, and {one[DENSE]} with the fully connected network."
    )
    text += judgment.not_shown(*ONE_PIXEL, *ALL_SHIFTS)
    for name, clause in zip((USUAL, POOLED), INVARIANT, strict=True):
        if not judgment.supported(clause.clause):
            far = percent(fmean(arms[name][f"accuracy, shift {BORDER}"]))
            text += (
                f" Convolution alone is not enough: after {BORDER} pixels the accuracy with {name} is {far}, because "
                "the layers after it are not shift-invariant."
            )
    return text


def table(numbers: Numbers) -> Table:
    """Accuracy by network and shift."""
    rows: Table = [("network", "parameters", *(f"shift {shift}" for shift in numbers["shifts"]))]
    for name, runs in numbers["accuracy"].items():
        columns = (mean_and_range([run[s] for run in runs]) for s in numbers["shifts"])
        rows.append((name, f"{numbers['sizes'][name]:,}", *columns))
    return rows


def plot(numbers: Numbers) -> Figure:
    """A digit with its border, unshifted and shifted; accuracy against the shift."""
    from danlu.experiments.harness.plots import legend_above, line, panels, secondary_color

    figure, (first, second, axes) = panels(3, height=2.4, width_ratios=(1, 1, 2.6))
    for panel, shift, values in zip((first, second), (0, BORDER), numbers["example"], strict=True):
        panel.imshow(values, cmap="Greys", vmin=0, vmax=1, interpolation="none")
        panel.set(title=f"shift {shift}", xticks=[], yticks=[])
        panel.spines[:].set(visible=True, color=secondary_color())
    for number, (name, runs) in enumerate(numbers["accuracy"].items()):
        line(axes, numbers["shifts"], [[100 * value for value in run] for run in runs], number, name)
    axes.axhline(10, color=secondary_color(), linewidth=0.7, linestyle=(0, (3, 2)))
    axes.annotate("chance", (0, 10), xytext=(0, 3), textcoords="offset points", fontsize=7, color=secondary_color())
    axes.set(xlabel="shift, pixels", ylabel="test accuracy, %", ylim=(0, 103), xticks=numbers["shifts"])
    legend_above(figure, axes)
    return figure


EXPERIMENT = Experiment(
    measure=measure,
    criteria=CRITERIA,
    conclude=conclude,
    table=table,
    plot=plot,
    method=(
        "A fully connected network and two convolutional networks with equally many parameters are trained on centered "
        "digits. The test digits are then shifted by 1 to 3 pixels, and the accuracy is measured."
    ),
    caption=(
        "Left: a test digit with its border, unshifted and shifted by 3 pixels to the right and down. Right: accuracy "
        "on shifted test digits; lines are means over seeds, bands the range; the dashed line is the accuracy of a "
        "guess."
    ),
)
