"""FID detects noise and blur; the Inception Score hardly changes, even with one image per class (notes, 2.2.3.1).

A small convolutional classifier of the digits replaces the Inception network. Both scores are computed for
held-out digits: unchanged, with noise, blurred, with reduced variety, and for images of uniform noise. The variety is
reduced to one image per class (the one with the highest class probability, repeated), to half of the classes, and to a
single class.

FID is near 0 for real images and has no upper bound; the Inception Score is between 1 and the number of classes. A
common unit is needed to compare their changes, and there are two. The first is the standard deviation of the score
between random halves of the unchanged digits: the change in this unit says how reliably a score detects the
modification (the sensitivity of a measure as J. Mandel defined it, "The statistical analysis of experimental data",
1964). The second is the range of the score from the unchanged digits to uniform noise. "Sensitive" is a word for the
first, which therefore decides; the second is a limit. Each modification is measured on the same halves.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import exp
from statistics import fmean, stdev
from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from danlu.data.datasets.digits import digits
from danlu.evaluation.feature_networks import score_name
from danlu.experiments.harness.criteria import Comparison, Criteria, Judgment
from danlu.experiments.harness.experiment import Experiment, Numbers, ProgressCallback, Table
from danlu.experiments.harness.gan_on_digits import FEATURES_NAME, DigitsEvaluator
from danlu.experiments.harness.seeds import seeds
from danlu.experiments.harness.wording import mean_and_range, number, percent
from danlu.metrics.frechet import fid_from_features
from danlu.metrics.inception_score import inception_score
from danlu.rng.keys import generator

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Images = Float[Tensor, "n 1 8 8"]
LENGTHS = (1.0, 2.0, 3.0)  # feature shifts, to test whether FID is a distance or a squared distance
HALVES = 40  # random halves of the held-out digits
FLOORS = {"deviations": 0.1, "share": 1e-3}  # smaller changes count as these, so that their ratio is defined
FID, IS = "FID", "Inception Score"


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


def uniform(digits: HeldOut) -> Images:
    """Images of uniform noise, as many as there are digits."""
    return torch.rand(digits.images.shape, generator=generator("uniform", digits.seed))


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
    "uniform noise": uniform,
}
REAL, ONE_EACH, HALF, NOISE = "held out", "one per class", "five classes", "uniform noise"
WEAK, STRONG = ("noise 0.2", "blur 0.5"), ("noise 0.5", "blur 0.7", "blur 1")  # clearly visible; hard to recognize
DEGRADED = (*WEAK, *STRONG)


def measure(seed: int, progress: ProgressCallback, quick: bool = False) -> Numbers:
    """Both scores of each modification and their changes in both units, by seed; images of the first seed."""
    run_seeds = seeds(seed, 2 if quick else 5)
    scores: Numbers = {modification: {FID: [], IS: []} for modification in MODIFICATIONS}
    arms: Numbers = {FID: {}, IS: {}, "classifier": {"accuracy": []}}
    squares: list[list[float]] = []
    images: Numbers = {}
    test = digits().test
    for done, run_seed in enumerate(run_seeds):
        progress("networks", done, len(run_seeds))
        evaluator = DigitsEvaluator(run_seed, 80 if quick else 300, "cosine")
        features, probabilities = evaluator.extract_features(test["image"])
        arms["classifier"]["accuracy"].append(float((probabilities.argmax(1) == test["label"]).double().mean()))
        held_out = HeldOut(test["image"], test["label"], probabilities, run_seed)
        modified = {modification: modify(held_out) for modification, modify in MODIFICATIONS.items()}
        runs = {modification: _scores(evaluator, x, run_seed) for modification, x in modified.items()}
        for modification, run in runs.items():
            for name in (FID, IS):
                scores[modification][name].append(run[name][0])
        for name in (FID, IS):
            for measure, value in changes({modification: run[name] for modification, run in runs.items()}).items():
                arms[name].setdefault(measure, []).append(value)
        for modification in (ONE_EACH, HALF, *STRONG):
            kept = (runs[modification][IS][0] - 1) / (runs[REAL][IS][0] - 1)
            arms[IS].setdefault(f"kept, {modification}", []).append(kept)
        if not done:
            images = {modification: _rounded(x[:4]) for modification, x in modified.items()}
        squares.append([shifted_distance(features, length) for length in LENGTHS])
    return {"arms": arms, "count": len(test), "scores": scores, "moved": squares, "pictures": images}


def _rounded(images: Images) -> list[list[list[float]]]:
    return [[[round(p, 2) for p in line] for line in one[0]] for one in images.tolist()]


def _scores(evaluator: DigitsEvaluator, images: Images, seed: int) -> dict[str, list[float]]:
    """FID and Inception Score of images, and then of random halves of them."""
    features, probabilities = evaluator.extract_features(images)
    source = generator("halves", seed)
    halves = [torch.randperm(len(images), generator=source)[: len(images) // 2] for _ in range(HALVES)]
    parts = [torch.arange(len(images)), *halves]
    return {
        FID: [evaluator.fid(features[part]) for part in parts],
        IS: [inception_score(probabilities[part]).mean for part in parts],
    }


def changes(scores: dict[str, list[float]]) -> dict[str, float]:
    """The change of a score by each modification, in standard deviations and as a share of its range.

    Args:
        scores: for each modification, the score of all images, and then those of random halves.
    """
    real, worst = scores[REAL], scores[NOISE]
    deviation = stdev(real[1:])
    found = {}
    for modification in (*DEGRADED, ONE_EACH, NOISE):
        change = abs(fmean(scores[modification][1:]) - fmean(real[1:])) / deviation
        share = (scores[modification][0] - real[0]) / (worst[0] - real[0])
        found[f"deviations, {modification}"] = max(change, FLOORS["deviations"])
        found[f"share, {modification}"] = max(share, FLOORS["share"])
    return found


def shifted_distance(features: Float[Tensor, "n d"], length: float) -> float:
    """The Fréchet distance between features and the same features shifted by a vector of the given length."""
    shift = torch.full_like(features[0], length / features.shape[1] ** 0.5)
    return fid_from_features(features, features + shift)


ACCURATE = Comparison("the classifier is accurate", "classifier", 0.1, "accuracy", 0.8)  # 0.1 is chance
SEEN_BY_BOTH = tuple(
    Comparison(f"uniform noise changes the {name} beyond chance", name, 0.0, f"deviations, {NOISE}", 2.0)
    for name in (FID, IS)
)
# "hardly sensitive" beside "rises quickly": at least twice as sensitive
MORE_SENSITIVE = tuple(
    Comparison(
        f"{modification} changes FID by more standard deviations than the Inception Score",
        FID, IS, f"deviations, {modification}", 2.0, ratio=True,
    )
    for modification in WEAK
)  # fmt: skip
RAISES = Comparison("one image per class raises FID beyond chance", FID, 0.0, f"deviations, {ONE_EACH}", 2.0)
# "a high score": more than four fifths of what real images have above 1, the minimum
ACCEPTS = Comparison("one image per class keeps the Inception Score", IS, 0.5, f"kept, {ONE_EACH}", 0.3)
MORE_OF_RANGE = tuple(
    Comparison(
        f"{modification} changes FID by a larger share of its range than the Inception Score",
        FID, IS, f"share, {modification}", 2.0, ratio=True,
    )
    for modification in WEAK
)  # fmt: skip
SURVIVES = tuple(
    Comparison(f"{modification} keeps the Inception Score", IS, 0.5, f"kept, {modification}", 0.3)
    for modification in (*STRONG, HALF)
)
CRITERIA = Criteria(
    clauses=(*MORE_SENSITIVE, RAISES, ACCEPTS), gates=(ACCURATE, *SEEN_BY_BOTH), limits=(*MORE_OF_RANGE, *SURVIVES)
)


def conclude(numbers: Numbers, judgment: Judgment) -> str:
    """The sensitivity of both scores; then the other unit, strong modifications and missing classes."""
    arms = numbers["arms"]
    mean = lambda name, measure: fmean(arms[name][measure])  # noqa: E731
    noise, blur = (number(exp(judgment.finding(one.clause).interval.mean), 2) for one in MORE_SENSITIVE)
    text = (
        f"In standard deviations of the scores of real images, weak blur changes FID {blur} times as much as the "
        f"Inception Score, weak noise {noise} times as much; with one image per class the Inception Score keeps "
        f"{percent(mean(IS, f'kept, {ONE_EACH}'))} of its value above 1."
    )
    text += judgment.not_shown(*CRITERIA.clauses)
    reversed_ = [
        f"{name} {percent(mean(FID, f'share, {name}'), 1)} and {percent(mean(IS, f'share, {name}'), 1)}"
        for name, one in zip(WEAK, MORE_OF_RANGE, strict=True)
        if not judgment.supported(one.clause)
    ]
    if reversed_:
        text += (
            " As a share of the range between real images and uniform noise FID does not change by twice as much as "
            f"the Inception Score: {'; '.join(reversed_)}."
        )
    falls = [
        f"{percent(mean(IS, one.measure))} ({one.measure.removeprefix('kept, ')})"
        for one in SURVIVES[:-1]
        if not judgment.supported(one.clause)
    ]
    if falls:
        text += f" Strong noise or blur does reduce the Inception Score: it keeps {', '.join(falls)}."
    if not judgment.supported(SURVIVES[-1].clause):
        text += (
            " The Inception Score detects missing classes, but not missing variety within a class: with half of the "
            f"classes it keeps {percent(mean(IS, f'kept, {HALF}'))}."
        )
    squared = ", ".join(f"{value:.0f}" for value in numbers["moved"][0])
    return f"{text} FID is a squared distance: features shifted by 1, 2 and 3 have an FID of {squared}."


def table(numbers: Numbers) -> Table:
    """Both scores by modification, and their changes in both units."""
    count, arms = numbers["count"], numbers["arms"]
    names = score_name("FID", FEATURES_NAME, count, "train"), score_name("IS", FEATURES_NAME, count)
    units = [f"{name}, {unit}" for unit in ("standard deviations", "share of range") for name in ("FID", "IS")]
    rows: Table = [("images", *names, *units)]
    for modification, results in numbers["scores"].items():
        measures = [(name, f"{unit}, {modification}") for unit in FLOORS for name in (FID, IS)]
        cells = (mean_and_range(arms[name][m], 2) if m in arms[name] else "–" for name, m in measures)
        rows.append((modification, mean_and_range(results[FID]), mean_and_range(results[IS]), *cells))
    return rows


def plot(numbers: Numbers) -> Figure:
    """Example images of each modification, and the changes of both scores in both units."""
    from danlu.experiments.harness.plots import colors, image_grid, legend_above, logarithmic, panels

    shown = [REAL, *DEGRADED, ONE_EACH, NOISE]
    names = [name.replace(" ", "\n", 1) for name in shown]
    figure, (top, middle, bottom) = panels(1, rows=3, height=1.5, height_ratios=(0.5, 1.3, 1.3))
    tiles = torch.stack([1 - torch.tensor(numbers["pictures"][modification][:2]) for modification in shown])
    image_grid(top, tiles.flatten(0, 1), 2 * len(shown))
    for axes, unit, title in (
        (middle, "deviations", "change in standard deviations between sets of real images"),
        (bottom, "share", "change as a share of the range from real images to uniform noise"),
    ):
        for k, name in enumerate((FID, IS)):
            for index, modification in enumerate(shown[1:], start=1):
                values = numbers["arms"][name][f"{unit}, {modification}"]
                axes.plot(
                    [index + 0.2 * (k - 0.5)] * len(values), values, "os"[k], color=colors()[k], markersize=4,
                    alpha=0.7, label=name if index == 1 else None,
                )  # fmt: skip
        logarithmic(axes.yaxis)
        axes.set_xticks(range(len(shown)), names if unit == "share" else [""] * len(shown))
        axes.set(title=title, xlim=(-0.5, len(shown) - 0.5))
    bottom.set(xlabel="modification of the digits", ylim=(5e-4, 5))
    legend_above(figure, middle)
    return figure


EXPERIMENT = Experiment(
    measure=measure,
    criteria=CRITERIA,
    conclude=conclude,
    table=table,
    plot=plot,
    method=(
        "FID and Inception Score, with a classifier of digits in place of Inception, are computed for held-out digits "
        "with noise, blur or reduced variety. Their changes are compared in two units: standard deviations between "
        "random halves of the unchanged digits, and the share of the range from these to uniform noise."
    ),
    caption=(
        "Top: two examples of each modification. Below: by how much each modification changes each score in either "
        "direction (middle) and how far it moves the score toward that of noise (below; 10⁻³ stands for less), one "
        "point per classifier, on logarithmic axes. Less than 2 standard deviations are within chance."
    ),
)
