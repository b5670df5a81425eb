"""Smoothing the real label helps, smoothing the fake one harms (notes, 2.2.4.2).

If real examples are to be taken for a and generated ones for b, the best critic is D = (a p + b q) / (p + q) (Salimans
et al., "Improved techniques for training GANs", 2016, section 3.4). On a line this is known exactly: the data are N(0,
1), the generator makes N(4, 1), so nearly all that it makes has strayed. Measured are the critic that learns with each
pair of labels, against the formula, and the push on the generator's mean, E_q |d/dx log D| for the cost −log D, and E_q
|d/dx log(1 − D)| for the game's own value, by integrals.

Then generators learn eight Gaussians on a ring with each pair of labels and the cost −log D; their quality is the
sliced Wasserstein distance from new points of the data. Five seeds.
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
from danlu.experiments.adversarial.optimal_discriminator import POINTS, Pair, learnt
from danlu.experiments.harness.experiment import Experiment, Numbers, Table, Tell, Verdict
from danlu.experiments.harness.trainers import always_less, from_seed, spread
from danlu.metrics.modes import modes
from danlu.metrics.sample_diversity import sliced_wasserstein
from danlu.models.adversarial.mlp import MLPCritic, MLPGenerator
from danlu.rng.keys import generator as generator_of
from danlu.tasks.adversarial import Adversarial, Techniques
from danlu.training.optimization import OptimizerSettings
from danlu.training.trainer import Trainer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LABELS = {"1 and 0": (1.0, 0.0), "0.9 and 0": (0.9, 0.0), "0.9 and 0.1": (0.9, 0.1)}
NONE, REAL, BOTH = LABELS
STRAYED = Pair([1.0], [0.0], [1.0], 4.0, 1.0)
JUDGED = 2500
NEAR = 0.02  # mean distance of a trained D from the formula
GONE = 0.1  # of the push without smoothing: if less is left, stray examples are let off
SAME = 2.0  # times the push without smoothing: if it is less, smoothing has done nothing for it


def measure(seed: int, tell: Tell, quick: bool = False) -> Numbers:
    """Of each pair of labels the best critic and the trained one; and the quality of generators, by seed."""
    seeds = range(seed, seed + (1 if quick else 5))
    critics: Numbers = {}
    for name, labels in LABELS.items():
        critics[name] = on_a_line(labels, 100 if quick else 600, seed)
    runs = [(name, own) for name in LABELS for own in seeds]
    games: Numbers = {name: [] for name in LABELS}
    for done, (name, own) in enumerate(runs):
        tell("games", done, len(runs))
        games[name].append(played(LABELS[name], 50 if quick else 1200, own))
    return {"critics": critics, "games": games}


def best(labels: tuple[float, float]) -> Float[Tensor, "points"]:
    """The best critic's D at the points, where p + q is not 0."""
    log_p, log_q = (density.log_prob(POINTS) for density in STRAYED.densities())
    share = (log_p - log_q).sigmoid()
    return labels[0] * share + labels[1] * (1 - share)


def on_a_line(labels: tuple[float, float], rounds: int, seed: int) -> Numbers:
    """The best critic and the trained one: their distance, their pushes on the generator, and both as curves."""
    critic = learnt(STRAYED, rounds, seed, Techniques(real_target=labels[0], fake_target=labels[1]))
    with torch.no_grad():
        trained = critic(POINTS[:, None].float()).double().sigmoid()
    exact = best(labels)
    p, q = (density.log_prob(POINTS).exp() for density in STRAYED.densities())
    shown = slice(int(torch.searchsorted(POINTS, -3.0)), int(torch.searchsorted(POINTS, 7.0)), 10)
    curves = {"x": POINTS, "best": exact, "trained": trained, "p": p, "q": q}
    return {
        "distance": float(torch.trapezoid((trained - exact).abs() * (p + q) / 2, POINTS)),
        "push": {"best": push(exact.log(), q), "trained": push(trained.log(), q)},
        "minimax push": {"best": push((1 - exact).log(), q), "trained": push((1 - trained).log(), q)},
        "curves": {name: curve[shown].tolist() for name, curve in curves.items()},
    }


def push(curve: Float[Tensor, "points"], q: Float[Tensor, "points"]) -> float:
    """E_q of the size of a curve's slope."""
    slope = torch.gradient(curve, spacing=(POINTS,))[0].abs()
    return float(torch.trapezoid(torch.where(q > 1e-12, q * slope, 0.0), POINTS))


def played(labels: tuple[float, float], rounds: int, seed: int) -> Numbers:
    """What a generator is worth that has learned the ring with these labels."""
    data = ring(None, "", None)
    make = partial(MLPGenerator, (2,), classes=0, range=None, latent=8, hidden=(64, 64))
    against = partial(MLPCritic, (2,), classes=0, hidden=(64, 64))
    players = cast(MLPGenerator, from_seed(make, seed)), cast(MLPCritic, from_seed(against, seed + 1000))
    how = Techniques(real_target=labels[0], fake_target=labels[1])
    game = Adversarial(*players, "non-saturating", how, inputs="x")
    descent = OptimizerSettings(optimizer="adam", lr=1e-3, betas=(0.5, 0.999))
    for _ in Trainer(game, descent, Shuffled(data.train, 128, seed), rounds, seed):
        pass
    with torch.no_grad():
        samples = players[0].sample(JUDGED, generator=generator_of("judged", seed))
    found = modes(samples, ring_centers(), deviation=RING_DEVIATION)
    distance = sliced_wasserstein(samples, data.test["x"])
    return {"distance": distance, "good": found.good, "covered": found.covered}


def judge(numbers: Numbers) -> Verdict:
    """The formula; the push on what has strayed; and whether generators are better with one, worse with both."""
    critics, games = numbers["critics"], numbers["games"]
    off = max(found["distance"] for found in critics.values())
    pushes, saturating = ([critics[name][key]["best"] for name in LABELS] for key in ("push", "minimax push"))
    none, real, both = ([run["distance"] for run in games[name]] for name in LABELS)
    helps, harms = always_less(real, none), always_less(real, both)
    lets_off = pushes[2] < GONE * pushes[0]
    reason = (
        f"Trained critics are (a p + b q) / (p + q) within {off:.3f}. On a generator that has strayed the best critic "
        f"pushes with {pushes[0]:.2f}, with the real label smoothed {pushes[1]:.2f}, with both {pushes[2]:.2f}. On the "
        f"ring generators end at {fmean(none):.2f}, {fmean(real):.2f} and {fmean(both):.2f} from the data"
        f"{', with the real label smoothed nearer in every seed' if helps else ''}."
    )
    if off > NEAR or not (helps or harms or lets_off):
        return Verdict("does not hold", reason)
    limits = []
    if not helps:
        limits.append(f" The real label smoothed is better in {_better(real, none)} seeds of {len(none)}.")
    if not harms:
        known = "The push shows how the fake label smoothed can harm, but" if lets_off else "And"
        limits.append(
            f" {known} on the ring both smoothed are worse than one in {_better(real, both)} of {len(none)} seeds only."
        )
    if not lets_off:
        limits.append(" Smoothing the fake label leaves the push as it is.")
    if saturating[1] < SAME * saturating[0]:
        limits.append(
            f" Against the vanishing gradient of log(1 − D), for which the notes want it, it does nothing: the best "
            f"critic pushes with {saturating[0]:.3f} without and {saturating[1]:.3f} with it."
        )
    return Verdict("holds with limits" if limits else "holds", reason + "".join(limits))


def _better(a: list[float], b: list[float]) -> int:
    return sum(x < y for x, y in zip(a, b, strict=True))


RING = ("distance, ring", "good samples", "modes")


def table(numbers: Numbers) -> Table:
    """What is known of each pair of labels on the line, and measured on the ring."""
    rows: Table = [
        ("labels, real and fake", "D − formula", "push, −log D", "trained", "push, log(1 − D)", "trained", *RING)
    ]
    for name in LABELS:
        found, games = numbers["critics"][name], numbers["games"][name]
        pushes = (f"{found[key][who]:.3f}" for key in ("push", "minimax push") for who in ("best", "trained"))
        covered = sorted({run["covered"] for run in games})
        modes_ = f"{covered[0]}" if len(covered) == 1 else f"{covered[0]}–{covered[-1]}"
        scores = (spread([run[key] for run in games], form) for key, form in (("distance", ".2f"), ("good", ".2f")))
        rows.append((name, f"{found['distance']:.3f}", *pushes, *scores, modes_))
    return rows


def draw(numbers: Numbers) -> Figure:
    """The critics on the line, the pushes, the distances on the ring."""
    from danlu.experiments.harness.plots import colors, legend_above, panels, quiet

    figure, (left, middle, right) = panels(3, height=2.5, width_ratios=(1.5, 1, 1))
    for number, (name, found) in enumerate(numbers["critics"].items()):
        curves, color = found["curves"], colors()[number]
        left.plot(curves["x"], curves["best"], color=color, label=name)
        left.plot(curves["x"][::8], curves["trained"][::8], "o", color=color, markersize=2.5)
        middle.bar(number, found["push"]["best"], 0.6, color=color)
        distances = [run["distance"] for run in numbers["games"][name]]
        right.bar(number, fmean(distances), 0.6, color=color, alpha=0.8)
        right.plot([number] * len(distances), distances, "o", color=quiet(), markersize=2.5)
    for place, density, label in ((0, "p", "data"), (4, "q", "generated")):
        curves = numbers["critics"][NONE]["curves"]
        left.fill_between(curves["x"], curves[density], color=quiet(), alpha=0.2, linewidth=0)
        left.annotate(label, (place, 0.43), ha="center", fontsize=7, color=quiet())
    left.set(title="best critic (dots: trained)", xlabel="x", ylabel="D(x)", ylim=(-0.03, 1.05), yticks=(0, 0.5, 1))
    middle.set(title="push on the generator", ylabel="mean slope of −log D")
    right.set(title="ring: distance", ylabel="from the data")
    for axes in (middle, right):
        axes.set(xticks=range(len(LABELS)), xlabel="labels")
        axes.set_xticklabels([name.replace(" and ", "\n") for name in LABELS])
        axes.grid(True, axis="y")
    legend_above(figure, left)
    return figure


EXPERIMENT = Experiment(measure, judge, table, draw)
