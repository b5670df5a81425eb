"""Convolution generalizes over shifts, fully connected layers do not (notes, 1.2.2).

The networks are trained on 8×8 digits in the center of 14×14 images, without shifts. The test digits are then shifted
by 1, 2 and 3 pixels in eight directions. Three networks have the same number of parameters up to 5%: a fully connected
network; a network of two convolutions, each with 2×2 max pooling, and fully connected layers; and one
convolution with max pooling over the whole map, as in the line detector of the notes. Five seeds.
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
from danlu.experiments.harness.experiment import JudgedExperiment, Numbers, ProgressCallback, Table, Verdict
from danlu.experiments.harness.trainers import always_less, classification_trainer, error, from_seed, spread
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
KEPT = 0.9  # fraction of its accuracy that a shift-invariant network keeps at the largest shift


def measure(seed: int, progress: ProgressCallback, quick: bool = False) -> Numbers:
    """Accuracy by network, seed and shift."""
    seeds = range(seed, seed + (1 if quick else 5))
    numbers: Numbers = {"sizes": {}, "accuracy": {name: [] for name in NETWORKS}, "shifts": list(SHIFTS)}
    for index, (name, make) in enumerate(NETWORKS.items()):
        numbers["sizes"][name] = sum(p.numel() for p in make().parameters())
        for run_seed in seeds:
            progress("networks", index * len(seeds) + run_seed - seed, len(NETWORKS) * len(seeds))
            data = digits(split=Split(seed=run_seed))
            network = from_seed(make, run_seed)
            settings = OptimizerSettings(optimizer="adam", lr=2e-3, schedule="cosine")
            for _ in classification_trainer(network, framed(data.train), settings, 15 if quick else 400, 64, run_seed):
                pass
            numbers["accuracy"][name].append([_accuracy(network, framed(data.test), shift) for shift in SHIFTS])
    example = framed(digits().test)["image"][0, 0]
    return {**numbers, "example": [shifted(example[None], s, s)[0].tolist() for s in (0, BORDER)]}


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


def verdict(numbers: Numbers) -> Verdict:
    """Holds if both convolutions are better in every seed at every shift and keep nine tenths at the largest."""
    names = list(numbers["accuracy"])
    fully_connected, *convolutional = numbers["accuracy"].values()
    means = [[fmean(run[s] for run in runs) for s in numbers["shifts"]] for runs in (fully_connected, *convolutional)]
    better = [
        all(always_less([run[s] for run in fully_connected], [run[s] for run in runs]) for s in numbers["shifts"][1:])
        for runs in convolutional
    ]
    kept_fractions = [values[-1] / values[0] for values in means[1:]]
    accuracy_text = "; ".join(f"{n} {values[0]:.0%} → {values[-1]:.0%}" for n, values in zip(names, means, strict=True))
    reason = f"Accuracy without shift → shifted by {numbers['shifts'][-1]} pixels: {accuracy_text}."
    if not any(better):
        return Verdict("does not hold", f"{reason} No convolutional network is better at every shift in every seed.")
    if all(better) and min(kept_fractions) >= KEPT:
        return Verdict("holds", reason)
    limits = []
    if worse := [name for name, is_better in zip(names[1:], better, strict=True) if not is_better]:
        limits.append(f" Not better than the fully connected network in every seed: {', '.join(worse)}.")
    fallen = [name for name, fraction in zip(names[1:], kept_fractions, strict=True) if fraction < KEPT]
    stayed = [name for name, fraction in zip(names[1:], kept_fractions, strict=True) if fraction >= KEPT]
    if fallen and stayed:
        limits.append(
            " The feature map of a convolution shifts with the image; the layers after it decide the effect on "
            f"accuracy. Accuracy stays with {', '.join(stayed)}, and falls with {', '.join(fallen)}, whose later "
            "layers are not shift-invariant."
        )
    elif fallen:
        limits.append(" No convolutional network keeps nine tenths of its accuracy at the largest shift.")
    return Verdict("holds with limits", reason + "".join(limits))


def table(numbers: Numbers) -> Table:
    """Accuracy by network and shift."""
    rows: Table = [("network", "parameters", *(f"shift {shift}" for shift in numbers["shifts"]))]
    for name, runs in numbers["accuracy"].items():
        columns = (spread([run[s] for run in runs]) for s in numbers["shifts"])
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


EXPERIMENT = JudgedExperiment(measure, verdict, table, plot)
