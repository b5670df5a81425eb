"""Convolution uses translation, fully connected layers do not (notes, 1.2.2).

The 8×8 digits lie in the middle of pictures of 14×14 and never move while networks learn them. Then the test digits are
shifted by 1, 2 and 3 pixels, in eight directions. Three networks of equal size, to a twentieth: fully connected;
two convolutions, each with max pooling of 2×2, and fully connected layers on top, as usual; one convolution with max
pooling over the whole map, as in the notes' example of the line. Five seeds.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

from danlu.data.base.dataset import Part
from danlu.data.base.split import Split
from danlu.data.datasets.digits import digits
from danlu.data.settings import DataSettings
from danlu.experiments.harness.experiment import Experiment, Numbers, Table, Tell, Verdict
from danlu.experiments.harness.trainers import always_less, classifying, error, from_seed, spread
from danlu.models.classify.cnn import CNN
from danlu.models.classify.mlp import MLP
from danlu.training.optimization import OptimizerSettings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BORDER = 3  # no shift loses ink
SHIFTS = range(BORDER + 1)
SHAPE = (1, 8 + 2 * BORDER, 8 + 2 * BORDER)
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "fully connected": lambda: MLP(SHAPE, 10, hidden=(58, 28)),
    "convolution, pooling 2×2": lambda: CNN(SHAPE, 10, channels=(8, 16), hidden=(78,)),
    "convolution, pooling all": lambda: CNN(SHAPE, 10, channels=(184,), kernel=5, padding=2, pool=14, hidden=(44,)),
}
KEPT = 0.9  # of its accuracy that a network which uses translation keeps at the largest shift


def measure(seed: int, tell: Tell, quick: bool = False) -> Numbers:
    """Accuracy at each shift, of each network and seed."""
    seeds = range(seed, seed + (2 if quick else 5))
    numbers: Numbers = {"sizes": {}, "accuracy": {name: [] for name in NETWORKS}, "shifts": list(SHIFTS)}
    for place, (name, make) in enumerate(NETWORKS.items()):
        numbers["sizes"][name] = sum(p.numel() for p in make().parameters())
        for own in seeds:
            tell("networks", place * len(seeds) + own - seed, len(NETWORKS) * len(seeds))
            data = digits(DataSettings(split=Split(seed=own)))
            network = from_seed(make, own)
            descent = OptimizerSettings(optimizer="adam", lr=2e-3, schedule="cosine")
            for _ in classifying(network, framed(data.train), descent, 40 if quick else 400, 64, own):
                pass
            numbers["accuracy"][name].append([_accuracy(network, framed(data.test), shift) for shift in SHIFTS])
    example = framed(digits().test)["image"][0, 0]
    return {**numbers, "example": [shifted(example[None], s, s)[0].tolist() for s in (0, BORDER)]}


def framed(part: Part) -> Part:
    """The pictures with an empty border around them."""
    return Part({**part.fields, "image": F.pad(part["image"], (BORDER,) * 4)})


def shifted(images: torch.Tensor, right: int, down: int) -> torch.Tensor:
    """Pictures moved by whole pixels; only what is empty leaves them.

    >>> shifted(torch.tensor([[[1.0, 0.0], [0.0, 0.0]]]), right=1, down=1).tolist()
    [[[0.0, 0.0], [0.0, 1.0]]]
    """
    return images.roll((down, right), dims=(-2, -1))


def _accuracy(network: nn.Module, part: Part, shift: int) -> float:
    """The mean over the eight directions."""
    ways = {(x * shift, y * shift) for x in (-1, 0, 1) for y in (-1, 0, 1) if x or y}
    return fmean(1 - error(network, shifted(part["image"], *way), part["label"]) for way in sorted(ways))


def judge(numbers: Numbers) -> Verdict:
    """Convolution is better in every seed at every shift, and keeps nine tenths at the largest; else limits."""
    names = list(numbers["accuracy"])
    flat, *folded = numbers["accuracy"].values()
    means = [[fmean(run[s] for run in runs) for s in numbers["shifts"]] for runs in (flat, *folded)]
    better = [
        all(always_less([run[s] for run in flat], [run[s] for run in runs]) for s in numbers["shifts"][1:])
        for runs in folded
    ]
    kept = [values[-1] / values[0] for values in means[1:]]
    said = "; ".join(f"{n} {values[0]:.0%} → {values[-1]:.0%}" for n, values in zip(names, means, strict=True))
    reason = f"Accuracy unshifted → shifted by {numbers['shifts'][-1]} pixels: {said}."
    if not any(better):
        return Verdict("does not hold", f"{reason} Neither convolution is better at every shift in every seed.")
    if all(better) and min(kept) >= KEPT:
        return Verdict("holds", reason)
    limits = []
    if worse := [name for name, is_better in zip(names[1:], better, strict=True) if not is_better]:
        limits.append(f" Not better than fully connected layers in every seed: {', '.join(worse)}.")
    fallen = [name for name, share in zip(names[1:], kept, strict=True) if share < KEPT]
    stayed = [name for name, share in zip(names[1:], kept, strict=True) if share >= KEPT]
    if fallen and stayed:
        limits.append(
            f" The map of a convolution moves with the picture; whether the answer stays is a matter of what follows: "
            f"it does with {', '.join(stayed)}, and falls with {', '.join(fallen)}, where each place is learnt anew."
        )
    elif fallen:
        limits.append(" No convolution keeps nine tenths of its accuracy at the largest shift.")
    return Verdict("holds with limits", reason + "".join(limits))


def table(numbers: Numbers) -> Table:
    """Accuracy by network and shift."""
    rows: Table = [("network", "parameters", *(f"shift {shift}" for shift in numbers["shifts"]))]
    for name, runs in numbers["accuracy"].items():
        columns = (spread([run[s] for run in runs]) for s in numbers["shifts"])
        rows.append((name, f"{numbers['sizes'][name]:,}", *columns))
    return rows


def draw(numbers: Numbers) -> Figure:
    """A digit in its frame, unshifted and shifted; accuracy against the shift."""
    from danlu.experiments.harness.plots import key_above, line, panels, quiet

    figure, (first, second, axes) = panels(3, height=2.4, width_ratios=(1, 1, 2.6))
    for place, shift, values in zip((first, second), (0, BORDER), numbers["example"], strict=True):
        place.imshow(values, cmap="Greys", vmin=0, vmax=1, interpolation="none")
        place.set(title=f"shift {shift}", xticks=[], yticks=[])
        place.spines[:].set(visible=True, color=quiet())
    for number, (name, runs) in enumerate(numbers["accuracy"].items()):
        line(axes, numbers["shifts"], [[100 * value for value in run] for run in runs], number, name)
    axes.axhline(10, color=quiet(), linewidth=0.7, linestyle=(0, (3, 2)))
    axes.annotate("guessing", (0, 10), xytext=(0, 3), textcoords="offset points", fontsize=7, color=quiet())
    axes.set(xlabel="shift, pixels", ylabel="test accuracy, %", ylim=(0, 103), xticks=numbers["shifts"])
    key_above(figure, axes)
    return figure


EXPERIMENT = Experiment(measure, judge, table, draw)
