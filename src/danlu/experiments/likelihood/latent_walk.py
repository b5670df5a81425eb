"""The walk through the codes of four images changes an image continuously (notes, 2.1.2.4).

Line 595: with z = cos α (cos β z⁰ + sin β z¹) + sin α (cos β z² + sin β z³) one sees how the features of an image
change continuously. A RealNVP is trained on the digits, and ``Flow.latent_walk`` decodes the walk through the codes of
four test digits, with 16 and 32 steps for a full turn of each angle. The images have 17 levels of gray, like the data.

Continuity is tested in two ways. The largest difference between neighboring images must fall when there are more steps:
it is halved with twice as many steps if the change is continuous, and stays if there is a jump. And neighbors of a walk
of 16 steps must be much more alike than the same images in random order. Features are those of digits only if the
images on the way are digits: their log-likelihood must be comparable with that of test digits, and, as a second
measure, their distance from the nearest training digit. Images blended from the same digits, without the flow, are
shown beside them.

A walk could also be smooth because all its images are alike, so the gates demand that they differ, and that the flow is
a better model of digits than a normal distribution with all covariances. Differences of images are Euclidean distances.
"""

from __future__ import annotations

import math
from functools import lru_cache, partial
from itertools import product
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Tensor

from danlu.data.base.batch_stream import Shuffled
from danlu.data.base.dataset import DataSet, Part
from danlu.data.base.density import bits_per_dimension, dequantize, log_volume
from danlu.data.datasets.digits import digits
from danlu.experiments.harness.criteria import Comparison, Criteria, Judgment
from danlu.experiments.harness.experiment import Experiment, Numbers, ProgressCallback, Table
from danlu.experiments.harness.parallel import run_each
from danlu.experiments.harness.seeds import seeds
from danlu.experiments.harness.trainers import from_seed
from danlu.experiments.harness.wording import mean_and_range, number, percent
from danlu.models.flows.realnvp import RealNVP
from danlu.rng.keys import generator
from danlu.tasks.likelihood import Likelihood, log_likelihood
from danlu.training.optimization.settings import OptimizerSettings
from danlu.training.trainer import Trainer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BATCH, WIDTH = 64, 16
DESCENT = OptimizerSettings(lr=2e-3, schedule="cosine", grad_clip=50.0)
WALK, FINE_WALK, SHUFFLED, BLEND = "walk", "walk with twice the steps", "walk in random order", "blended digits"
DATA, FLOW, NORMAL = "test digits", "RealNVP", "normal distribution"
LEAST = 1e-6  # a distance of equal images, so that ratios exist
Images = Float[Tensor, "n 1 8 8"]


@lru_cache(maxsize=1)
def digits_once() -> DataSet:
    """The digits, which are read once."""
    return digits()


class Size(NamedTuple):
    """The size of a measurement.

    Attributes:
        steps: steps for a full turn of each angle; the fine walk has twice as many.
        walks: walks of each model, through different digits.
        draws: draws of the noise for a likelihood.
        rounds: rounds of training.
    """

    steps: int
    walks: int
    draws: int
    rounds: int


QUICK, FULL = Size(8, 1, 1, 2), Size(16, 3, 4, 100)


def train(seed: int, rounds: int) -> RealNVP:
    """A flow of the training digits."""
    data = digits_once()
    make = partial(RealNVP, data.info.shape, levels=17, width=WIDTH, blocks=1)
    flow = cast(RealNVP, from_seed(make, seed))
    for _ in Trainer(Likelihood(flow, data.info), DESCENT, Shuffled(data.train, BATCH, seed), rounds, seed):
        pass
    return flow.eval()


def neighbor_distances(walk: Float[Tensor, "a b *shape"]) -> Float[Tensor, "n"]:
    """Distances between neighbors in both directions of a closed walk.

    >>> neighbor_distances(torch.tensor([[0.0, 3.0], [0.0, 3.0]])[..., None])
    tensor([0., 0., 0., 0., 3., 3., 3., 3.])
    """
    steps = torch.cat([(walk - walk.roll(1, direction)).flatten(0, 1).flatten(1) for direction in (0, 1)])
    return steps.norm(dim=1)


def shuffled_distance(images: Float[Tensor, "n *shape"]) -> float:
    """The mean distance between two different images: that of neighbors in random order."""
    flat = images.flatten(1).double()
    return float(torch.pdist(flat).mean())


def nearest_distance(images: Images, data: Images) -> float:
    """The mean distance from the nearest of some other images."""
    return float(torch.cdist(images.flatten(1), data.flatten(1)).min(1).values.mean())


def nats(flow: RealNVP, images: Images, draws: int, seed: int) -> Float[Tensor, "n"]:
    """The log-likelihood of images with levels: the mean of the bound over several draws of the noise."""
    noise = torch.rand(draws, *images.shape, generator=generator("noise", seed))
    return torch.stack([log_likelihood(flow, images, one, digits_once().info) for one in noise]).mean(0)


def probable(values: Float[Tensor, "n"], reference: Float[Tensor, "m"]) -> float:
    """The mean fraction of the reference that is less probable; one half for the same distribution.

    >>> probable(torch.tensor([0.0, 2.5]), torch.tensor([1.0, 2.0]))
    0.5
    """
    return float((values[:, None] > reference).double().mean())


def blended(anchors: Float[Tensor, "4 *shape"], steps: int) -> Float[Tensor, "n *shape"]:
    """Means of two anchors along the quarter turns of the walk that begin and end at anchors, rounded to levels.

    Args:
        anchors: the four images.
        steps: number of steps of a full turn; a quarter of them is taken from each anchor to the next.
    """
    t = torch.linspace(0, 1, steps // 4 + 1)[1:-1].view(-1, *[1] * (anchors.ndim - 1))
    pairs = ((0, 1), (2, 3), (0, 2), (1, 3))
    return torch.cat([((1 - t) * anchors[a] + t * anchors[b]).mul(16).round().div(16) for a, b in pairs])


def normal_distribution() -> tuple[Tensor, Tensor]:
    """Mean and Cholesky factor of the covariance of training digits with noise."""
    data = digits_once()
    x = data.train["image"]
    noise = torch.rand(16, *x.shape, generator=generator("normal", 0))
    flat = dequantize(x, noise, data.info).flatten(0, 1).flatten(1).double()
    return flat.mean(0), torch.linalg.cholesky(flat.T.cov())


def normal_bits(part: Part) -> float:
    """Bits per pixel of a normal distribution, a bound by one draw of the noise for each image."""
    mean, factor = normal_distribution()
    info, x = digits_once().info, part["image"]
    noisy = dequantize(x, torch.rand(x.shape, generator=generator("normal", 1)), info).flatten(1).double()
    p = torch.distributions.MultivariateNormal(mean, scale_tril=factor)
    return float(bits_per_dimension(p.log_prob(noisy) + log_volume(info), noisy.shape[1]).mean())


@torch.no_grad()
def measure_walks(seed: int, size: Size) -> tuple[dict[str, dict[str, float]], Numbers]:
    """Train a flow; means over several walks, by arm and measure; images and likelihoods of the first walk."""
    with torch.enable_grad():
        flow = train(seed, size.rounds)
    data = digits_once()
    test = data.test["image"]
    reference = nats(flow, test, size.draws, seed)
    order = torch.randperm(len(test), generator=generator("anchors", seed))
    found: list[dict[str, dict[str, float]]] = []
    shown: Numbers = {}
    for anchors in test[order[: 4 * size.walks]].split(4):
        coarse, fine = (flow.latent_walk(anchors, steps) for steps in (size.steps, 2 * size.steps))
        found.append(of_one_walk(coarse, fine))
        for arm, images in ((WALK, coarse.flatten(0, 1)), (BLEND, blended(anchors, size.steps))):
            found[-1].setdefault(arm, {}).update(of_images(flow, images, reference, size.draws, seed))
        shown = shown or show(flow, coarse, fine, anchors, reference, size.draws, seed)
    means = {arm: {name: fmean(one[arm][name] for one in found) for name in found[0][arm]} for arm in found[0]}
    means[FLOW] = {"bits": float(bits_per_dimension(reference, test[0].numel()).mean())}
    means[NORMAL] = {"bits": normal_bits(data.test)}
    means[DATA] = of_images(flow, test, reference, size.draws, seed)
    return means, shown


def of_one_walk(coarse: Float[Tensor, "a b *shape"], fine: Float[Tensor, "c d *shape"]) -> dict[str, dict[str, float]]:
    """The differences between neighbors, by arm."""
    steps, fine_steps = neighbor_distances(coarse), neighbor_distances(fine)
    shuffled = shuffled_distance(coarse.flatten(0, 1))
    return {
        WALK: {
            "largest step": max(float(steps.max()), LEAST),
            "step": max(float(steps.mean()), LEAST),
            "spread": shuffled / shuffled_distance(digits_once().test["image"]),
        },
        FINE_WALK: {"largest step": max(float(fine_steps.max()), LEAST), "step": float(fine_steps.mean())},
        SHUFFLED: {"step": max(shuffled, LEAST)},
    }


def of_images(flow: RealNVP, images: Images, reference: Tensor, draws: int, seed: int) -> dict[str, float]:
    """How probable images are beside test digits, and their distance from training digits relative to that of tests."""
    known, test = digits_once().train["image"], digits_once().test["image"]
    return {
        "probable": probable(nats(flow, images, draws, seed), reference),
        "distance": nearest_distance(images, known) / nearest_distance(test, known),
    }


def show(
    flow: RealNVP, coarse: Tensor, fine: Tensor, anchors: Tensor, reference: Tensor, draws: int, seed: int
) -> Numbers:
    """Images of a walk, and the nats from its first anchor to its second beside those of blends and of test digits."""
    quarter = len(fine) // 4
    path = fine[0, : quarter + 1]
    blends = torch.cat([anchors[:1], blended(anchors, len(fine))[: quarter - 1], anchors[1:2]])
    return {
        "images": [[round(pixel, 3) for pixel in image.flatten().tolist()] for image in coarse[::2, ::2].flatten(0, 1)],
        "path": nats(flow, path, draws, seed).tolist(),
        "blends": nats(flow, blends, draws, seed).tolist(),
        "digits": reference.quantile(torch.tensor([0.05, 0.5, 0.95])).tolist(),
    }


def measure(seed: int, progress: ProgressCallback, quick: bool = False) -> Numbers:
    """Distances and likelihoods by arm and seed; the images of one walk."""
    run_seeds = seeds(seed, 2 if quick else 5)
    size = QUICK if quick else FULL
    runs = [(run_seed, size) for run_seed in run_seeds]
    results = run_each(measure_walks, runs, progress, "flows")
    arms: dict[str, dict[str, list[float]]] = {}
    for means, _ in results:
        for arm, measures in means.items():
            for name, value in measures.items():
                arms.setdefault(arm, {}).setdefault(name, []).append(value)
    return {"arms": arms, "shown": results[0][1]}


CONTINUOUS = Comparison(  # half way between 1 for a jump and 2 for a continuous change, on a logarithmic scale
    "with twice the steps the largest change falls", FINE_WALK, WALK, "largest step", math.sqrt(2), lower=True,
    ratio=True,
)  # fmt: skip
ALIKE = Comparison(
    "neighbors differ at most half as much as in random order", WALK, SHUFFLED, "step", 2.0, lower=True, ratio=True
)
PROBABLE = Comparison(  # one half for test digits themselves
    "at least a quarter of the test digits are less probable than the images on the way", WALK, 0.0, "probable", 0.25
)
NEAR = Comparison(
    "images on the way are at most 1.5 times as far from a training digit as test digits are",
    WALK, 2.0, "distance", 0.5, lower=True,
)  # fmt: skip
CRITERIA = Criteria(
    clauses=(CONTINUOUS, ALIKE, PROBABLE),
    gates=(
        Comparison("RealNVP needs at least 0.1 bits per pixel less than a normal distribution", FLOW, NORMAL, "bits",
                   0.1, lower=True),
        Comparison("the images of a walk differ at least half as much as test digits", WALK, 0.0, "spread", 0.5),
    ),
    limits=(NEAR,),
)  # fmt: skip


def conclude(numbers: Numbers, judgment: Judgment) -> str:
    """The change with more steps, neighbors beside a random order, and the likelihood."""
    arms = numbers["arms"]
    steps = (arms[WALK]["largest step"], arms[FINE_WALK]["largest step"])
    ratio = fmean(a / b for a, b in zip(*steps, strict=True))
    alike = fmean(a / b for a, b in zip(arms[SHUFFLED]["step"], arms[WALK]["step"], strict=True))
    return (
        f"With twice the steps the largest change between neighboring images falls by a factor of {number(ratio, 2)}, "
        f"and neighbors are more alike than in random order by a factor of {number(alike, 2)}. On average "
        f"{percent(fmean(arms[WALK]['probable']))} of the test digits are less probable than an image on the way."
        + judgment.not_shown(*CRITERIA.clauses, *CRITERIA.limits)
    )


def table(numbers: Numbers) -> Table:
    """All measures by arm."""
    names = {
        "step": "mean change",
        "largest step": "largest change",
        "probable": "less probable test digits",
        "distance": "distance from a training digit",
        "bits": "bits per pixel",
    }
    rows: Table = [("images", *names.values())]
    for arm in (WALK, FINE_WALK, SHUFFLED, BLEND, DATA, FLOW, NORMAL):
        measures = numbers["arms"][arm]
        rows.append((arm, *(mean_and_range(measures[name]) if name in measures else "" for name in names)))
    return rows


def plot(numbers: Numbers) -> Figure:
    """The walk; log-likelihood and change along the path from its first anchor to its second."""
    from matplotlib.patches import Rectangle

    from danlu.experiments.harness.plots import colors, image_grid, panels, secondary_color

    shown = numbers["shown"]
    figure, (left, right) = panels(2, height=3.4, width_ratios=(1, 1))
    images = torch.tensor(shown["images"]).view(-1, 8, 8)
    columns = math.isqrt(len(images))
    image_grid(left, images, columns)
    left.set(title="a walk through four digits", xlabel="β, a full turn", ylabel="α, a full turn")
    for column, row in product((0, columns // 4), repeat=2):  # multiples of a quarter turn
        left.add_patch(Rectangle((10 * column, 10 * row), 9, 9, fill=False, edgecolor=colors()[1], linewidth=1.2))
    low, middle, high = shown["digits"]
    places = [90 * k / (len(shown["path"]) - 1) for k in range(len(shown["path"]))]
    right.axhspan(low, high, color=secondary_color(), alpha=0.15, linewidth=0, label="test digits, 90 %")
    right.axhline(middle, color=secondary_color(), linewidth=0.8, label="their median")
    right.plot(places, shown["path"], "o-", color=colors()[0], markersize=3, label="walk")
    right.plot(places, shown["blends"], "s-", color=colors()[1], markersize=3, label="blended digits")
    right.set(title="from the first digit to the second", xlabel="β, degrees", ylabel="log-likelihood, nats",
              xticks=(0, 30, 60, 90))  # fmt: skip
    right.grid(True, axis="y")
    right.legend(loc="best", fontsize=7)
    return figure


EXPERIMENT = Experiment(
    measure=measure,
    criteria=CRITERIA,
    conclude=conclude,
    table=table,
    plot=plot,
    method=(
        "A RealNVP is trained on the digits, and the walk of the notes through the codes of four test digits is "
        "decoded with 16 and with 32 steps for a turn. Changes between neighboring images are measured, and how "
        "probable the images are, and how far from training digits, beside test digits."
    ),
    caption=(
        "Left: a walk; the framed images are the four test digits. Right: log-likelihood along the walk from the first "
        "digit to the second, and of images blended from both without the flow; the gray band has 90 % of the test "
        "digits."
    ),
)
