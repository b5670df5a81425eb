"""FID detects noise and blur; the Inception Score hardly changes, even with one image per class (notes, 2.2.3.1).

A small convolutional classifier of the digits replaces the Inception network. Both scores are computed for
held-out digits: unchanged, with noise, blurred, and with reduced variety: one image per class (the one with the highest
class probability, repeated), half of the classes, and a single class. The loss of the Inception Score is given relative
to its value above 1, its minimum; FID is given as a multiple of its value for the held-out digits. Three seeds.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from danlu.data.datasets.digits import digits
from danlu.evaluation.feature_networks import score_name
from danlu.experiments.harness.experiment import JudgedExperiment, Numbers, ProgressCallback, Table, Verdict
from danlu.experiments.harness.gan_on_digits import FEATURES_NAME, DigitsEvaluator
from danlu.experiments.harness.trainers import spread
from danlu.metrics.frechet import fid_from_features
from danlu.metrics.inception_score import inception_score
from danlu.rng.keys import generator

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Images = Float[Tensor, "n 1 8 8"]
REACTS = 2.0  # FID has reacted from this multiple of its value for held-out digits
HARDLY = 0.2  # the Inception Score hardly reacts if it loses less than this fraction of its value above 1
LENGTHS = (1.0, 2.0, 3.0)  # feature shifts, to test whether FID is a distance or a squared distance


class HeldOut(NamedTuple):
    """The held-out digits and the predictions of the classifier."""

    images: Images
    labels: Tensor
    probabilities: Tensor
    seed: int


def noisy(deviation: float, digits: HeldOut) -> Images:
    """Add normal noise to each pixel and clip to the pixel range."""
    noise = torch.randn(digits.images.shape, generator=generator("noise", digits.seed))
    return (digits.images + deviation * noise).clamp(0, 1)


def blurred(width: float, digits: HeldOut) -> Images:
    """Blur with a Gaussian kernel whose standard deviation is given in pixels."""
    weights = (-torch.arange(-4, 5).square() / (2 * width**2)).exp()
    kernel = torch.outer(weights, weights)[None, None]
    return F.conv2d(F.pad(digits.images, (4,) * 4), kernel / kernel.sum())


def one_each(digits: HeldOut) -> Images:
    """For each class, the image with the highest class probability, repeated to the original number of images."""
    most_confident = digits.probabilities.argmax(dim=0)
    return digits.images[most_confident].repeat(-(-len(digits.images) // len(most_confident)), 1, 1, 1)[
        : len(digits.images)
    ]


def first_classes(classes: int, digits: HeldOut) -> Images:
    """Only the images of the first classes."""
    return digits.images[digits.labels < classes]


MODIFICATIONS: dict[str, Callable[[HeldOut], Images]] = {
    "held out": lambda digits: digits.images,
    "noise 0.1": partial(noisy, 0.1),
    "noise 0.2": partial(noisy, 0.2),
    "noise 0.5": partial(noisy, 0.5),
    "blur 0.5": partial(blurred, 0.5),
    "blur 0.7": partial(blurred, 0.7),
    "blur 1": partial(blurred, 1.0),
    "one per class": one_each,
    "five classes": partial(first_classes, 5),
    "one class": partial(first_classes, 1),
}
REAL, ONE_EACH, HALF = "held out", "one per class", "five classes"
WEAK, STRONG = ("noise 0.2", "blur 0.5"), ("noise 0.5", "blur 0.7", "blur 1")  # clearly visible; hard to recognize


def measure(seed: int, progress: ProgressCallback, quick: bool = False) -> Numbers:
    """Both scores of each modification, for each seed; example images of the first seed."""
    seeds = range(seed, seed + (1 if quick else 3))
    scores: Numbers = {modification: {"fid": [], "is": []} for modification in MODIFICATIONS}
    squares: list[list[float]] = []
    images: Numbers = {}
    for run_seed in seeds:
        progress("networks", run_seed - seed, len(seeds))
        evaluator = DigitsEvaluator(run_seed, 80 if quick else 300, "cosine")
        test = digits().test
        features, probabilities = evaluator.extract_features(test["image"])
        held_out = HeldOut(test["image"], test["label"], probabilities, run_seed)
        for modification, modify in MODIFICATIONS.items():
            modified = modify(held_out)
            fid, inception = fid_and_is(evaluator, modified)
            scores[modification]["fid"].append(fid)
            scores[modification]["is"].append(inception)
            if run_seed == seed:
                images[modification] = [
                    [[round(p, 2) for p in line] for line in one[0]] for one in modified[:4].tolist()
                ]
        squares.append([shifted_distance(features, length) for length in LENGTHS])
    return {"count": len(digits().test), "scores": scores, "moved": squares, "pictures": images}


def fid_and_is(evaluator: DigitsEvaluator, images: Images) -> tuple[float, float]:
    """FID and Inception Score of images."""
    features, probabilities = evaluator.extract_features(images)
    return evaluator.fid(features), inception_score(probabilities).mean


def shifted_distance(features: Float[Tensor, "n d"], length: float) -> float:
    """The Fréchet distance between features and the same features shifted by a vector of the given length."""
    shift = torch.full_like(features[0], length / features.shape[1] ** 0.5)
    return fid_from_features(features, features + shift)


def times(numbers: Numbers, modification: str) -> list[float]:
    """FID as a multiple of its value for the held-out digits, by seed."""
    scores = numbers["scores"]
    return [fid / real for fid, real in zip(scores[modification]["fid"], scores[REAL]["fid"], strict=True)]


def loss(numbers: Numbers, modification: str) -> list[float]:
    """The loss of the Inception Score relative to its value above 1 for the held-out digits, by seed."""
    scores = numbers["scores"]
    return [
        1 - (results - 1) / (real - 1)
        for results, real in zip(scores[modification]["is"], scores[REAL]["is"], strict=True)
    ]


def verdict(numbers: Numbers) -> Verdict:
    """Holds if only FID reacts to weak noise and blur, and only IS accepts one image per class."""
    smallest_increase = min(min(times(numbers, modification)) for modification in WEAK)
    largest_loss = max(max(loss(numbers, modification)) for modification in WEAK)
    strong = max(max(loss(numbers, modification)) for modification in STRONG)
    half = min(loss(numbers, HALF))
    fid_increase, is_loss = min(times(numbers, ONE_EACH)), max(loss(numbers, ONE_EACH))
    squares = ", ".join(f"{value:.0f}" for value in numbers["moved"][0])
    reason = (
        f"Weak noise or blur multiplies FID by at least {smallest_increase:.1f} and reduces the Inception Score "
        f"by at most {largest_loss:.0%}. One image per class multiplies FID by at least {fid_increase:.0f}; the "
        f"Inception Score {f'falls by {is_loss:.0%}' if is_loss > 0 else 'does not fall'}."
    )
    if smallest_increase < REACTS or largest_loss > HARDLY or fid_increase < REACTS or is_loss > HARDLY:
        return Verdict("does not hold", reason)
    limits = []
    if strong > HARDLY:
        limits.append(f" Strong noise or blur does reduce the Inception Score, by up to {strong:.0%}.")
    if half > HARDLY:
        limits.append(
            " The Inception Score detects missing classes, but not missing variety within a class: with half of the "
            f"classes it falls by {half:.0%}."
        )
    squared = f" FID is a squared distance: features shifted by 1, 2 and 3 have an FID of {squares}."
    return Verdict("holds with limits" if limits else "holds", reason + "".join(limits) + squared)


def table(numbers: Numbers) -> Table:
    """Both scores by modification."""
    count = numbers["count"]
    names = score_name("FID", FEATURES_NAME, count, "train"), score_name("IS", FEATURES_NAME, count)
    rows: Table = [("images", *names, "FID, multiple", "IS, relative loss above 1")]
    for modification, results in numbers["scores"].items():
        scores = spread(results["fid"], ".1f"), spread(results["is"], ".2f")
        rows.append(
            (
                modification,
                *scores,
                spread(times(numbers, modification), ".1f"),
                spread(loss(numbers, modification), ".2f"),
            )
        )
    return rows


def plot(numbers: Numbers) -> Figure:
    """Example images of each modification, with both scores."""
    from danlu.experiments.harness.plots import colors, logarithmic, panels, secondary_color

    figure, (top, middle, bottom) = panels(1, rows=3, height=1.3, height_ratios=(1.1, 1.3, 1.3), sharex=True)
    positions = range(len(MODIFICATIONS))
    for index, images in enumerate(numbers["pictures"].values()):
        tiles = [F.pad(1 - torch.tensor(one), (1, 1, 1, 1), value=1.0) for one in images]
        examples = torch.cat([torch.cat(tiles[:2], dim=1), torch.cat(tiles[2:], dim=1)])
        top.imshow(
            examples.numpy(), cmap="gray", vmin=0, vmax=1, extent=(index - 0.45, index + 0.45, 0, 1), aspect="auto"
        )
    top.set(xlim=(-0.6, len(MODIFICATIONS) - 0.4), ylim=(0, 1), yticks=[])
    top.spines[:].set_visible(False)
    top.tick_params(axis="x", length=0)
    for axes, key, color, name in ((middle, "fid", colors()[0], "FID"), (bottom, "is", colors()[1], "IS")):
        for index, results in zip(positions, numbers["scores"].values(), strict=True):
            values = results[key]
            axes.bar(index, sum(values) / len(values), 0.6, color=color, alpha=0.8)
            axes.plot([index] * len(values), values, "_", color=secondary_color(), markersize=5)
        real = numbers["scores"][REAL][key]
        axes.axhline(sum(real) / len(real), color=secondary_color(), linewidth=0.7, linestyle=(0, (3, 2)))
        axes.grid(True, axis="y")
        axes.set_ylabel(name)
    logarithmic(middle.yaxis, (1, 10, 100, 1000))
    middle.set_ylim(0.7, 2000)
    middle.set_title("Fréchet distance: lower is better")
    bottom.set(title="Inception Score: higher is better", ylim=(1, 10.5), yticks=(1, 5, 10), xticks=list(positions))
    bottom.set_xticklabels([modification.replace(" ", "\n", 1) for modification in MODIFICATIONS])
    bottom.set_xlabel("modification of the digits")
    return figure


EXPERIMENT = JudgedExperiment(measure, verdict, table, plot)
