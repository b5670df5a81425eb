"""Latents can be added and subtracted (notes, 2.2.4.1).

A DCGAN is trained on images of discs with two attributes, size and redness. A classifier of the four kinds (small or
large, blue or red) evaluates the images. As in the paper (Radford et al., 2016, section 6.3.2), three latents of each
kind are averaged; large blue − small blue + small red should then give large red. Each kind is the expected one in many
trials. The notes write the formula with single latents, which is measured, too. For comparison, the experiment sums
latents of randomly chosen kinds, and images instead of latents.

The attributes are continuous: all sizes and all mixtures of red and blue occur, as faces have all shapes, and a kind is
an end of the range. In a second data set they are binary: the colors are pure, and the sizes are in the lowest or in
the highest quarter of the range, so images between the four kinds do not occur.
"""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from danlu.data.base.batch_stream import Shuffled
from danlu.data.base.dataset import Part
from danlu.experiments.harness.criteria import Comparison, Criteria, Judgment
from danlu.experiments.harness.experiment import Experiment, Numbers, ProgressCallback, Table
from danlu.experiments.harness.gan_on_digits import pair
from danlu.experiments.harness.parallel import run_each
from danlu.experiments.harness.seeds import seeds
from danlu.experiments.harness.trainers import classification_trainer, error, from_seed
from danlu.experiments.harness.wording import mean_and_range, percent
from danlu.models.adversarial.dcgan import DCGANCritic, DCGANGenerator
from danlu.models.classify.cnn import CNN
from danlu.rng.keys import generator as generator_of
from danlu.rng.keys import key
from danlu.tasks.adversarial import Adversarial
from danlu.training.optimization.settings import OptimizerSettings
from danlu.training.trainer import Trainer

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIDE, LATENT, WIDTH, BATCH = 8, 16, 8, 32
EXAMPLES, ROUNDS = 3000, 2400
NAMES = ("small, blue", "small, red", "large, blue", "large, red")
KINDS = len(NAMES)  # index of a kind: 2 × large + red
CONTINUOUS, BINARY = "continuous attributes", "binary attributes"
CODES, TRIALS, AVERAGED, SURE = 4000, 300, 3, 0.9
CHANCE, MOST = 1 / KINDS, 0.5
SUMS = {
    "means": "sums of means of three latents",
    "single": "sums of single latents",
    "random": "sums of random kinds",
    "pixels": "sums of images",
}


def images(attributes: str, n: int, seed: int) -> Part:
    """Random discs on black; position and brightness vary, too."""
    source = generator_of("pictures", seed)
    large, red = torch.rand(2, n, generator=source)
    kind = 2 * (large > 0.5) + 1 * (red > 0.5)
    if attributes == BINARY:  # the lowest and the highest quarter of the sizes; pure colors
        large, red = (large % 0.5) / 2 + 0.75 * (large > 0.5), (red > 0.5).float()
    light = 0.7 + 0.3 * torch.rand(n, 1, 1, 1, generator=source)
    across, down = torch.rand(2, n, 1, 1, generator=source)
    axis = torch.arange(SIDE)
    distance = ((axis - 2.5 - 2 * across).square() + (axis[:, None] - 2.5 - 2 * down).square()).sqrt()
    ink = (1.3 + 1.9 * large[:, None, None] - distance).clamp(0, 1)
    color = torch.stack([red, torch.zeros_like(red), 1 - red], dim=1)
    return Part({"image": ink[:, None] * color[:, :, None, None] * light, "label": kind})


def operands(kind: int) -> tuple[int, int, int]:
    """The kinds a, b, c with a − b + c = this kind: a has its first attribute, c its second, and b neither.

    >>> [NAMES[other] for other in operands(3)]
    ['large, blue', 'small, blue', 'small, red']
    """
    return kind ^ 1, kind ^ 3, kind ^ 2


def measure(seed: int, progress: ProgressCallback, quick: bool = False) -> Numbers:
    """Fraction of sums that have the expected kind, by data set and seed; images of the first seed."""
    run_seeds = seeds(seed, 2 if quick else 5)
    runs = [(attributes, run_seed, quick) for attributes in (CONTINUOUS, BINARY) for run_seed in run_seeds]
    measured: Numbers = {CONTINUOUS: [], BINARY: []}
    pictures: list = []
    results = run_each(measure_run, runs, progress, "generators")
    for (attributes, run_seed, _), (result, shown) in zip(runs, results, strict=True):
        measured[attributes].append(result)
        if attributes == CONTINUOUS and run_seed == run_seeds[0]:
            pictures = shown
    return {"arms": _arms(measured), "runs": measured, "pictures": pictures}


def measure_run(attributes: str, seed: int, quick: bool) -> tuple[Numbers, list]:
    """The sums of one generator, with the error of the classifier, and examples."""
    rounds, examples = (30, 300) if quick else (ROUNDS, EXAMPLES)
    part = images(attributes, examples, seed)
    classifier = _classifier(part, seed, 30 if quick else 150)
    results, shown = add(_learn(part, rounds, seed), classifier, seed)
    test = images(attributes, 500, key("test", seed))
    return {**results, "error": error(classifier, test["image"], test["label"])}, shown


def _arms(runs: Numbers) -> Numbers:
    """By data set and kind of sum, the fraction of each seed; None if a kind is not generated."""
    arms: Numbers = {}
    for attributes, results in runs.items():
        for name in SUMS:
            fractions = [run["correct"][name] if run["correct"] else None for run in results]
            arms[arm(attributes, name)] = {
                "correct": [None if kinds is None else fmean(kinds) for kinds in fractions],
                "weakest kind": [None if kinds is None else min(kinds) for kinds in fractions],
            }
        recognized = [fmean(run["recognized"]) if run["correct"] else None for run in results]
        arms[attributes] = {"recognized": recognized}
    return arms


def arm(attributes: str, name: str) -> str:
    """The name of the sums of one kind with one data set."""
    return f"{attributes}, {SUMS[name]}"


def _classifier(part: Part, seed: int, rounds: int) -> CNN:
    network = from_seed(lambda: cast(CNN, CNN((3, SIDE, SIDE), KINDS, hidden=(32,))), seed)
    for _ in classification_trainer(network, part, OptimizerSettings(lr=3e-3), rounds, BATCH, seed):
        pass
    return network.eval()


def _learn(part: Part, rounds: int, seed: int) -> DCGANGenerator:
    shape = (3, SIDE, SIDE)
    generator, critic = pair(
        lambda: cast(DCGANGenerator, DCGANGenerator(shape, 0, (0.0, 1.0), LATENT, WIDTH)),
        lambda: cast(DCGANCritic, DCGANCritic(shape, 0, WIDTH)),
        seed,
    )
    settings = OptimizerSettings(optimizer="adam", lr=4e-4, betas=(0.5, 0.999))
    for _ in Trainer(Adversarial(generator, critic), settings, Shuffled(part, BATCH, seed), rounds, seed):
        pass
    return cast(DCGANGenerator, generator.eval())


@torch.no_grad()
def add(generator: Any, classifier: Any, seed: int) -> tuple[Numbers, list]:
    """For each expected kind, the fraction of the sums that have it, and examples: three means and their sum.

    Returns:
        The number of latents of each kind; the fractions, None if a kind is hardly generated; the fraction of means of
        three latents of one kind that have this kind. The images, empty if there are no sums.
    """
    source = generator_of("codes", seed)
    z = generator.prior(CODES, generator=source)
    confidence, predictions = classifier(generator.decode(z)).softmax(1).max(1)
    pools = [z[(predictions == kind) & (confidence > SURE)] for kind in range(KINDS)]
    results: Numbers = {"codes": [len(pool) for pool in pools], "correct": None, "recognized": None}
    if min(map(len, pools)) < AVERAGED:
        return results, []

    def means(kind: int, of: int = AVERAGED) -> Float[Tensor, "trials latent"]:
        return pools[kind][torch.randint(len(pools[kind]), (TRIALS, of), generator=source)].mean(1)

    def fraction(kind: int, x: Tensor) -> float:
        return float((classifier(x).argmax(1) == kind).double().mean())

    correct: dict[str, list[float]] = {name: [] for name in SUMS}
    examples: list = []
    for kind in range(KINDS):
        a, b, c = (means(other) for other in operands(kind))
        correct["means"].append(fraction(kind, generator.decode(a - b + c)))
        x, y, w = shown = [generator.decode(code) for code in (a, b, c)]
        correct["pixels"].append(fraction(kind, (x - y + w).clamp(0, 1)))
        examples.append([x[:1], *(image[:1] for image in shown[1:]), generator.decode(a - b + c)[:1]])
        a, b, c = (means(other, 1) for other in operands(kind))
        correct["single"].append(fraction(kind, generator.decode(a - b + c)))
        a, b, c = torch.stack([means(other) for other in range(KINDS)])[
            torch.randint(KINDS, (3, TRIALS), generator=source), torch.arange(TRIALS)
        ]
        correct["random"].append(fraction(kind, generator.decode(a - b + c)))
    recognized = [fraction(kind, generator.decode(means(kind))) for kind in range(KINDS)]
    rounded = torch.stack([torch.cat(row) for row in examples]).mul(100).round().div(100)
    return {**results, "correct": correct, "recognized": recognized}, rounded.tolist()


def _most(name: str, attributes: str, measure: str, words: str) -> Comparison:
    # most: half of them, where a quarter is chance
    return Comparison(words, arm(attributes, name), CHANCE, measure, MOST - CHANCE)


RIGHT = _most("means", CONTINUOUS, "correct", "most sums of means of three latents have the expected kind")
MORE = Comparison(
    "sums of means have the expected kind more often than sums of random kinds",
    arm(CONTINUOUS, "means"), arm(CONTINUOUS, "random"), "correct", 0.25,
)  # fmt: skip
SINGLE = _most("single", CONTINUOUS, "correct", "most sums of single latents have the expected kind")
EVERY = _most("means", CONTINUOUS, "weakest kind", "most sums have the expected kind for each of the four kinds")
BINARY_WORKS = Comparison(
    "means of three latents of one kind have this kind with binary attributes", BINARY, 0.8, "recognized", 0.1
)
DISCRETE = _most("means", BINARY, "correct", "most sums have the expected kind with binary attributes")
CRITERIA = Criteria(
    clauses=(RIGHT, MORE),
    gates=(Comparison("means of three latents of one kind have this kind", CONTINUOUS, 0.8, "recognized", 0.1),),
    limits=(BINARY_WORKS, DISCRETE, SINGLE, EVERY),
)


def conclude(numbers: Numbers, judgment: Judgment) -> str:
    """Fraction of correct sums; binary attributes; single latents."""
    shares = {name: _percent(numbers["arms"][arm(CONTINUOUS, name)]["correct"]) for name in SUMS}
    text = (
        f"With continuous attributes {shares['means']} of the sums of means of three latents have the expected kind; "
        f"of sums of random kinds {shares['random']}."
    )
    text += judgment.not_shown(RIGHT, MORE)
    if not judgment.supported(BINARY_WORKS.clause):
        text += f" Binary attributes are not tested.{judgment.not_shown(BINARY_WORKS)}"
    elif not judgment.supported(DISCRETE.clause):
        binary = _percent(numbers["arms"][arm(BINARY, "means")]["correct"])
        text += f" With binary attributes, whose images have no intermediate sizes and colors, it is {binary}."
    if not judgment.supported(SINGLE.clause):
        text += f" With single latents, as the notes write the formula, it is {shares['single']}."
    return text + judgment.not_shown(EVERY)


def _percent(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    return percent(fmean(known)) if known else "none"


def table(numbers: Numbers) -> Table:
    """Fraction of images with the expected kind, by data set and kind of sum."""
    rows: Table = [("attributes", "sums", "expected kind", "weakest of the four kinds")]
    for attributes in (CONTINUOUS, BINARY):
        for name, words in SUMS.items():
            values = numbers["arms"][arm(attributes, name)]
            rows.append((attributes, words, *(mean_and_range(one, 2) for one in values.values())))
        rows.append(
            (attributes, "means of one kind", mean_and_range(numbers["arms"][attributes]["recognized"], 2), "–")
        )
    return rows


def plot(numbers: Numbers) -> Figure:
    """Sums of the first seed, and the fraction of sums with the expected kind."""
    from danlu.experiments.harness.plots import colors, panels, secondary_color

    figure, (left, right) = panels(2, height=2.7, width_ratios=(1, 1.4))
    _equation_rows(left, numbers["pictures"])
    left.set_title(CONTINUOUS)
    for index, attributes in enumerate((CONTINUOUS, BINARY)):
        for row, name in enumerate(SUMS):
            values = [value for value in numbers["arms"][arm(attributes, name)]["correct"] if value is not None]
            right.plot(values, [row + 0.3 * (index - 0.5)] * len(values), "os"[index], color=colors()[index],
                       markersize=4, alpha=0.7, label=attributes if not row else None)  # fmt: skip
    right.axvline(CHANCE, color=secondary_color(), linewidth=0.7, linestyle=(0, (3, 2)))
    right.set(yticks=range(len(SUMS)), yticklabels=SUMS.values(), ylim=(len(SUMS) - 0.5, -0.5), xlim=(-0.03, 1.03))
    right.set(xlabel="fraction correct; dashed: chance")
    right.grid(True, axis="x")
    figure.legend(*right.get_legend_handles_labels(), loc="outside upper right", ncols=2, borderpad=0.2)
    return figure


def _equation_rows(axes: Axes, rows: list) -> None:
    """One row per kind: three images with the signs between them, and the sum."""
    from danlu.experiments.harness.plots import image_grid

    shown = torch.tensor(rows) if rows else torch.zeros(KINDS, 4, 3, SIDE, SIDE)
    image_grid(axes, torch.nn.functional.pad(shown.flatten(0, 1), (2, 2, 1, 1), value=1.0).numpy(), columns=4)
    wide, high = SIDE + 6, SIDE + 4  # an image with its border and the gap for the sign
    for index, sign in enumerate("−+="):
        for row in range(KINDS):
            axes.text(wide * (index + 1) - 0.5, high * (row + 0.5) - 0.5, sign, ha="center", va="center")


EXPERIMENT = Experiment(
    measure=measure,
    criteria=CRITERIA,
    conclude=conclude,
    table=table,
    plot=plot,
    method=(
        "A DCGAN is trained on discs with two attributes, size and redness, continuous or binary. Latents of three "
        "kinds are added and subtracted so that the sum should have the fourth kind, and a classifier tells which kind "
        "the generated image has."
    ),
    caption=(
        "Left: images of the three means and of their sum, one row for each expected kind: small blue, small red, "
        "large blue, large red. Right: fraction of the sums that have the expected kind, one point per seed. If "
        "latents add, the points of sums of means are far to the right of chance."
    ),
)
