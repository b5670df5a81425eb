"""Latents can be added and subtracted (notes, 2.2.4.1).

A DCGAN is trained on synthetic images with two binary attributes: a box or a cross, with or without a bar below (like
faces with or without glasses); or a disc, small or large, red or blue, where each attribute changes how the other
looks. A classifier of the four kinds evaluates the images. As in the paper (Radford et al., 2016, section 6.3.2),
three latents of each kind are averaged; box - cross + cross with bar should then give a box with a bar. Each kind is
tested in many trials. For comparison, the experiment measures the same with single latents, with sums of images in
pixel space, and with randomly chosen kinds. Two seeds.
"""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, cast

import torch
from jaxtyping import Float
from torch import Tensor

from danlu.data.base.batch_stream import Shuffled
from danlu.data.base.dataset import Part
from danlu.experiments.harness.experiment import JudgedExperiment, Numbers, ProgressCallback, Table, Verdict
from danlu.experiments.harness.gan_on_digits import pair
from danlu.experiments.harness.trainers import classification_trainer, error, from_seed, spread
from danlu.models.adversarial.dcgan import DCGANCritic, DCGANGenerator
from danlu.models.classify.cnn import CNN
from danlu.rng.keys import generator as generator_of
from danlu.tasks.adversarial import Adversarial
from danlu.training.optimization.settings import OptimizerSettings
from danlu.training.trainer import Trainer

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIDE, LATENT, WIDTH, BATCH = 8, 16, 16, 64
SETS = {
    "shape and bar": ("cross", "cross, bar", "box", "box, bar"),
    "size and color": ("small, blue", "small, red", "large, blue", "large, red"),
}
KINDS = 4  # index of a kind: 2 × the first attribute + the second
CODES, TRIALS, AVERAGED, SURE = 4000, 300, 3, 0.9
MOST = 0.5  # fraction of correct sums from which latents count as additive
ROWS = 1  # rows per kind in the figure


def images(dataset: str, n: int, seed: int) -> Part:
    """Random images with two attributes on black; position, brightness and disc radius vary."""
    source = generator_of("pictures", seed)
    kind = torch.randint(KINDS, (n,), generator=source)
    light = 0.7 + 0.3 * torch.rand(n, 1, 1, 1, generator=source)
    render = _shapes if dataset == "shape and bar" else _discs
    return Part({"image": render(kind // 2, kind % 2, source) * light, "label": kind})


def _shapes(box: Tensor, bar: Tensor, source: torch.Generator) -> Float[Tensor, "n 1 8 8"]:
    """White boxes and crosses of 5×5 pixels, with or without a bar of 5 pixels below."""
    x = torch.zeros(2, 2, SIDE, SIDE)
    x[1, :, [0, 4], 0:5] = x[1, :, 0:5, [0, 4]] = 1
    x[0, :, 2, 0:5] = x[0, :, 0:5, 2] = 1
    x[:, 1, 6, 0:5] = 1
    rows, columns = torch.randint(2, (len(box),), generator=source), torch.randint(4, (len(box),), generator=source)
    shifted = [one.roll((int(y), int(z)), (0, 1)) for one, y, z in zip(x[box, bar], rows, columns, strict=True)]
    return torch.stack(shifted)[:, None]


def _discs(large: Tensor, red: Tensor, source: torch.Generator) -> Float[Tensor, "n 3 8 8"]:
    """Small or large discs, red or blue."""
    radius_noise, across, down = torch.rand(3, len(large), 1, 1, generator=source)
    axis = torch.arange(SIDE)
    distance = ((axis - 2.5 - 2 * across).square() + (axis[:, None] - 2.5 - 2 * down).square()).sqrt()
    ink = (1.3 + 1.4 * large[:, None, None] + 0.5 * radius_noise - distance).clamp(0, 1)
    color = torch.stack([red, torch.zeros_like(red), 1 - red], dim=1)
    return ink[:, None] * color[:, :, None, None]


MEASURES = {
    "sums": "sums of means of three latents",
    "single": "sums of single latents",
    "pixels": "sums of images",
    "random": "sums of random kinds",
    "means": "means of three latents",
}


def operands(kind: int) -> tuple[int, int, int]:
    """The kinds a, b, c with a - b + c = this kind: a has its first attribute, c its second, and b neither.

    >>> [SETS["size and color"][other] for other in operands(3)]
    ['large, blue', 'small, blue', 'small, red']
    """
    return kind ^ 1, kind ^ 3, kind ^ 2


def measure(seed: int, progress: ProgressCallback, quick: bool = False) -> Numbers:
    """Fraction of sums that have the expected kind, by set, kind and seed; images of the first seed."""
    seeds = range(seed, seed + (1 if quick else 2))
    rounds, examples = (40, 500) if quick else (1200, 3000)
    numbers: Numbers = {"errors": {}, "runs": {dataset: [] for dataset in SETS}, "pictures": {}}
    for index, dataset in enumerate(SETS):
        part, test = images(dataset, examples, seed), images(dataset, 500, seed + 1)
        shape = tuple(part["image"].shape[1:])
        classifier = cast(CNN, from_seed(lambda shape=shape: cast(CNN, CNN(shape, KINDS, hidden=(32,))), seed))
        for _ in classification_trainer(classifier, part, OptimizerSettings(lr=3e-3), 150, BATCH, seed):
            pass
        numbers["errors"][dataset] = error(classifier, test["image"], test["label"])
        for run_seed in seeds:
            progress("generators", index * len(seeds) + run_seed - seed, len(SETS) * len(seeds))
            results, shown = add(_learn(part, rounds, run_seed), classifier, run_seed)
            numbers["runs"][dataset].append(results)
            if run_seed == seed:
                numbers["pictures"][dataset] = shown
    return numbers


def _learn(part: Part, rounds: int, seed: int) -> DCGANGenerator:
    shape = tuple(part["image"].shape[1:])
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
def add(generator: DCGANGenerator, classifier: CNN, seed: int) -> tuple[Numbers, list]:
    """Accuracy of latent sums, and examples: images of the three means and of the sum."""
    source = generator_of("codes", seed)
    z = generator.prior(CODES, generator=source)
    confidence, predictions = classifier(generator.decode(z)).softmax(1).max(1)
    pools = [z[(predictions == kind) & (confidence > SURE)] for kind in range(KINDS)]
    results: Numbers = {"codes": [len(pool) for pool in pools], "sums": None}
    if min(map(len, pools)) < AVERAGED:
        return results, []

    def means(kind: int, of: int = AVERAGED) -> Float[Tensor, "trials latent"]:
        return pools[kind][torch.randint(len(pools[kind]), (TRIALS, of), generator=source)].mean(1)

    def fraction(kind: int, x: Tensor) -> float:
        return float((classifier(x).argmax(1) == kind).double().mean())

    for quantity in MEASURES:
        results[quantity] = []
    for kind in range(KINDS):
        a, b, c = (means(other) for other in operands(kind))
        results["sums"].append(fraction(kind, generator.decode(a - b + c)))
        x, y, w = (generator.decode(code) for code in (a, b, c))
        results["pixels"].append(fraction(kind, (x - y + w).clamp(0, 1)))
        a, b, c = (means(other, 1) for other in operands(kind))
        results["single"].append(fraction(kind, generator.decode(a - b + c)))
        a, b, c = torch.stack([means(other) for other in range(KINDS)])[
            torch.randint(KINDS, (3, TRIALS), generator=source), torch.arange(TRIALS)
        ]
        results["random"].append(fraction(kind, generator.decode(a - b + c)))
        results["means"].append(fraction(kind, generator.decode(means(kind))))
    return results, [_examples(generator, [means(other)[:ROWS] for other in operands(kind)]) for kind in range(KINDS)]


def _examples(generator: DCGANGenerator, codes: list[Tensor]) -> list:
    a, b, c = codes
    shown = torch.stack([generator.decode(z) for z in (a, b, c, a - b + c)], dim=1)
    shown = shown.expand(-1, -1, 3, -1, -1)  # (rows, 4, 3, h, w)
    return (shown * 100).round().div(100).tolist()


def _failure(runs: list[Numbers]) -> str:
    """The reason why the latents are not additive; empty if they are."""
    if not all(run["sums"] for run in runs):
        return "one kind is never generated"
    if fmean(fmean(run["sums"]) for run in runs) < MOST:
        return "most sums have another kind"
    if any(a <= b for run in runs for a, b in zip(run["sums"], run["random"], strict=True)):
        return "sums of random kinds are correct as often"
    return "" if min(min(run["sums"]) for run in runs) >= MOST else "not for every kind in every seed"


def verdict(numbers: Numbers) -> Verdict:
    """Holds if most sums have the expected kind in every seed, and more than for random kinds."""
    sentences, failed = [], {}
    for dataset, runs in numbers["runs"].items():
        failed[dataset] = _failure(runs)
        complete = [run for run in runs if run["sums"]]
        if complete:
            mean = {quantity: f"{fmean(fmean(run[quantity]) for run in complete):.0%}" for quantity in MEASURES}
            sentences.append(
                f"With {dataset}, {mean['sums']} of the sums of means of three latents have the expected kind; of sums "
                f"of single latents {mean['single']}, of sums of images {mean['pixels']}, of sums of random kinds "
                f"{mean['random']}."
            )
    reason = " ".join(sentences + [f"With {dataset}: {problem}." for dataset, problem in failed.items() if problem])
    if not any(failed.values()):
        return Verdict("holds", reason)
    limited = any(problem in ("", "not for every kind in every seed") for problem in failed.values())
    return Verdict("holds with limits" if limited else "does not hold", reason)


def table(numbers: Numbers) -> Table:
    """Fraction of images with the expected kind, by kind."""
    rows: Table = [("expected kind", *MEASURES.values())]
    for dataset, kinds in SETS.items():
        runs = [run for run in numbers["runs"][dataset] if run["sums"]]
        for kind, name in enumerate(kinds):
            rows.append(
                (name, *(spread([r[quantity][kind] for r in runs], ".2f") if runs else "–" for quantity in MEASURES))
            )
    return rows


def plot(numbers: Numbers) -> Figure:
    """Sums of the first seed, and the fraction with the expected kind."""
    from danlu.experiments.harness.plots import colors, panels

    figure, axes = panels(2 * len(SETS), height=2.4, width_ratios=(1, 1.3) * len(SETS))
    for index, (dataset, kinds) in enumerate(SETS.items()):
        left, right = axes[2 * index : 2 * index + 2]
        _equation_rows(left, numbers["pictures"][dataset])
        left.set_title(dataset)
        runs = [run for run in numbers["runs"][dataset] if run["sums"]]
        for number, quantity in enumerate(("sums", "pixels", "random")):
            for kind in range(KINDS):
                values = [run[quantity][kind] for run in runs]
                right.plot(values, [kind + 0.2 * (number - 1)] * len(values), "os^"[number], color=colors()[number],
                           markersize=3.5, label=MEASURES[quantity] if kind == index == 0 else None)  # fmt: skip
        right.set(yticks=range(KINDS), yticklabels=[kind.replace(", ", ",\n") for kind in kinds])
        right.set(
            xlim=(-0.04, 1.04), ylim=(KINDS - 0.5, -0.5), xticks=[0, 0.5, 1], xlabel="fraction with the expected kind"
        )
        right.grid(True, axis="x")
    handles, labels = axes[1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=3, borderpad=0.2)
    return figure


def _equation_rows(axes: Axes, rows: list) -> None:
    """One row per kind: three images with the signs between them, and the sum."""
    from danlu.experiments.harness.plots import image_grid

    shown = torch.tensor(rows) if rows else torch.zeros(KINDS, ROWS, 4, 3, SIDE, SIDE)
    image_grid(axes, torch.nn.functional.pad(shown.flatten(0, 2), (2, 2, 1, 1), value=1.0).numpy(), columns=4)
    wide, high = SIDE + 6, SIDE + 4  # an image with its border and the gap for the sign
    for index, sign in enumerate("−+="):
        for row in range(KINDS * ROWS):
            axes.text(wide * (index + 1) - 0.5, high * (row + 0.5) - 0.5, sign, ha="center", va="center")


EXPERIMENT = JudgedExperiment(measure, verdict, table, plot)
