"""FID reacts to noise and blur, the Inception Score hardly; and it accepts one picture per class (notes, 2.2.3.1).

A small convolutional network learns the digits and stands where Inception does for photographs. Both scores are taken
of held-out digits: as they are, with noise, blurred, and poor in kinds: of each class the one picture that the network
is surest of, over and over; half of the classes; a single class. How much the Inception Score loses is said in parts of
what it has above 1, its smallest value; FID in multiples of what it is for the held-out digits. Three seeds.
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
from danlu.experiments.harness.experiment import Experiment, Numbers, Table, Tell, Verdict
from danlu.experiments.harness.gan_on_digits import FEATURES_NAME, DigitsJudge
from danlu.experiments.harness.trainers import spread
from danlu.metrics.frechet import fid_from_features
from danlu.metrics.inception_score import inception_score
from danlu.rng.keys import generator

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Pictures = Float[Tensor, "n 1 8 8"]
REACTS = 2.0  # times the FID of held-out digits: from there on it has reacted
HARDLY = 0.2  # of what the Inception Score has above 1: if it loses less than a fifth, it hardly reacts
LENGTHS = (1.0, 2.0, 3.0)  # by which features are moved, to see whether FID is a distance or its square


class Spoiled(NamedTuple):
    """The held-out digits, and what a network says of them."""

    pictures: Pictures
    labels: Tensor
    probabilities: Tensor
    seed: int


def noisy(deviation: float, digits: Spoiled) -> Pictures:
    """With normal noise on each pixel, cut off at black and white."""
    noise = torch.randn(digits.pictures.shape, generator=generator("noise", digits.seed))
    return (digits.pictures + deviation * noise).clamp(0, 1)


def blurred(width: float, digits: Spoiled) -> Pictures:
    """Each pixel a mean of those around it, with the weights of a Gaussian of this deviation in pixels."""
    weights = (-torch.arange(-4, 5).square() / (2 * width**2)).exp()
    kernel = torch.outer(weights, weights)[None, None]
    return F.conv2d(F.pad(digits.pictures, (4,) * 4), kernel / kernel.sum())


def one_each(digits: Spoiled) -> Pictures:
    """Of each class the picture that the network is surest of, as often as there are pictures."""
    surest = digits.probabilities.argmax(dim=0)
    return digits.pictures[surest].repeat(-(-len(digits.pictures) // len(surest)), 1, 1, 1)[: len(digits.pictures)]


def only(classes: int, digits: Spoiled) -> Pictures:
    """The pictures of the first classes alone."""
    return digits.pictures[digits.labels < classes]


WAYS: dict[str, Callable[[Spoiled], Pictures]] = {
    "held out": lambda digits: digits.pictures,
    "noise 0.1": partial(noisy, 0.1),
    "noise 0.2": partial(noisy, 0.2),
    "noise 0.5": partial(noisy, 0.5),
    "blur 0.5": partial(blurred, 0.5),
    "blur 0.7": partial(blurred, 0.7),
    "blur 1": partial(blurred, 1.0),
    "one per class": one_each,
    "five classes": partial(only, 5),
    "one class": partial(only, 1),
}
REAL, ONE_EACH, HALF = "held out", "one per class", "five classes"
WEAK, STRONG = ("noise 0.2", "blur 0.5"), ("noise 0.5", "blur 0.7", "blur 1")  # seen by everybody; hard to read


def measure(seed: int, tell: Tell, quick: bool = False) -> Numbers:
    """Both scores of all that is done to the digits, for each seed; pictures of the first."""
    seeds = range(seed, seed + (1 if quick else 3))
    scores: Numbers = {way: {"fid": [], "is": []} for way in WAYS}
    squares: list[list[float]] = []
    pictures: Numbers = {}
    for own in seeds:
        tell("networks", own - seed, len(seeds))
        judge = DigitsJudge(own, 80 if quick else 300, "cosine")
        test = digits().test
        features, probabilities = judge.look(test["image"])
        given = Spoiled(test["image"], test["label"], probabilities, own)
        for way, spoil in WAYS.items():
            spoiled = spoil(given)
            fid, inception = both(judge, spoiled)
            scores[way]["fid"].append(fid)
            scores[way]["is"].append(inception)
            if own == seed:
                pictures[way] = [[[round(p, 2) for p in line] for line in one[0]] for one in spoiled[:4].tolist()]
        squares.append([moved(features, length) for length in LENGTHS])
    return {"count": len(digits().test), "scores": scores, "moved": squares, "pictures": pictures}


def both(judge: DigitsJudge, pictures: Pictures) -> tuple[float, float]:
    """FID and Inception Score of pictures."""
    features, probabilities = judge.look(pictures)
    return judge.fid(features), inception_score(probabilities).mean


def moved(features: Float[Tensor, "n d"], length: float) -> float:
    """The Fréchet distance of features from the same features, all of them moved by a length."""
    away = torch.full_like(features[0], length / features.shape[1] ** 0.5)
    return fid_from_features(features, features + away)


def times(numbers: Numbers, way: str) -> list[float]:
    """FID in multiples of that of the held-out digits, by seed."""
    scores = numbers["scores"]
    return [fid / real for fid, real in zip(scores[way]["fid"], scores[REAL]["fid"], strict=True)]


def loss(numbers: Numbers, way: str) -> list[float]:
    """What the Inception Score loses, of what it has above 1 for the held-out digits, by seed."""
    scores = numbers["scores"]
    return [1 - (found - 1) / (real - 1) for found, real in zip(scores[way]["is"], scores[REAL]["is"], strict=True)]


def judge(numbers: Numbers) -> Verdict:
    """FID reacts to weak noise and blur and IS hardly; one picture per class fools IS and not FID; the limits."""
    reacts = min(min(times(numbers, way)) for way in WEAK)
    lost = max(max(loss(numbers, way)) for way in WEAK)
    strong = max(max(loss(numbers, way)) for way in STRONG)
    half = min(loss(numbers, HALF))
    each, fooled = min(times(numbers, ONE_EACH)), max(loss(numbers, ONE_EACH))
    squares = ", ".join(f"{value:.0f}" for value in numbers["moved"][0])
    reason = (
        f"Weak noise or blur multiplies FID by {reacts:.1f} or more, and takes at most {lost:.0%} of the Inception "
        f"Score; one picture per class multiplies FID by {each:.0f} or more, and the score "
        f"{f'loses {fooled:.0%}' if fooled > 0 else 'does not fall'}."
    )
    if reacts < REACTS or lost > HARDLY or each < REACTS or fooled > HARDLY:
        return Verdict("does not hold", reason)
    limits = []
    if strong > HARDLY:
        limits.append(f" Strong noise or blur does lower it, by up to {strong:.0%}.")
    if half > HARDLY:
        limits.append(f" It does see a want of classes, though not within one: with half of them it loses {half:.0%}.")
    squared = f" FID is the square of a distance: features moved by 1, 2, 3 have {squares}."
    return Verdict("holds with limits" if limits else "holds", reason + "".join(limits) + squared)


def table(numbers: Numbers) -> Table:
    """Both scores by what was done to the digits."""
    count = numbers["count"]
    names = score_name("FID", FEATURES_NAME, count, "train"), score_name("IS", FEATURES_NAME, count)
    rows: Table = [("pictures", *names, "FID, times", "IS, lost of what is above 1")]
    for way, found in numbers["scores"].items():
        scores = spread(found["fid"], ".1f"), spread(found["is"], ".2f")
        rows.append((way, *scores, spread(times(numbers, way), ".1f"), spread(loss(numbers, way), ".2f")))
    return rows


def draw(numbers: Numbers) -> Figure:
    """What was done to the digits, and both scores below each."""
    from danlu.experiments.harness.plots import colors, logarithmic, panels, quiet

    figure, (top, middle, bottom) = panels(1, rows=3, height=1.3, height_ratios=(1.1, 1.3, 1.3), sharex=True)
    places = range(len(WAYS))
    for place, pictures in enumerate(numbers["pictures"].values()):
        tiles = [F.pad(1 - torch.tensor(one), (1, 1, 1, 1), value=1.0) for one in pictures]
        sheet = torch.cat([torch.cat(tiles[:2], dim=1), torch.cat(tiles[2:], dim=1)])
        top.imshow(sheet.numpy(), cmap="gray", vmin=0, vmax=1, extent=(place - 0.45, place + 0.45, 0, 1), aspect="auto")
    top.set(xlim=(-0.6, len(WAYS) - 0.4), ylim=(0, 1), yticks=[])
    top.spines[:].set_visible(False)
    top.tick_params(axis="x", length=0)
    for axes, key, color, name in ((middle, "fid", colors()[0], "FID"), (bottom, "is", colors()[1], "IS")):
        for place, found in zip(places, numbers["scores"].values(), strict=True):
            values = found[key]
            axes.bar(place, sum(values) / len(values), 0.6, color=color, alpha=0.8)
            axes.plot([place] * len(values), values, "_", color=quiet(), markersize=5)
        real = numbers["scores"][REAL][key]
        axes.axhline(sum(real) / len(real), color=quiet(), linewidth=0.7, linestyle=(0, (3, 2)))
        axes.grid(True, axis="y")
        axes.set_ylabel(name)
    logarithmic(middle.yaxis, (1, 10, 100, 1000))
    middle.set_ylim(0.7, 2000)
    middle.set_title("Fréchet distance: low is good")
    bottom.set(title="Inception Score: high is good", ylim=(1, 10.5), yticks=(1, 5, 10), xticks=list(places))
    bottom.set_xticklabels([way.replace(" ", "\n", 1) for way in WAYS])
    bottom.set_xlabel("digits shown to both")
    return figure


EXPERIMENT = Experiment(measure, judge, table, draw)
