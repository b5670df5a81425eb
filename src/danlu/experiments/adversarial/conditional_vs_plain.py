"""Labels improve a GAN (notes, 2.2.6.1).

The DCGAN generator and critic are trained on the digits as a plain GAN and as a conditional GAN, in which both receive
the label: the generator has ten more inputs, the critic ten label vectors; nothing else differs. The experiment
measures the Fréchet distance in the features of a small classifier, FID[digits-cnn, 1000 vs train], and the number of
classes that this classifier predicts. For sampling, labels are cycled, so class frequencies match those of the data
within a tenth. The fraction of images with the requested label is also measured. Three seeds.
"""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, Any, cast

import torch

from danlu.data.base.batch_stream import Shuffled
from danlu.data.datasets.digits import digits
from danlu.experiments.harness.experiment import JudgedExperiment, Numbers, ProgressCallback, Table, Verdict
from danlu.experiments.harness.gan_on_digits import SCORED_IMAGES, DigitsEvaluator, pair, samples
from danlu.experiments.harness.trainers import always_less, spread
from danlu.models.adversarial.dcgan import DCGANCritic, DCGANGenerator
from danlu.tasks.adversarial import Adversarial
from danlu.training.optimization.settings import OptimizerSettings
from danlu.training.trainer import Trainer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHAPE, CLASSES, LATENT, WIDTH, BATCH = (1, 8, 8), 10, 16, 16, 64
KINDS = {"plain": 0, "conditional": CLASSES}  # kind of GAN: number of classes of its networks
SHOWN = 30
FOLLOWS = 0.5  # fraction of images with the requested label from which the GAN counts as conditional


def measure(seed: int, progress: ProgressCallback, quick: bool = False) -> Numbers:
    """FID, classes and label accuracy during training, by kind and seed; images of the first seed."""
    seeds = range(seed, seed + (1 if quick else 3))
    every, times = (20, 2) if quick else (100, 6)
    evaluator = DigitsEvaluator(seed, rounds=60 if quick else 300)
    numbers: Numbers = {
        "rounds": [every * (index + 1) for index in range(times)],
        "test digits": evaluator(digits().test["image"]).fid,
        "runs": {kind: [] for kind in KINDS},
        "pictures": {},
    }
    for done, (kind, run_seed) in enumerate((kind, run_seed) for kind in KINDS for run_seed in seeds):
        progress("GANs", done, len(KINDS) * len(seeds))
        results, images = _train(evaluator, KINDS[kind], every, times, run_seed)
        numbers["runs"][kind].append(results)
        if run_seed == seed:
            numbers["pictures"][kind] = images
    return numbers


def _train(evaluator: DigitsEvaluator, classes: int, every: int, times: int, seed: int) -> tuple[Numbers, Any]:
    players = pair(
        lambda: cast(DCGANGenerator, DCGANGenerator(SHAPE, classes, (0.0, 1.0), LATENT, WIDTH)),
        lambda: cast(DCGANCritic, DCGANCritic(SHAPE, classes, WIDTH)),
        seed,
    )
    settings = OptimizerSettings(optimizer="adam", lr=4e-4, betas=(0.5, 0.999))
    trainer = Trainer(Adversarial(*players), settings, Shuffled(evaluator.part, BATCH, seed), every * times, seed)
    results: Numbers = {"fid": [], "covered": [], "as told": []}
    for report in trainer:
        if report.round % every == 0:
            quality = evaluator(samples(trainer, SCORED_IMAGES, seed))
            results["fid"].append(quality.fid)
            results["covered"].append(quality.covered)
            requested = torch.arange(SCORED_IMAGES) % CLASSES
            results["as told"].append(float((quality.predictions == requested).double().mean()) if classes else None)
    return results, (samples(trainer, SHOWN, seed)[:, 0] * 100).round().div(100).tolist()


def _end(runs: list[Numbers], quantity: str) -> list[Any]:
    return [run[quantity][-1] for run in runs]


def verdict(numbers: Numbers) -> Verdict:
    """Holds if labels lower FID in every seed, lose no class, and are followed."""
    plain, conditional = (numbers["runs"][kind] for kind in KINDS)
    fids, classes = ([_end(runs, quantity) for runs in (plain, conditional)] for quantity in ("fid", "covered"))
    label_accuracy = _end(conditional, "as told")
    better = sum(b < a for a, b in zip(*fids, strict=True))
    reason = (
        f"FID is {fmean(fids[1]):.1f} with labels and {fmean(fids[0]):.1f} without; it is lower with labels in "
        f"{better} of {len(plain)} seeds. {fmean(classes[1]):.1f} and {fmean(classes[0]):.1f} of {CLASSES} classes are "
        f"covered. {fmean(label_accuracy):.0%} of the conditional images have the requested label."
    )
    if fmean(label_accuracy) < FOLLOWS or fmean(fids[1]) >= fmean(fids[0]):
        return Verdict("does not hold", reason)
    if not always_less(fids[1], fids[0]) or any(b < a for a, b in zip(*classes, strict=True)):
        return Verdict("holds with limits", f"{reason} The advantage is not present in every seed.")
    return Verdict("holds", reason)


def table(numbers: Numbers) -> Table:
    """FID, classes and label accuracy during training."""
    rows: Table = [("GAN", "rounds", f"FID[digits-cnn, {SCORED_IMAGES} vs train]", "classes covered", "label accuracy")]
    for kind, runs in numbers["runs"].items():
        for index, rounds in enumerate(numbers["rounds"]):
            fid, covered, label_accuracy = (
                [run[quantity][index] for run in runs] for quantity in ("fid", "covered", "as told")
            )
            requested = "–" if label_accuracy[0] is None else spread(label_accuracy, ".0%")
            rows.append((kind, str(rounds), spread(fid, ".1f"), spread(covered, ".1f"), requested))
    rows.append(("test digits", "–", f"{numbers['test digits']:.1f}", "–", "–"))
    return rows


def plot(numbers: Numbers) -> Figure:
    """FID during training, and images of the first seed."""
    from danlu.experiments.harness.plots import image_grid, line, logarithmic, panels

    figure, (left, *grids) = panels(3, height=2.3)
    for number, kind in enumerate(KINDS):
        runs = [run["fid"] for run in numbers["runs"][kind]]
        line(left, numbers["rounds"], runs, number, {"plain": "without labels", "conditional": "with labels"}[kind])
        image_grid(grids[number], numbers["pictures"][kind], columns=CLASSES)
    logarithmic(left.yaxis, (3, 10, 30, 100, 300, 1000))
    left.set(title="distance to the digits", xlabel="rounds", ylabel="FID", xlim=(0, None))
    left.legend()
    grids[0].set(title="without labels", xlabel="random samples")
    grids[1].set(title="with labels", xlabel="labels 0 to 9, three times")
    return figure


EXPERIMENT = JudgedExperiment(measure, verdict, table, plot)
