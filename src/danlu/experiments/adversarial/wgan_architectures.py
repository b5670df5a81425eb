"""Training of a WGAN succeeds with every tested architecture (notes, 2.2.5.1).

Two bad pairs of generator and critic are trained on the digits: those of DCGAN without normalization, and deep fully
connected ones without normalization. Each pair is trained as a GAN, as a WGAN with clipped weights, and as a WGAN with
gradient penalty, with equal rounds and critic turns; each objective has one optimizer setting for all pairs. A GAN of
the good pair, DCGAN with batch norm, shows that the setting of the GAN is not at fault.

The result is evaluated by the Fréchet distance in the features of a small classifier, FID[digits-cnn, 1000 vs train],
of the generator with averaged weights. A pair has trained if its FID is lower than that of images whose pixels come
from different digits: these have the right marginal distribution of each pixel, but nothing else.
"""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

from danlu.data.base.batch_stream import Shuffled
from danlu.data.datasets.digits import digits
from danlu.errors import Diverged
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
from danlu.losses.adversarial import Loss
from danlu.models.adversarial.base import Critic, Generator
from danlu.models.adversarial.dcgan import DCGANCritic, DCGANGenerator
from danlu.models.adversarial.mlp import MLPCritic, MLPGenerator
from danlu.tasks.adversarial import PLAIN, Adversarial, Techniques
from danlu.training.optimization.settings import OptimizerSettings
from danlu.training.trainer import Trainer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHAPE, LATENT, WIDTH, BATCH, DEEP, SHOWN = (1, 8, 8), 16, 16, 32, (64,) * 4, 16


class Game(NamedTuple):
    """The setting of one objective, for all pairs."""

    loss: Loss
    techniques: Techniques
    settings: OptimizerSettings


class Networks(NamedTuple):
    """A kind of networks, and the length of their training with every objective."""

    kind: Literal["dcgan", "mlp"]
    norm: Literal["batch"] | None
    rounds: int
    critic_turns: int


GAMES = {
    "GAN": Game("non-saturating", PLAIN, OptimizerSettings(optimizer="adam", lr=4e-4, betas=(0.5, 0.999))),
    "WGAN": Game("wasserstein", Techniques(weight_clip=0.03), OptimizerSettings(optimizer="rmsprop", lr=2e-3)),
    "WGAN-GP": Game(
        "wasserstein", Techniques(penalty=10.0), OptimizerSettings(optimizer="adam", lr=1e-3, betas=(0.0, 0.9))
    ),
}
PAIRS = {
    "DCGAN": Networks("dcgan", "batch", rounds=420, critic_turns=3),
    "DCGAN without norm": Networks("dcgan", None, rounds=420, critic_turns=3),
    "deep MLP": Networks("mlp", None, rounds=720, critic_turns=5),
}
GOOD, *BAD = PAIRS
GAN, *WGANS = GAMES
PIXELS, TEST = "independent pixels", "test digits"
RUNS = [(GOOD, GAN), *((which, name) for which in BAD for name in GAMES)]


class Run(NamedTuple):
    """The result of one arm with one seed: its quality, None if the training diverged, and images."""

    fid: float | None
    classes: int | None
    pictures: Any


def arm(which: str, name: str) -> str:
    """The arm of a pair and an objective."""
    return f"{name}, {which}"


def players(networks: Networks, seed: int) -> tuple[Generator, Critic]:
    """A generator and a critic."""
    if networks.kind == "mlp":
        return pair(
            lambda: cast(Generator, MLPGenerator(SHAPE, 0, (0.0, 1.0), LATENT, DEEP, norm=networks.norm)),
            lambda: cast(Critic, MLPCritic(SHAPE, 0, DEEP, norm=networks.norm)),
            seed,
        )
    return pair(
        lambda: cast(Generator, DCGANGenerator(SHAPE, 0, (0.0, 1.0), LATENT, WIDTH, norm=networks.norm)),
        lambda: cast(Critic, DCGANCritic(SHAPE, 0, WIDTH, norm=networks.norm)),
        seed,
    )


def measure(seed: int, progress: ProgressCallback, quick: bool = False) -> Numbers:
    """FID and predicted classes by pair, objective and seed; images of the first seed."""
    run_seeds = seeds(seed, 2 if quick else 5)
    names = (*(arm(*run) for run in RUNS), PIXELS, TEST)
    runs = [(run_seed, name, quick) for run_seed in run_seeds for name in names]
    arms: Numbers = {name: {"FID": [], "classes": []} for name in names}
    pictures: Numbers = {}
    for (run_seed, name, _), result in zip(runs, run_each(measure_arm, runs, progress, "GANs"), strict=True):
        arms[name]["FID"].append(result.fid)
        arms[name]["classes"].append(result.classes)
        if run_seed == run_seeds[0] and name not in (PIXELS, TEST):
            pictures[name] = result.pictures
    return {"arms": arms, "pictures": pictures}


def measure_arm(seed: int, name: str, quick: bool) -> Run:
    """The images of one arm, evaluated with one seed."""
    evaluator = evaluator_of(seed, 60 if quick else 300)
    if name == PIXELS:
        images = pixels_alone(evaluator.part, seed)
    elif name == TEST:
        images = digits().test["image"]
    else:
        which, game = next(run for run in RUNS if arm(*run) == name)
        images = train(evaluator, PAIRS[which], GAMES[game], 40 if quick else 1, seed)
    if images is None:
        return Run(None, None, None)
    quality = evaluator(images)
    return Run(quality.fid, quality.covered, _rounded(images))


def train(evaluator: DigitsEvaluator, networks: Networks, game: Game, part: int, seed: int) -> Any:
    """Images of a generator after its training, or a fraction 1 / part of it; None if the training diverged."""
    techniques = game.techniques._replace(critic_turns=networks.critic_turns)
    task = Adversarial(*players(networks, seed), game.loss, techniques)
    optimizers = {"critic": game.settings, "generator": game.settings.model_copy(update={"ema": 0.98})}
    trainer = Trainer(task, optimizers, Shuffled(evaluator.part, BATCH, seed), networks.rounds // part, seed)
    try:
        for _ in trainer:
            pass
    except Diverged:
        return None
    return samples(trainer, SCORED_IMAGES, seed)


def _rounded(images: Any) -> Any:
    return (images[:SHOWN, 0] * 100).round().div(100).tolist()


TRAINS_GOOD = Comparison(
    f"images of the GAN with {GOOD} are better than independent pixels",
    arm(GOOD, GAN), PIXELS, "FID", 1.1, lower=True, ratio=True,
)  # fmt: skip
# written from the side of the pixels, so that a run that diverged has failed
FAILS = tuple(
    Comparison(
        f"images of the GAN with {which} are worse than independent pixels",
        PIXELS, arm(which, GAN), "FID", 1.1, lower=True, ratio=True,
    )
    for which in BAD
)  # fmt: skip
TRAINS = tuple(
    Comparison(
        f"images of the {name} with {which} are better than independent pixels",
        arm(which, name), PIXELS, "FID", 1.1, lower=True, ratio=True,
    )
    for name in WGANS
    for which in BAD
)  # fmt: skip
CRITERIA = Criteria(clauses=TRAINS, gates=(TRAINS_GOOD, *FAILS))


def _mean(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    return number(fmean(known), 2) if known else "not defined"


def conclude(numbers: Numbers, judgment: Judgment) -> str:
    """FID of the three objectives with the bad pairs; then what is not shown."""
    arms = numbers["arms"]
    fids = "; ".join(
        f"{which}: " + ", ".join(f"{name} {_mean(arms[arm(which, name)]['FID'])}" for name in GAMES) for which in BAD
    )
    text = (
        f"FID with the bad pairs is as follows. {fids}. Independent pixels have {_mean(arms[PIXELS]['FID'])}, the GAN "
        f"with the good pair, {GOOD} with batch norm, has {_mean(arms[arm(GOOD, GAN)]['FID'])}."
    )
    if missing := judgment.not_shown(*TRAINS):
        lengths = ", ".join(f"{PAIRS[which].rounds} rounds with {which}" for which in BAD)
        text += f"{missing} Training has {lengths}; longer training is not tested."
    return text


def table(numbers: Numbers) -> Table:
    """FID and classes by pair and objective."""
    rows: Table = [
        ("images", "rounds", "critic turns", f"FID[digits-cnn, {SCORED_IMAGES} vs train]", "classes covered")
    ]
    length = {arm(*run): (str(PAIRS[run[0]].rounds), str(PAIRS[run[0]].critic_turns)) for run in RUNS}
    for name, values in numbers["arms"].items():
        cells = (mean_and_range(values[measure], 2) for measure in ("FID", "classes"))
        rows.append((name, *length.get(name, ("–", "–")), *cells))
    return rows


def plot(numbers: Numbers) -> Figure:
    """Images of the first seed with the bad pairs, and FID."""
    from danlu.experiments.harness.plots import MARKERS, colors, image_grid, logarithmic, panels, secondary_color

    figure, axes = panels(4, rows=len(BAD), height=1.5, width_ratios=(1, 1, 1, 1.8))
    for row, which in enumerate(BAD):
        *left, right = axes[4 * row : 4 * row + 4]
        for index, (panel, name) in enumerate(zip(left, GAMES, strict=True)):
            values = numbers["arms"][arm(which, name)]["FID"]
            if images := numbers["pictures"][arm(which, name)]:
                image_grid(panel, images, columns=4)
            panel.set(xticks=[], yticks=[], title=name if images else f"{name}, diverged")
            known = [value for value in values if value is not None]
            right.plot([index] * len(known), known, MARKERS[index], color=colors()[index], markersize=4)
        left[0].set_ylabel(which.replace(" without", "\nwithout"))
        right.axhline(fmean(numbers["arms"][PIXELS]["FID"]), color=secondary_color(), linestyle="dotted", linewidth=0.8)
        logarithmic(right.yaxis)
        right.set(ylabel="FID", xlim=(-0.5, len(GAMES) - 0.5))
        right.set_xticks(range(len(GAMES)), list(GAMES))
        right.set_xlabel("objective" if which == BAD[-1] else "")
    return figure


EXPERIMENT = Experiment(
    measure=measure,
    criteria=CRITERIA,
    conclude=conclude,
    table=table,
    plot=plot,
    method=(
        "Two bad pairs of networks, DCGAN without normalization and deep fully connected networks, are trained on the "
        "digits as a GAN, as a WGAN with clipped weights and as a WGAN with gradient penalty, with equal updates. A "
        "pair has trained if its FID is lower than that of independent pixels, which are images whose pixels come from "
        "different digits."
    ),
    caption=(
        "Images of the first seed, by pair (rows) and objective (columns). Right: FID, one point per seed, on a "
        "logarithmic axis; dotted: images of independent pixels, below which a pair has trained."
    ),
)
