"""Labels make a GAN stronger (notes, 2.2.6.1).

DCGAN's players learn the digits as a plain GAN and as a conditional one, in which both are told the label: ten more
inputs of the generator, ten vectors of the critic, and nothing else differs. Judged are the Fréchet distance of a small
classifier's features, FID[digits-cnn, 1000 vs train], and the classes that this classifier finds. Labels are drawn in
turn, so a conditional GAN makes as many of each as the data has, within a tenth; whether it does what it is told is
measured too. Three seeds.
"""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, Any, cast

import torch

from danlu.data.base.batch_stream import Shuffled
from danlu.data.datasets.digits import digits
from danlu.experiments.harness.experiment import Experiment, Numbers, Table, Tell, Verdict
from danlu.experiments.harness.gan_on_digits import SCORED_IMAGES, DigitsJudge, pair, samples
from danlu.experiments.harness.trainers import always_less, spread
from danlu.models.adversarial.dcgan import DCGANCritic, DCGANGenerator
from danlu.tasks.adversarial import Adversarial
from danlu.training.optimization import OptimizerSettings
from danlu.training.trainer import Trainer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHAPE, CLASSES, LATENT, WIDTH, BATCH = (1, 8, 8), 10, 16, 16, 64
KINDS = {"plain": 0, "conditional": CLASSES}  # and how many labels its players know
SHOWN = 30
TOLD = 0.5  # share of pictures that are what was asked for, from which a conditional GAN listens


def measure(seed: int, tell: Tell, quick: bool = False) -> Numbers:
    """FID, classes found and obedience on the way, by kind and seed; pictures of the first seed."""
    seeds = range(seed, seed + (1 if quick else 3))
    every, times = (20, 2) if quick else (100, 6)
    judge = DigitsJudge(seed, rounds=60 if quick else 300)
    numbers: Numbers = {
        "rounds": [every * (place + 1) for place in range(times)],
        "test digits": judge(digits().test["image"]).fid,
        "runs": {kind: [] for kind in KINDS},
        "pictures": {},
    }
    for done, (kind, own) in enumerate((kind, own) for kind in KINDS for own in seeds):
        tell("games", done, len(KINDS) * len(seeds))
        found, pictures = _play(judge, KINDS[kind], every, times, own)
        numbers["runs"][kind].append(found)
        if own == seed:
            numbers["pictures"][kind] = pictures
    return numbers


def _play(judge: DigitsJudge, classes: int, every: int, times: int, seed: int) -> tuple[Numbers, Any]:
    players = pair(
        lambda: cast(DCGANGenerator, DCGANGenerator(SHAPE, classes, (0.0, 1.0), LATENT, WIDTH)),
        lambda: cast(DCGANCritic, DCGANCritic(SHAPE, classes, WIDTH)),
        seed,
    )
    moves = OptimizerSettings(optimizer="adam", lr=4e-4, betas=(0.5, 0.999))
    trainer = Trainer(Adversarial(*players), moves, Shuffled(judge.part, BATCH, seed), every * times, seed)
    found: Numbers = {"fid": [], "covered": [], "as told": []}
    for report in trainer:
        if report.round % every == 0:
            quality = judge(samples(trainer, SCORED_IMAGES, seed))
            found["fid"].append(quality.fid)
            found["covered"].append(quality.covered)
            asked = torch.arange(SCORED_IMAGES) % CLASSES
            found["as told"].append(float((quality.guesses == asked).double().mean()) if classes else None)
    return found, (samples(trainer, SHOWN, seed)[:, 0] * 100).round().div(100).tolist()


def _end(runs: list[Numbers], what: str) -> list[Any]:
    return [run[what][-1] for run in runs]


def judge(numbers: Numbers) -> Verdict:
    """With labels FID is lower in every seed and no class more is missing; and labels are obeyed."""
    plain, told = (numbers["runs"][kind] for kind in KINDS)
    fids, classes = ([_end(runs, what) for runs in (plain, told)] for what in ("fid", "covered"))
    obeyed = _end(told, "as told")
    better = sum(b < a for a, b in zip(*fids, strict=True))
    reason = (
        f"FID is {fmean(fids[1]):.1f} with labels and {fmean(fids[0]):.1f} without, lower in {better} of {len(plain)} "
        f"seeds; {fmean(classes[1]):.1f} and {fmean(classes[0]):.1f} of {CLASSES} classes "
        f"are found. {fmean(obeyed):.0%} of the pictures are the digit that was asked for."
    )
    if fmean(obeyed) < TOLD or fmean(fids[1]) >= fmean(fids[0]):
        return Verdict("does not hold", reason)
    if not always_less(fids[1], fids[0]) or any(b < a for a, b in zip(*classes, strict=True)):
        return Verdict("holds with limits", f"{reason} Not in every seed.")
    return Verdict("holds", reason)


def table(numbers: Numbers) -> Table:
    """FID, classes and obedience on the way."""
    rows: Table = [("GAN", "rounds", f"FID[digits-cnn, {SCORED_IMAGES} vs train]", "classes found", "as told")]
    for kind, runs in numbers["runs"].items():
        for place, rounds in enumerate(numbers["rounds"]):
            fid, covered, obeyed = ([run[what][place] for run in runs] for what in ("fid", "covered", "as told"))
            asked = "–" if obeyed[0] is None else spread(obeyed, ".0%")
            rows.append((kind, str(rounds), spread(fid, ".1f"), spread(covered, ".1f"), asked))
    rows.append(("test digits", "–", f"{numbers['test digits']:.1f}", "–", "–"))
    return rows


def draw(numbers: Numbers) -> Figure:
    """FID on the way, and pictures of the first seed."""
    from danlu.experiments.harness.plots import image_grid, line, logarithmic, panels

    figure, (left, *sheets) = panels(3, height=2.3)
    for number, kind in enumerate(KINDS):
        runs = [run["fid"] for run in numbers["runs"][kind]]
        line(left, numbers["rounds"], runs, number, {"plain": "without labels", "conditional": "with labels"}[kind])
        image_grid(sheets[number], numbers["pictures"][kind], columns=CLASSES)
    logarithmic(left.yaxis, (3, 10, 30, 100, 300, 1000))
    left.set(title="distance from the digits", xlabel="rounds", ylabel="FID", xlim=(0, None))
    left.legend()
    sheets[0].set(title="without labels", xlabel="as they come")
    sheets[1].set(title="with labels", xlabel="asked for 0 to 9, three times")
    return figure


EXPERIMENT = Experiment(measure, judge, table, draw)
