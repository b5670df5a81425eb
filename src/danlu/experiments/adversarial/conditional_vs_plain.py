"""Labels improve a GAN (notes, 2.2.6.1).

DCGAN networks are trained on the digits in three ways, with equal updates. In the plain GAN neither network gets the
label. In the conditional GAN both get it: the generator has ten more inputs, the critic ten label vectors. The third is
the GAN of the notes: its generator gets the label, and its critic classifies an image as one of the ten digits or as
generated (Salimans et al., "Improved techniques for training GANs", 2016, section 5). Here all images have labels.

The first measure is the Fréchet distance in the features of a small classifier of the digits, FID[digits-cnn, 1000 vs
train]. These features are learned from the labels, which could favor networks with labels, so a second measure does
without features: the sliced Wasserstein distance of the pixels to held-out digits. Both are geometric means over the
last half of the training, with averaged weights. For sampling, labels are cycled, so class frequencies are those of the
data within a tenth; this is a part of the advantage.
"""

from __future__ import annotations

from math import exp, log
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Tensor

from danlu.data.base.batch_stream import Batch, Shuffled
from danlu.data.datasets.digits import digits
from danlu.experiments.harness.criteria import Comparison, Criteria, Judgment
from danlu.experiments.harness.experiment import Experiment, Numbers, ProgressCallback, Table
from danlu.experiments.harness.gan_on_digits import (
    SCORED_IMAGES,
    DigitsEvaluator,
    evaluator_of,
    pair,
    pixels_alone,
    samples,
)
from danlu.experiments.harness.parallel import run_each
from danlu.experiments.harness.seeds import seeds
from danlu.experiments.harness.wording import mean_and_range, number
from danlu.losses.adversarial import generator_cost
from danlu.losses.classification import cross_entropy
from danlu.metrics.sample_diversity import sliced_wasserstein
from danlu.models.adversarial.dcgan import DCGANCritic, DCGANGenerator
from danlu.tasks.adversarial import Adversarial
from danlu.tasks.task import Terms
from danlu.training.optimization.settings import OptimizerSettings
from danlu.training.trainer import Trainer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHAPE, CLASSES, LATENT, WIDTH, BATCH = (1, 8, 8), 10, 16, 16, 64
PLAIN, CONDITIONAL, CLASSIFYING = KINDS = ("plain", "conditional", "critic of 11 classes")
WITH_LABELS = {CONDITIONAL: "labels for both networks", CLASSIFYING: "a critic of 11 classes"}
PIXELS = "independent pixels"
SHOWN = 30
EVERY, EVALUATIONS = 100, 8  # rounds between two evaluations; the last half of them counts


class ClassifyingCritic(DCGANCritic):
    """A critic that classifies an image as one of K classes or as generated.

    The logit of "generated" is 0, so the log-odds of a real image are the logarithm of the sum of exp of the others.
    """

    def class_logits(self, features: Float[Tensor, "n d"]) -> Float[Tensor, "n classes"]:
        """The logits of the classes of real images: the scores of the image with each label."""
        assert self.of_label is not None
        return self.last(features) + self.of_label(features)

    def score(self, features: Float[Tensor, "n d"], labels: Tensor | None = None) -> Float[Tensor, "n"]:
        """The logit of the probability that an image is real."""
        return self.class_logits(features).logsumexp(1)


class Classifying(Adversarial):
    """Adversarial training in which the critic learns, and the generator is told, the class of each image.

    Together, the terms of each player are the cross-entropy of its K + 1 classes: −log p(y) of a real image for the
    critic and of a generated one for the generator.
    """

    def critic_terms(self, batch: Batch, round: int) -> Terms:
        real, labels = self.generator.to_critic_range(batch[self.inputs]), batch["label"]
        return {**super().critic_terms(batch, round), "labels": cross_entropy(self._class_logits(real, labels), labels)}

    def generator_terms(self, batch: Batch, round: int) -> Terms:
        labels = batch["label"]
        logits = self._class_logits(self._generated(labels), labels)
        return {"fool": generator_cost(logits.logsumexp(1), self.loss), "labels": cross_entropy(logits, labels)}

    def _class_logits(self, x: Tensor, labels: Tensor) -> Tensor:
        critic = cast(ClassifyingCritic, self.critic)
        return critic.class_logits(critic.features(x, labels))


def game(kind: str, seed: int) -> Adversarial:
    """The networks of a kind of GAN and their training."""
    classes = 0 if kind == PLAIN else CLASSES
    make_critic = ClassifyingCritic if kind == CLASSIFYING else DCGANCritic
    players = pair(
        lambda: cast(DCGANGenerator, DCGANGenerator(SHAPE, classes, (0.0, 1.0), LATENT, WIDTH)),
        lambda: cast(DCGANCritic, make_critic(SHAPE, classes, WIDTH)),
        seed,
    )
    return Classifying(*players) if kind == CLASSIFYING else Adversarial(*players)


def measure(seed: int, progress: ProgressCallback, quick: bool = False) -> Numbers:
    """Distances, classes and label accuracy by kind and seed; FID during training, and images of the first seed."""
    run_seeds = seeds(seed, 2 if quick else 5)
    rounds = [(10 if quick else EVERY) * (index + 1) for index in range(2 if quick else EVALUATIONS)]
    arms: Numbers = {name: {} for name in (*KINDS, PIXELS)}
    numbers: Numbers = {"arms": arms, "rounds": rounds, "curves": {kind: [] for kind in KINDS}, "pictures": {}}
    runs = [(run_seed, kind, rounds, quick) for run_seed in run_seeds for kind in (*KINDS, PIXELS)]
    for (run_seed, kind, *_), result in zip(runs, run_each(measure_run, runs, progress, "GANs"), strict=True):
        for name, value in result.values.items():
            arms[kind].setdefault(name, []).append(value)
        if kind != PIXELS:
            numbers["curves"][kind].append(result.curve)
            if run_seed == run_seeds[0]:
                numbers["pictures"][kind] = result.pictures
    return numbers


class Run(NamedTuple):
    """The measures of one arm with one seed, FID during training, and images."""

    values: dict[str, float]
    curve: list[float]
    pictures: Any


def measure_run(seed: int, kind: str, rounds: list[int], quick: bool) -> Run:
    """Train and evaluate one kind of GAN; or evaluate images of independent pixels."""
    evaluator = evaluator_of(seed, 60 if quick else 300)
    if kind == PIXELS:
        return Run({"FID": evaluator(pixels_alone(evaluator.part, seed)).fid}, [], None)
    results, images = _train(evaluator, kind, rounds, seed)
    return Run({name: _of_last_half(values, name) for name, values in results.items()}, results["FID"], images)


def _train(evaluator: DigitsEvaluator, kind: str, rounds: list[int], seed: int) -> tuple[dict[str, list[float]], Any]:
    """The measures of a GAN during its training, and images."""
    settings = OptimizerSettings(optimizer="adam", lr=4e-4, betas=(0.5, 0.999))
    optimizers = {"critic": settings, "generator": settings.model_copy(update={"ema": 0.98})}
    trainer = Trainer(game(kind, seed), optimizers, Shuffled(evaluator.part, BATCH, seed), rounds[-1], seed)
    results: dict[str, list[float]] = {}
    test = digits().test["image"].flatten(1)
    for report in trainer:
        if report.round in rounds:
            images = samples(trainer, SCORED_IMAGES, seed)
            quality = evaluator(images)
            found = {
                "FID": quality.fid,
                "pixel distance": sliced_wasserstein(images.flatten(1), test),
                "classes": quality.covered,
                "label accuracy": float((quality.predictions == torch.arange(SCORED_IMAGES) % CLASSES).double().mean()),
            }
            for name, value in found.items():
                results.setdefault(name, []).append(value)
    if kind == PLAIN:
        del results["label accuracy"]  # no label is requested
    return results, (samples(trainer, SHOWN, seed)[:, 0] * 100).round().div(100).tolist()


def _of_last_half(values: list[float], measure: str) -> float:
    """The geometric mean of a distance over the last half of the training, or the last value of another measure."""
    if measure not in ("FID", "pixel distance"):
        return values[-1]
    return exp(fmean(log(value) for value in values[len(values) // 2 :]))


LEARNS = Comparison(
    "the plain GAN is nearer to the digits than independent pixels", PLAIN, PIXELS, "FID", 2.0, lower=True, ratio=True
)
# half of all images, where chance is a tenth
FOLLOWS = tuple(
    Comparison(f'the images of the GAN "{kind}" have the requested label', kind, 1 / CLASSES, "label accuracy", 0.4)
    for kind in (CONDITIONAL, CLASSIFYING)
)
# a tenth: a smaller difference would not make a GAN "much stronger"
IMPROVES = tuple(
    Comparison(f"the FID is lower with {how} than without labels", kind, PLAIN, "FID", 1.1, lower=True, ratio=True)
    for kind, how in WITH_LABELS.items()
)
IN_PIXELS = tuple(
    Comparison(f"the distance of the pixels is lower with {how} than without labels", kind, PLAIN, "pixel distance",
               1.1, lower=True, ratio=True)
    for kind, how in WITH_LABELS.items()
)  # fmt: skip
CRITERIA = Criteria(clauses=IMPROVES, gates=(LEARNS, *FOLLOWS), limits=IN_PIXELS)


def conclude(numbers: Numbers, judgment: Judgment) -> str:
    """FID of the three kinds; pixel distances that labels enlarge; then what is not shown."""
    fid = [number(fmean(numbers["arms"][kind]["FID"]), 2) for kind in KINDS]
    text = (
        f"FID is {fid[0]} without labels, {fid[1]} with labels for both networks, and {fid[2]} with labels for the "
        f"generator and a critic of {CLASSES + 1} classes, as in the notes."
    )
    larger = [one for one in IN_PIXELS if judgment.refuted(one.clause) and judgment.reversed(one.clause)]
    for one in larger:
        with_labels, without = (number(fmean(numbers["arms"][kind][one.measure]), 2) for kind in (one.arm, PLAIN))
        text += (
            f" The distance of the pixels is larger with {WITH_LABELS[one.arm]} than without labels: {with_labels} "
            f"instead of {without}."
        )
    return text + judgment.not_shown(*IMPROVES, *(one for one in IN_PIXELS if one not in larger))


def table(numbers: Numbers) -> Table:
    """Distances, classes and label accuracy by kind."""
    fid = f"FID[digits-cnn, {SCORED_IMAGES} vs train]"
    rows: Table = [("GAN", fid, "distance of pixels", "classes covered", "label accuracy")]
    for name, values in numbers["arms"].items():
        cells = (values.get(measure) for measure in ("FID", "pixel distance", "classes", "label accuracy"))
        rows.append((name, *("–" if cell is None else mean_and_range(cell, 2) for cell in cells)))
    return rows


def plot(numbers: Numbers) -> Figure:
    """FID during training, and images of the first seed."""
    from danlu.experiments.harness.plots import image_grid, legend_above, line, logarithmic, panels

    figure, (left, *grids) = panels(4, height=2.2, width_ratios=(1.4, 1, 1, 1))
    for index, kind in enumerate(KINDS):
        line(left, numbers["rounds"], numbers["curves"][kind], index, kind)
        image_grid(grids[index], numbers["pictures"][kind], columns=5)
        grids[index].set(title=kind.replace("critic of ", ""), xlabel="no labels" if kind == PLAIN else "labels 0 to 9")
    logarithmic(left.yaxis, (3, 10, 30, 100, 300, 1000))
    left.set(title="distance to the digits", xlabel="rounds", ylabel="FID", xlim=(0, None))
    legend_above(figure, left)
    return figure


EXPERIMENT = Experiment(
    measure=measure,
    criteria=CRITERIA,
    conclude=conclude,
    table=table,
    plot=plot,
    method=(
        "DCGAN networks are trained on the digits without labels, with labels for both networks, and with labels for "
        "the generator and a critic of ten classes and one for generated images. Measured are the Fréchet distance to "
        "the training images in the features of a small classifier, and a distance of the pixels to held-out images. "
        "For these, labels are cycled, so all classes are equally frequent; this is part of the advantage of labels."
    ),
    caption=(
        "Left: FID during training; lines are means, bands ranges over the seeds. Right: images of the first seed; "
        "with labels, the rows are the labels 0 to 4 and 5 to 9 in turn."
    ),
)
