"""Smoothing the target of real examples helps, that of generated examples harms (notes, 2.2.4.2).

With target a for real examples and target b for generated ones, the optimal critic is D = (a p + b q) / (p + q)
(Salimans et al., "Improved techniques for training GANs", 2016, section 3.4). In one dimension this is exact: the data
are N(0, 1) and the generator produces N(4, 1), so almost all generated examples are far from the data. The experiment
compares the trained critic for each pair of targets with the formula. It also computes the gradient on the generator's
mean by numerical integration: E_q |d/dx log D| for the loss −log D, and E_q |d/dx log(1 − D)| for the minimax loss.

Generators are then trained on eight Gaussians on a ring with each pair of targets and the loss −log D. Their quality is
the sliced Wasserstein distance to new points of the data. Five seeds.
"""

from __future__ import annotations

from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, cast

import torch
from jaxtyping import Float
from torch import Tensor

from danlu.data.base.batch_stream import Shuffled
from danlu.data.datasets.toy_2d import RING_DEVIATION, ring, ring_centers
from danlu.experiments.adversarial.optimal_discriminator import POINTS, Pair, train_critic
from danlu.experiments.harness.experiment import JudgedExperiment, Numbers, ProgressCallback, Table, Verdict
from danlu.experiments.harness.trainers import always_less, from_seed, spread
from danlu.metrics.modes import modes
from danlu.metrics.sample_diversity import sliced_wasserstein
from danlu.models.adversarial.mlp import MLPCritic, MLPGenerator
from danlu.rng.keys import generator as generator_of
from danlu.tasks.adversarial import Adversarial, Techniques
from danlu.training.optimization.settings import OptimizerSettings
from danlu.training.trainer import Trainer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LABELS = {"1 and 0": (1.0, 0.0), "0.9 and 0": (0.9, 0.0), "0.9 and 0.1": (0.9, 0.1)}
NONE, REAL, BOTH = LABELS
FAR_APART = Pair([1.0], [0.0], [1.0], 4.0, 1.0)
SAMPLES = 2500
NEAR = 0.02  # largest mean distance of a trained D from the formula
VANISHED = 0.1  # a gradient below this fraction of the one without smoothing has vanished
UNCHANGED = 2.0  # a gradient below this multiple of the one without smoothing is unchanged


def measure(seed: int, progress: ProgressCallback, quick: bool = False) -> Numbers:
    """Optimal and trained critic for each pair of targets, and the quality of generators by seed."""
    seeds = range(seed, seed + (1 if quick else 5))
    critics: Numbers = {}
    for name, labels in LABELS.items():
        critics[name] = in_one_dimension(labels, 100 if quick else 600, seed)
    runs = [(name, run_seed) for name in LABELS for run_seed in seeds]
    games: Numbers = {name: [] for name in LABELS}
    for done, (name, run_seed) in enumerate(runs):
        progress("GANs", done, len(runs))
        games[name].append(train_on_ring(LABELS[name], 50 if quick else 1200, run_seed))
    return {"critics": critics, "games": games}


def best(labels: tuple[float, float]) -> Float[Tensor, "points"]:
    """D of the optimal critic at the points where p + q is not 0."""
    log_p, log_q = (density.log_prob(POINTS) for density in FAR_APART.densities())
    fraction = (log_p - log_q).sigmoid()
    return labels[0] * fraction + labels[1] * (1 - fraction)


def in_one_dimension(labels: tuple[float, float], rounds: int, seed: int) -> Numbers:
    """Optimal and trained critic: their distance, their gradients on the generator, and both as curves."""
    critic = train_critic(FAR_APART, rounds, seed, Techniques(real_target=labels[0], fake_target=labels[1]))
    with torch.no_grad():
        trained = critic(POINTS[:, None].float()).double().sigmoid()
    exact = best(labels)
    p, q = (density.log_prob(POINTS).exp() for density in FAR_APART.densities())
    shown = slice(int(torch.searchsorted(POINTS, -3.0)), int(torch.searchsorted(POINTS, 7.0)), 10)
    curves = {"x": POINTS, "best": exact, "trained": trained, "p": p, "q": q}
    return {
        "distance": float(torch.trapezoid((trained - exact).abs() * (p + q) / 2, POINTS)),
        "push": {"best": push(exact.log(), q), "trained": push(trained.log(), q)},
        "minimax push": {"best": push((1 - exact).log(), q), "trained": push((1 - trained).log(), q)},
        "curves": {name: curve[shown].tolist() for name, curve in curves.items()},
    }


def push(curve: Float[Tensor, "points"], q: Float[Tensor, "points"]) -> float:
    """The mean absolute slope of a curve under q."""
    slope = torch.gradient(curve, spacing=(POINTS,))[0].abs()
    return float(torch.trapezoid(torch.where(q > 1e-12, q * slope, 0.0), POINTS))


def train_on_ring(labels: tuple[float, float], rounds: int, seed: int) -> Numbers:
    """Train a generator on the ring with a pair of targets and measure its quality."""
    data = ring()
    make_generator = partial(MLPGenerator, (2,), classes=0, range=None, latent=8, hidden=(64, 64))
    make_critic = partial(MLPCritic, (2,), classes=0, hidden=(64, 64))
    players = cast(MLPGenerator, from_seed(make_generator, seed)), cast(MLPCritic, from_seed(make_critic, seed + 1000))
    techniques = Techniques(real_target=labels[0], fake_target=labels[1])
    game = Adversarial(*players, "non-saturating", techniques, inputs="x")
    settings = OptimizerSettings(optimizer="adam", lr=1e-3, betas=(0.5, 0.999))
    for _ in Trainer(game, settings, Shuffled(data.train, 128, seed), rounds, seed):
        pass
    with torch.no_grad():
        samples = players[0].sample(SAMPLES, generator=generator_of("judged", seed))
    results = modes(samples, ring_centers(), deviation=RING_DEVIATION)
    distance = sliced_wasserstein(samples, data.test["x"])
    return {"distance": distance, "good": results.good, "covered": results.covered}


def verdict(numbers: Numbers) -> Verdict:
    """Holds if critics match the formula and generators are better with the real target smoothed, worse with both."""
    critics, games = numbers["critics"], numbers["games"]
    critic_error = max(results["distance"] for results in critics.values())
    pushes, saturating = ([critics[name][key]["best"] for name in LABELS] for key in ("push", "minimax push"))
    none, real, both = ([run["distance"] for run in games[name]] for name in LABELS)
    helps, harms = always_less(real, none), always_less(real, both)
    vanishes = pushes[2] < VANISHED * pushes[0]
    reason = (
        f"Trained critics equal (a p + b q) / (p + q) within {critic_error:.3f}. For generated examples far from the "
        f"data, the gradient of the optimal critic is {pushes[0]:.2f} without smoothing, {pushes[1]:.2f} with the real "
        f"target smoothed and {pushes[2]:.2f} with both. On the ring the final distances to the data are "
        f"{fmean(none):.2f}, {fmean(real):.2f} and "
        f"{fmean(both):.2f}{'; smoothing the real target gives the smaller distance in every seed' if helps else ''}."
    )
    if critic_error > NEAR or not (helps or harms or vanishes):
        return Verdict("does not hold", reason)
    limits = []
    if not helps:
        limits.append(f" Smoothing the real target is better in {_better(real, none)} of {len(none)} seeds.")
    if not harms:
        opening = "The gradient shows how smoothing the fake target can harm, but" if vanishes else "In addition,"
        limits.append(
            f" {opening} on the ring smoothing both is worse than smoothing one in only {_better(real, both)} of "
            f"{len(none)} seeds."
        )
    if not vanishes:
        limits.append(" Smoothing the fake target does not change the gradient.")
    if saturating[1] < UNCHANGED * saturating[0]:
        limits.append(
            " The notes recommend smoothing against the vanishing gradient of log(1 − D), but it has no effect there: "
            f"the gradient of the optimal critic is {saturating[0]:.3f} without and {saturating[1]:.3f} with smoothing."
        )
    return Verdict("holds with limits" if limits else "holds", reason + "".join(limits))


def _better(a: list[float], b: list[float]) -> int:
    return sum(x < y for x, y in zip(a, b, strict=True))


RING = ("distance, ring", "good samples", "modes")


def table(numbers: Numbers) -> Table:
    """One-dimensional results and ring results for each pair of targets."""
    rows: Table = [
        (
            "targets, real and fake",
            "D − formula",
            "gradient, −log D",
            "trained",
            "gradient, log(1 − D)",
            "trained",
            *RING,
        )
    ]
    for name in LABELS:
        results, games = numbers["critics"][name], numbers["games"][name]
        pushes = (f"{results[key][kind]:.3f}" for key in ("push", "minimax push") for kind in ("best", "trained"))
        covered = sorted({run["covered"] for run in games})
        modes_ = f"{covered[0]}" if len(covered) == 1 else f"{covered[0]}–{covered[-1]}"
        scores = (spread([run[key] for run in games], form) for key, form in (("distance", ".2f"), ("good", ".2f")))
        rows.append((name, f"{results['distance']:.3f}", *pushes, *scores, modes_))
    return rows


def plot(numbers: Numbers) -> Figure:
    """Critics in one dimension, gradients on the generator, distances on the ring."""
    from danlu.experiments.harness.plots import colors, legend_above, panels, secondary_color

    figure, (left, middle, right) = panels(3, height=2.5, width_ratios=(1.5, 1, 1))
    for number, (name, results) in enumerate(numbers["critics"].items()):
        curves, color = results["curves"], colors()[number]
        left.plot(curves["x"], curves["best"], color=color, label=name)
        left.plot(curves["x"][::8], curves["trained"][::8], "o", color=color, markersize=2.5)
        middle.bar(number, results["push"]["best"], 0.6, color=color)
        distances = [run["distance"] for run in numbers["games"][name]]
        right.bar(number, fmean(distances), 0.6, color=color, alpha=0.8)
        right.plot([number] * len(distances), distances, "o", color=secondary_color(), markersize=2.5)
    for index, density, label in ((0, "p", "data"), (4, "q", "generated")):
        curves = numbers["critics"][NONE]["curves"]
        left.fill_between(curves["x"], curves[density], color=secondary_color(), alpha=0.2, linewidth=0)
        left.annotate(label, (index, 0.43), ha="center", fontsize=7, color=secondary_color())
    left.set(title="optimal critic (dots: trained)", xlabel="x", ylabel="D(x)", ylim=(-0.03, 1.05), yticks=(0, 0.5, 1))
    middle.set(title="gradient on the generator", ylabel="mean slope of −log D")
    right.set(title="ring", ylabel="distance to the data")
    for axes in (middle, right):
        axes.set(xticks=range(len(LABELS)), xlabel="targets, real and fake")
        axes.set_xticklabels([name.replace(" and ", "\n") for name in LABELS])
        axes.grid(True, axis="y")
    legend_above(figure, left)
    return figure


EXPERIMENT = JudgedExperiment(measure, verdict, table, plot)
