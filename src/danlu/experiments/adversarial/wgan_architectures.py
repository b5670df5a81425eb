"""Training of a WGAN succeeds with every tested architecture (notes, 2.2.5.1).

Three pairs of generator and critic are trained on the digits: those of DCGAN, the same without normalization, and deep
fully connected ones without normalization. Each pair is trained as a GAN, as a WGAN with clipped weights, and as a WGAN
with gradient penalty (whose critic never has batch norm); each objective has one setting for all pairs. The result is
evaluated by the Fréchet distance in the features of a small classifier, FID[digits-cnn, 1000 vs train]. A pair has
trained if its FID is lower than that of images whose pixels come from different digits: these have the right marginal
distribution of each pixel, but nothing else. Two seeds.
"""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

from danlu.data.base.batch_stream import Shuffled
from danlu.data.datasets.digits import digits
from danlu.errors import Diverged
from danlu.experiments.harness.experiment import JudgedExperiment, Numbers, ProgressCallback, Table, Verdict
from danlu.experiments.harness.gan_on_digits import SCORED_IMAGES, DigitsEvaluator, pair, pixels_alone, samples
from danlu.experiments.harness.trainers import spread
from danlu.losses.adversarial import Loss
from danlu.models.adversarial.base import Critic, Generator
from danlu.models.adversarial.dcgan import DCGANCritic, DCGANGenerator
from danlu.models.adversarial.mlp import MLPCritic, MLPGenerator
from danlu.tasks.adversarial import PLAIN, Adversarial, Techniques
from danlu.training.optimization.settings import OptimizerSettings
from danlu.training.trainer import Trainer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHAPE, LATENT, WIDTH, BATCH, DEEP, SHOWN = (1, 8, 8), 16, 16, 64, (64,) * 4, 16


class Game(NamedTuple):
    """The setting of one objective, for all pairs."""

    loss: Loss
    techniques: Techniques
    settings: OptimizerSettings
    rounds: int
    norm: Literal["batch"] | None


GAMES = {
    "GAN": Game(
        "non-saturating", PLAIN, OptimizerSettings(optimizer="adam", lr=4e-4, betas=(0.5, 0.999)), 800, "batch"
    ),
    "WGAN": Game(
        "wasserstein",
        Techniques(critic_turns=5, weight_clip=0.03),
        OptimizerSettings(optimizer="rmsprop", lr=1e-3),
        300,
        "batch",
    ),
    "WGAN-GP": Game(
        "wasserstein",
        Techniques(critic_turns=3, penalty=10.0),
        OptimizerSettings(optimizer="adam", lr=1e-3, betas=(0.0, 0.9)),
        300,
        None,
    ),
}
GOOD, *BAD = PAIRS = ("DCGAN", "DCGAN without norm", "deep MLP")


def players(which: str, game: Game, seed: int) -> tuple[Generator, Critic]:
    """The generator and critic of a pair, for one objective."""
    if which == "deep MLP":
        return pair(
            lambda: cast(Generator, MLPGenerator(SHAPE, 0, (0.0, 1.0), LATENT, DEEP)),
            lambda: cast(Critic, MLPCritic(SHAPE, 0, DEEP)),
            seed,
        )
    norm = "batch" if which == GOOD else None
    return pair(
        lambda: cast(Generator, DCGANGenerator(SHAPE, 0, (0.0, 1.0), LATENT, WIDTH, norm=norm)),
        lambda: cast(Critic, DCGANCritic(SHAPE, 0, WIDTH, norm=norm and game.norm)),
        seed,
    )


def measure(seed: int, progress: ProgressCallback, quick: bool = False) -> Numbers:
    """FID and predicted classes by pair, objective and seed; images of the first seed."""
    seeds = range(seed, seed + (1 if quick else 2))
    evaluator = DigitsEvaluator(seed, rounds=60 if quick else 300)
    numbers: Numbers = {
        "pixels alone": evaluator(pixels_alone(evaluator.part, seed)).fid,
        "test digits": evaluator(digits().test["image"]).fid,
        "runs": {which: {name: [] for name in GAMES} for which in PAIRS},
        "pictures": {which: {} for which in PAIRS},
    }
    runs = [(which, name, run_seed) for which in PAIRS for name in GAMES for run_seed in seeds]
    for done, (which, name, run_seed) in enumerate(runs):
        progress("GANs", done, len(runs))
        results, images = _train(evaluator, which, GAMES[name], GAMES[name].rounds // (20 if quick else 1), run_seed)
        numbers["runs"][which][name].append(results)
        if run_seed == seed:
            numbers["pictures"][which][name] = images
    return numbers


def _train(evaluator: DigitsEvaluator, which: str, game: Game, rounds: int, seed: int) -> tuple[Numbers, Any]:
    task = Adversarial(*players(which, game, seed), game.loss, game.techniques)
    trainer = Trainer(task, game.settings, Shuffled(evaluator.part, BATCH, seed), rounds, seed)
    try:
        for _ in trainer:
            pass
    except Diverged:
        return {"fid": None, "covered": 0}, None
    x = samples(trainer, SCORED_IMAGES, seed)
    results = evaluator(x)
    return {"fid": results.fid, "covered": results.covered}, (x[:SHOWN, 0] * 100).round().div(100).tolist()


def _fids(runs: list[Numbers]) -> list[float]:
    """The FID of each seed; infinite if training diverged."""
    return [float("inf") if run["fid"] is None else run["fid"] for run in runs]


def verdict(numbers: Numbers) -> Verdict:
    """Holds if each WGAN trains every pair in every seed, and the GAN fails with a bad pair."""
    threshold, runs = numbers["pixels alone"], numbers["runs"]
    failed = {name: [which for which in PAIRS if max(_fids(runs[which][name])) > threshold] for name in GAMES}
    nearer = all(max(_fids(runs[which]["WGAN"])) < min(_fids(runs[which]["GAN"])) for which in BAD)
    fid_text = "; ".join(
        f"{name} {', '.join(f'{fmean(_fids(runs[which][name])):.0f}' for which in PAIRS)}" for name in GAMES
    )
    reason = f"Mean FID of {', '.join(PAIRS)}: {fid_text}; independent pixels have {threshold:.0f}."
    if not any(which in failed["GAN"] for which in BAD):
        return Verdict("does not hold", f"{reason} The GAN also trains the bad pairs.")
    trained = [name for name in ("WGAN", "WGAN-GP") if not failed[name]]
    if len(trained) == 2:
        return Verdict("holds", reason)
    if trained or nearer:
        remarks = {"WGAN": ", but always has a lower FID than the GAN" if nearer else ""}
        worse = "; ".join(
            f"{name} does not train {' and '.join(failed[name])}{remarks.get(name, '')}"
            for name in ("WGAN", "WGAN-GP")
            if failed[name]
        )
        return Verdict("holds with limits", f"{reason} In this number of rounds {worse}.")
    return Verdict("does not hold", reason)


def table(numbers: Numbers) -> Table:
    """FID and classes by pair and objective."""
    rows: Table = [("pair", "objective", f"FID[digits-cnn, {SCORED_IMAGES} vs train]", "classes covered")]
    for which in PAIRS:
        for name, runs in numbers["runs"][which].items():
            results = sorted(run["covered"] for run in runs)
            rows.append(
                (which, name, spread(_fids(runs), ".0f"), "–".join(map(str, sorted({results[0], results[-1]}))))
            )
    rows.append(("independent pixels", "–", f"{numbers['pixels alone']:.0f}", "–"))
    rows.append(("test digits", "–", f"{numbers['test digits']:.1f}", "10"))
    return rows


def plot(numbers: Numbers) -> Figure:
    """Images of the first seed by pair and objective, with their FID."""
    from danlu.experiments.harness.plots import colors, image_grid, panels

    figure, axes = panels(len(GAMES), rows=len(PAIRS), height=0.85)
    panel_axes = iter(axes)
    for which in PAIRS:
        for name in GAMES:
            panel = next(panel_axes)
            images, fid = numbers["pictures"][which][name], numbers["runs"][which][name][0]["fid"]
            if images:
                image_grid(panel, images, columns=8)
            passed = fid is not None and fid < numbers["pixels alone"]
            title = f"{name}, FID {fid:.0f}" if images else f"{name}, diverged"
            panel.set_title(title if passed else f"{title}: fails", color=colors()[0 if passed else 1])
            panel.set(xticks=[], yticks=[], ylabel=which.replace(" without", "\nwithout") if name == "GAN" else "")
    return figure


EXPERIMENT = JudgedExperiment(measure, verdict, table, plot)
