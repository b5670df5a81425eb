"""GANs drop modes; minibatch discrimination and WGAN help (notes, 2.2.3.2).

Fully connected generators and critics of one size are trained on the ring of eight Gaussians: a plain GAN, the same
with minibatch discrimination, and WGAN with a gradient penalty. A mode is covered if at least 20 of 2500 samples lie
within three standard deviations of its center. A mode that is covered only within 20 standard deviations (a quarter of
the distance to the next mode) is near, but not dropped; near modes are counted separately. Each GAN has one setting
for all seeds and the same number of rounds; the first two differ only in the critic's last layer. A plain GAN with
more momentum separates the effect of the objective from that of the optimizer. The generator is evaluated with
averaged weights. Five seeds.
"""

from __future__ import annotations

from itertools import pairwise
from statistics import fmean, median
from typing import TYPE_CHECKING, NamedTuple, cast

from danlu.data.base.batch_stream import Shuffled
from danlu.data.base.dataset import Part
from danlu.data.datasets.toy_2d import RING_DEVIATION, RING_MODES, ring_centers, sample_ring
from danlu.experiments.harness.experiment import JudgedExperiment, Numbers, ProgressCallback, Table, Verdict
from danlu.experiments.harness.gan_on_digits import pair, samples
from danlu.experiments.harness.trainers import spread
from danlu.losses.adversarial import Loss
from danlu.metrics.modes import modes
from danlu.models.adversarial.mlp import MLPCritic, MLPGenerator
from danlu.rng.keys import generator as generator_of
from danlu.tasks.adversarial import PLAIN, Adversarial, Techniques
from danlu.training.optimization.settings import OptimizerSettings
from danlu.training.trainer import Trainer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HIDDEN, LATENT, BATCH, POINTS, SAMPLES, SHOWN = (128, 128), 8, 64, 20_000, 2500, 500


NEAR = 20.0  # standard deviations within which a mode counts as near


class Game(NamedTuple):
    """The setting of one GAN."""

    loss: Loss
    techniques: Techniques
    lr: float
    betas: tuple[float, float]
    minibatch: int = 0


PENALTY = Techniques(penalty=0.1, critic_turns=2)
GAMES = {
    "plain GAN": Game("non-saturating", PLAIN, 2e-3, (0.5, 0.999)),
    "minibatch discrimination": Game("non-saturating", PLAIN, 2e-3, (0.5, 0.999), minibatch=16),
    "WGAN-GP": Game("wasserstein", PENALTY, 3e-3, (0.5, 0.9)),
    "plain GAN, more momentum": Game("non-saturating", PLAIN, 1e-3, (0.9, 0.999)),
}
PLAIN_GAN, *REMEDIES, MORE_MOMENTUM = GAMES


def measure(seed: int, progress: ProgressCallback, quick: bool = False) -> Numbers:
    """Covered modes and good samples during training, by GAN and seed; samples of the first seed."""
    seeds = range(seed, seed + (1 if quick else 5))
    every, times = (30, 2) if quick else (250, 5)
    numbers: Numbers = {
        "rounds": [every * (index + 1) for index in range(times)],
        "runs": {name: [] for name in GAMES},
        "samples": {},
    }
    for done, (name, run_seed) in enumerate((name, run_seed) for name in GAMES for run_seed in seeds):
        trainer = _trainer(GAMES[name], numbers["rounds"][-1], run_seed)
        results: Numbers = {"covered": [], "near": [], "good": []}
        for report in trainer:
            if report.round % every == 0:
                progress("GANs", done * times + report.round // every - 1, len(GAMES) * len(seeds) * times)
                x = samples(trainer, SAMPLES, run_seed)
                covered_now = modes(x, ring_centers(), RING_DEVIATION)
                results["near"].append(modes(x, ring_centers(), RING_DEVIATION, within=NEAR).covered)
                results["covered"].append(covered_now.covered)
                results["good"].append(covered_now.good)
        numbers["runs"][name].append(results)
        if run_seed == seed:
            numbers["samples"][name] = [
                [round(v, 3) for v in point] for point in samples(trainer, SHOWN, run_seed).tolist()
            ]
    return numbers


def _trainer(game: Game, rounds: int, seed: int) -> Trainer:
    players = pair(
        lambda: cast(MLPGenerator, MLPGenerator((2,), 0, None, LATENT, HIDDEN)),
        lambda: cast(MLPCritic, MLPCritic((2,), 0, HIDDEN, minibatch=game.minibatch)),
        seed,
    )
    settings = OptimizerSettings(optimizer="adam", lr=game.lr, betas=game.betas, schedule="cosine")
    optimizer_settings = {"critic": settings, "generator": settings.model_copy(update={"ema": 0.99})}
    points, _ = sample_ring(POINTS, generator_of("points", seed))
    task = Adversarial(*players, game.loss, game.techniques, "x")
    return Trainer(task, optimizer_settings, Shuffled(Part({"x": points}), BATCH, seed), rounds, seed)


def lost(covered: list[int]) -> int:
    """The total number of modes that a run lost between consecutive evaluations.

    >>> lost([0, 5, 3, 6, 5])
    3
    """
    return sum(max(0, a - b) for a, b in pairwise(covered))


def _end(runs: list[Numbers], quantity: str = "covered") -> list[int]:
    return [run[quantity][-1] for run in runs]


def verdict(numbers: Numbers) -> Verdict:
    """Holds if, in the median, the plain GAN drops modes and covers fewer than each remedy."""
    final_modes = {name: _end(runs) for name, runs in numbers["runs"].items()}
    near = {name: median(_end(numbers["runs"][name], "near")) for name in (PLAIN_GAN, MORE_MOMENTUM)}
    plain = median(final_modes[PLAIN_GAN])
    medians_text = ", ".join(f"{name} {median(end):g} ({min(end)} to {max(end)})" for name, end in final_modes.items())
    reason = f"Median number of the {RING_MODES} modes that are covered after training: {medians_text}."
    helped = [name for name in REMEDIES if median(final_modes[name]) > plain]
    if plain == RING_MODES or not helped or min(near.values()) == RING_MODES:
        return Verdict("does not hold", reason)
    limits = []
    if near[PLAIN_GAN] == RING_MODES:
        limits.append(
            f" The plain GAN has not dropped the modes that it does not cover: within {NEAR * RING_DEVIATION:g} of the "
            f"centers it has samples for all modes. With β₁ = {GAMES[MORE_MOMENTUM].betas[0]:g} instead of "
            f"{GAMES[PLAIN_GAN].betas[0]:g} it has dropped modes: within this distance it covers "
            f"{near[MORE_MOMENTUM]:g}."
        )
    if useless := [name for name in REMEDIES if name not in helped]:
        limits.append(f" In this number of rounds {' and '.join(useless)} does not help.")
    if short := [name for name in helped if min(final_modes[name]) < RING_MODES]:
        limits.append(f" With {' and '.join(short)} some runs also miss modes.")
    return Verdict("holds with limits" if limits else "holds", reason + "".join(limits))


def table(numbers: Numbers) -> Table:
    """Final, near and lost modes, and good samples, by GAN."""
    rows: Table = [("GAN", "final modes", "median", "near", "lost during training", "good samples")]
    for name, runs in numbers["runs"].items():
        near, lost_modes = spread(_end(runs, "near"), ".1f"), f"{fmean(lost(run['covered']) for run in runs):.1f}"
        cells = (spread(_end(runs), ".1f"), f"{median(_end(runs)):g}", near, lost_modes)
        rows.append((name, *cells, spread([run["good"][-1] for run in runs], ".0%")))
    return rows


def plot(numbers: Numbers) -> Figure:
    """Final samples of the first seed, and covered modes during training."""
    from danlu.experiments.harness.plots import colors, line, panels, secondary_color

    figure, axes = panels(len(GAMES), rows=2, height=1.9)
    centers = ring_centers().tolist()
    for number, name in enumerate(GAMES):
        top, bottom = axes[number], axes[number + len(GAMES)]
        top.scatter(*zip(*centers, strict=True), s=60, facecolors="none", edgecolors=secondary_color(), linewidths=0.6)
        top.scatter(*zip(*numbers["samples"][name], strict=True), s=1.5, color=colors()[number], linewidths=0)
        top.set(xlim=(-2.9, 2.9), ylim=(-2.9, 2.9), xticks=[], yticks=[], aspect="equal")
        top.set_title(name.replace(", ", ",\n").replace("minibatch ", "minibatch\n"), fontsize=7.5)
        line(bottom, numbers["rounds"], [run["covered"] for run in numbers["runs"][name]], number, name, marker=None)
        bottom.set(ylim=(-0.2, RING_MODES + 0.2), yticks=[0, 4, RING_MODES], xlabel="rounds", xlim=(0, None))
    axes[len(GAMES)].set_ylabel("covered modes")
    axes[0].set_ylabel("samples")
    return figure


EXPERIMENT = JudgedExperiment(measure, verdict, table, plot)
