"""GANs drop modes; minibatch discrimination and WGAN help (notes, 2.2.3.2, 2.2.4.2 and 2.2.5.1).

Fully connected generators and critics of one size are trained on the ring of eight Gaussians: a plain GAN, the same
with minibatch discrimination, and a WGAN with gradient penalty. A mode is dropped if fewer than 20 of 2500 samples lie
within 20 standard deviations of its center, a quarter of the distance to the next mode. The usual three standard
deviations would count modes that samples are near, but do not hit yet, as dropped.

All three have five critic turns per round, as is usual for a WGAN, and the same optimizer. With such a strong critic
the plain GAN covers all modes at first and then drops one after the other. A fourth arm, the plain GAN with one critic
turn, tells whether this is due to the GAN or to the strong critic. It has more rounds, because with a weak critic the
modes are found later: 2000 updates of each network. The others have as many of the critic, and 400 of the generator.
All values are means over the last quarter of the training.
"""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple, cast

from danlu.data.base.batch_stream import Shuffled
from danlu.data.base.dataset import Part
from danlu.data.datasets.toy_2d import RING_DEVIATION, RING_MODES, ring_centers, sample_ring
from danlu.experiments.harness.criteria import Comparison, Criteria, Judgment
from danlu.experiments.harness.experiment import Experiment, Numbers, ProgressCallback, Table
from danlu.experiments.harness.gan_on_digits import pair, samples
from danlu.experiments.harness.parallel import run_each
from danlu.experiments.harness.seeds import seeds
from danlu.experiments.harness.wording import mean_and_range, number
from danlu.losses.adversarial import Loss
from danlu.metrics.modes import modes
from danlu.models.adversarial.mlp import MLPCritic, MLPGenerator
from danlu.rng.keys import generator as generator_of
from danlu.tasks.adversarial import PLAIN, Adversarial, Techniques
from danlu.training.optimization.settings import OptimizerSettings
from danlu.training.trainer import Trainer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HIDDEN, LATENT, BATCH, POINTS, SAMPLES, SHOWN = (128, 128), 8, 32, 20_000, 2500, 500
NEAR = 20.0  # standard deviations within which a sample belongs to a mode
EVALUATIONS, AVERAGED = 8, 2  # during the training; the last ones that are averaged
TURNS = 5


class Game(NamedTuple):
    """The setting of one GAN."""

    loss: Loss
    techniques: Techniques
    rounds: int = 400
    minibatch: int = 0

    @property
    def critic_updates(self) -> int:
        """The updates of the critic in all rounds."""
        return self.rounds * self.techniques.critic_turns


STRONG_CRITIC = PLAIN._replace(critic_turns=TURNS)
GAMES = {
    "plain GAN": Game("non-saturating", STRONG_CRITIC),
    "minibatch discrimination": Game("non-saturating", STRONG_CRITIC, minibatch=16),
    "WGAN-GP": Game("wasserstein", STRONG_CRITIC._replace(penalty=0.1)),
    "plain GAN, one critic turn": Game("non-saturating", PLAIN, rounds=2000),
}
PLAIN_GAN, MINIBATCH, WGAN, ONE_TURN = GAMES


def measure(seed: int, progress: ProgressCallback, quick: bool = False) -> Numbers:
    """Modes and fraction of samples near a mode by GAN and seed; curves, and samples of the first seed."""
    run_seeds, part = (seeds(seed, 2), 40) if quick else (seeds(seed, 5), 1)
    numbers: Numbers = {
        "arms": {name: {"modes": [], "near": []} for name in GAMES},
        "rounds": {name: _rounds(game.rounds // part) for name, game in GAMES.items()},
        "curves": {name: [] for name in GAMES},
        "samples": {},
    }
    longest_first = (MINIBATCH, WGAN, PLAIN_GAN, ONE_TURN)
    runs = [(run_seed, name, GAMES[name].rounds // part) for name in longest_first for run_seed in run_seeds]
    for (run_seed, name, _), run in zip(runs, run_each(measure_run, runs, progress, "GANs"), strict=True):
        numbers["curves"][name].append(run.covered)
        numbers["arms"][name]["modes"].append(fmean(run.covered[-AVERAGED:]))
        numbers["arms"][name]["near"].append(fmean(run.near[-AVERAGED:]))
        if run_seed == run_seeds[0]:
            numbers["samples"][name] = run.samples
    return numbers


class Run(NamedTuple):
    """The covered modes and the fraction of samples near a mode during one training, and samples after it."""

    covered: tuple[int, ...]
    near: tuple[float, ...]
    samples: list[list[float]]


def measure_run(seed: int, name: str, rounds: int) -> Run:
    """Train and evaluate one GAN."""
    trainer = trainer_of(GAMES[name], rounds, seed)
    found = [evaluate(trainer, seed) for report in trainer if report.round in _rounds(rounds)]
    covered, near = zip(*found, strict=True)
    shown = samples(trainer, SHOWN, seed).tolist()
    return Run(covered, near, [[round(v, 3) for v in point] for point in shown])


def _rounds(rounds: int) -> list[int]:
    """The rounds after which a GAN is evaluated."""
    return [rounds * (index + 1) // EVALUATIONS for index in range(EVALUATIONS)]


def evaluate(trainer: Trainer, seed: int) -> tuple[int, float]:
    """The number of modes that are not dropped, and the fraction of samples near a mode."""
    found = modes(samples(trainer, SAMPLES, seed), ring_centers(), RING_DEVIATION, within=NEAR)
    return found.covered, found.good


def trainer_of(game: Game, rounds: int, seed: int) -> Trainer:
    """The trainer of one GAN."""
    players = pair(
        lambda: cast(MLPGenerator, MLPGenerator((2,), 0, None, LATENT, HIDDEN)),
        lambda: cast(MLPCritic, MLPCritic((2,), 0, HIDDEN, minibatch=game.minibatch)),
        seed,
    )
    points, _ = sample_ring(POINTS, generator_of("points", seed))
    task = Adversarial(*players, game.loss, game.techniques, "x")
    settings = OptimizerSettings(optimizer="adam", lr=1e-3, betas=(0.5, 0.9))
    return Trainer(task, settings, Shuffled(Part({"x": points}), BATCH, seed), rounds, seed)


# one mode is the smallest number of modes
DROPS = Comparison("the plain GAN drops modes", PLAIN_GAN, float(RING_MODES), "modes", 1.0, lower=True)
HELPS = tuple(
    Comparison(f"{name} covers more modes than the plain GAN", name, PLAIN_GAN, "modes", 1.0)
    for name in (MINIBATCH, WGAN)
)
# "largely avoids mode collapse" (notes, line 1026): on average at most half of a mode is missing
AVOIDS = tuple(
    Comparison(f"{name} covers all modes", name, RING_MODES - 1.0, "modes", 0.5) for name in (MINIBATCH, WGAN)
)
ALWAYS = Comparison(
    "the plain GAN drops modes with one critic turn, too", ONE_TURN, float(RING_MODES), "modes", 1.0, lower=True
)
CRITERIA = Criteria(clauses=HELPS, gates=(DROPS,), limits=(*AVOIDS, ALWAYS))


def conclude(numbers: Numbers, judgment: Judgment) -> str:
    """The modes of the three GANs; then what is not shown, and the GAN with one critic turn."""
    arms = numbers["arms"]
    covered = {name: number(fmean(arms[name]["modes"]), 2) for name in GAMES}
    text = (
        f"With {TURNS} critic turns per round the plain GAN covers {covered[PLAIN_GAN]} of {RING_MODES} modes, with "
        f"minibatch discrimination {covered[MINIBATCH]}, WGAN-GP {covered[WGAN]}."
    )
    text += judgment.not_shown(*HELPS, *AVOIDS)
    if judgment.refuted(ALWAYS.clause):
        return text + (
            " A GAN does not drop modes in every setting: with one critic turn per round and as many updates of the "
            f"critic, {GAMES[ONE_TURN].critic_updates}, the plain GAN covers {covered[ONE_TURN]}."
        )
    return text + judgment.not_shown(ALWAYS)


def table(numbers: Numbers) -> Table:
    """Modes, and fraction of samples near a mode, by GAN."""
    rows: Table = [("GAN", "critic turns", "rounds", f"modes of {RING_MODES}", "samples near a mode")]
    for name, values in numbers["arms"].items():
        setting = str(GAMES[name].techniques.critic_turns), str(numbers["rounds"][name][-1])
        rows.append((name, *setting, mean_and_range(values["modes"], 2), mean_and_range(values["near"], 2)))
    return rows


def plot(numbers: Numbers) -> Figure:
    """Final samples of the first seed, and modes during training."""
    from danlu.experiments.harness.plots import colors, line, panels, secondary_color

    figure, axes = panels(len(GAMES), rows=2, height=1.9)
    centers = ring_centers().tolist()
    for index, name in enumerate(GAMES):
        top, bottom = axes[index], axes[index + len(GAMES)]
        top.scatter(*zip(*centers, strict=True), s=60, facecolors="none", edgecolors=secondary_color(), linewidths=0.6)
        top.scatter(*zip(*numbers["samples"][name], strict=True), s=1.5, color=colors()[index], linewidths=0)
        top.set(xlim=(-2.9, 2.9), ylim=(-2.9, 2.9), xticks=[], yticks=[], aspect="equal")
        top.set_title(name.replace(", ", ",\n").replace("minibatch ", "minibatch\n"), fontsize=7.5)
        line(bottom, numbers["rounds"][name], numbers["curves"][name], index, name)
        bottom.set(ylim=(-0.3, RING_MODES + 0.3), yticks=[0, 4, RING_MODES], xlabel="rounds", xlim=(0, None))
    axes[len(GAMES)].set_ylabel("covered modes")
    axes[0].set_ylabel("samples")
    return figure


EXPERIMENT = Experiment(
    measure=measure,
    criteria=CRITERIA,
    conclude=conclude,
    table=table,
    plot=plot,
    method=(
        "A plain GAN, a GAN with minibatch discrimination and a WGAN with gradient penalty, of equal size and with "
        f"equal updates ({TURNS} critic turns per round), are trained on eight Gaussians on a ring; a fourth arm is "
        f"the plain GAN with one critic turn per round and {GAMES[ONE_TURN].rounds} rounds instead of "
        f"{GAMES[PLAIN_GAN].rounds}, so its critic has as many updates. Measured is the number of Gaussians near which "
        "they generate samples, as the mean over the last quarter of the training."
    ),
    caption=(
        "Top: samples after training, first seed; circles are the Gaussians of the data. Bottom: number of Gaussians "
        "near which samples are generated, during training. Lines are means, bands ranges over the seeds. The GAN on "
        "the right has one critic turn per round, the others five."
    ),
)
