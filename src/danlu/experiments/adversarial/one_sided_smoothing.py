"""Smoothing the target of real examples helps, that of generated examples harms (notes, 2.2.4.2).

The notes give a reason for each part: smoothing the real target avoids the vanishing gradient; with a smoothed target
of generated examples, a generator is hardly punished for noise. Mathematics decides about the reasons, so they are not
criteria of the verdict: they are computed and stated beside it. With target a for real examples and target b for
generated ones, the optimal critic is D = (a p + b q) / (p + q) (Salimans et al., "Improved techniques for training
GANs", 2016, section 3.4). The data are N(0, 1) and the generator produces N(4, 1), so almost all generated examples are
far from the data. The gradient on the generator's mean follows by numerical integration: E_q |d/dx log(1 − D)| for the
minimax loss, E_q |d/dx log D| for −log D. Smoothing the real target multiplies the first by at most its target.

Whether smoothing helps or harms is decided by games, in a setting in which training without smoothing is unstable:
generators are trained on eight Gaussians on a ring with Adam, learning rate 0.002 that falls to 0, and the loss −log D.
Their quality is the sliced Wasserstein distance to new points of the data, with averaged weights. Training with and
without the smoothed real target is repeated with three times the rounds.
"""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, cast

import torch
from jaxtyping import Float
from torch import Tensor

from danlu.data.base.batch_stream import Shuffled
from danlu.data.base.dataset import Part
from danlu.data.datasets.toy_2d import RING_DEVIATION, ring_centers, sample_ring
from danlu.experiments.adversarial.optimal_discriminator import POINTS, Pair
from danlu.experiments.harness.criteria import Comparison, Criteria, Judgment
from danlu.experiments.harness.experiment import Experiment, Numbers, ProgressCallback, Table
from danlu.experiments.harness.gan_on_digits import pair, samples
from danlu.experiments.harness.parallel import run_each
from danlu.experiments.harness.seeds import seeds
from danlu.experiments.harness.wording import mean_and_range, number
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
UNTRAINED, DATA = "untrained generator", "other points of the data"
FAR_APART = Pair([1.0], [0.0], [1.0], 4.0, 1.0)
MINIMAX, NON_SATURATING = LOSSES = ("gradient, log(1 − D)", "gradient, −log D")
HIDDEN, LATENT, BATCH, POINTS_OF_RING, SAMPLES = (64, 64), 8, 64, 20_000, 2500
ROUNDS, LONGER, EVALUATIONS = 1200, 3, 6


def measure(seed: int, progress: ProgressCallback, quick: bool = False) -> Numbers:
    """Gradients with the optimal critic for each pair of targets, and the quality of generators by seed."""
    run_seeds, rounds = (seeds(seed, 2), 48) if quick else (seeds(seed, 7), ROUNDS)
    critics = {name: optimal_critic(labels) for name, labels in LABELS.items()}
    arms: Numbers = {
        name: {loss: [critic[loss]] * len(run_seeds) for loss in LOSSES} for name, critic in critics.items()
    }
    arms |= {name: {"distance": []} for name in (UNTRAINED, DATA, _longer(NONE), _longer(REAL))}
    curves: Numbers = {name: [] for name in LABELS}
    longer = [(run_seed, name, LONGER * rounds) for run_seed in run_seeds for name in (NONE, REAL)]
    runs = [*longer, *((run_seed, name, rounds) for run_seed in run_seeds for name in LABELS)]  # the longest first
    for (_, name, length), results in zip(runs, run_each(train_on_ring, runs, progress, "GANs"), strict=True):
        if length > rounds:
            arms[_longer(name)]["distance"].append(results["distance"])
            continue
        curves[name].append(results.pop("curve"))
        for quantity, value in results.items():
            arms[name].setdefault(quantity, []).append(value)
    arms[UNTRAINED]["distance"] = [curve[0] for curve in curves[NONE]]
    for run_seed in run_seeds:
        other = sample_ring(SAMPLES, generator_of("other", run_seed))[0]
        arms[DATA]["distance"].append(sliced_wasserstein(other, _test_points(run_seed)))
    every = rounds // EVALUATIONS
    return {"arms": arms, "curves": curves, "rounds": list(range(0, rounds + 1, every)), "critics": critics}


def _test_points(seed: int) -> Float[Tensor, "n 2"]:
    """New points of the data."""
    return sample_ring(SAMPLES, generator_of("test", seed))[0]


def _longer(name: str) -> str:
    """The arm of a pair of targets with more rounds."""
    return f"{name}, {LONGER} times the rounds"


def best(labels: tuple[float, float]) -> Float[Tensor, "points"]:
    """D of the optimal critic at the points where p + q is not 0."""
    log_p, log_q = (density.log_prob(POINTS) for density in FAR_APART.densities())
    fraction = (log_p - log_q).sigmoid()
    return labels[0] * fraction + labels[1] * (1 - fraction)


def optimal_critic(labels: tuple[float, float]) -> Numbers:
    """The optimal critic in one dimension: its gradients on the generator, and D as a curve."""
    exact = best(labels)
    p, q = (density.log_prob(POINTS).exp() for density in FAR_APART.densities())
    shown = slice(int(torch.searchsorted(POINTS, -3.0)), int(torch.searchsorted(POINTS, 7.0)), 10)
    curves = {name: curve[shown].tolist() for name, curve in {"x": POINTS, "D": exact, "p": p, "q": q}.items()}
    return {MINIMAX: push((1 - exact).log(), q), NON_SATURATING: push(exact.log(), q), "curves": curves}


def push(curve: Float[Tensor, "points"], q: Float[Tensor, "points"]) -> float:
    """The mean absolute slope of a curve under q."""
    slope = torch.gradient(curve, spacing=(POINTS,))[0].abs()
    return float(torch.trapezoid(torch.where(q > 1e-12, q * slope, 0.0), POINTS))


def train_on_ring(seed: int, name: str, rounds: int) -> Numbers:
    """Train a generator on the ring with a pair of targets; distances during training, and final quality."""
    labels, test = LABELS[name], _test_points(seed)
    players = pair(
        lambda: cast(MLPGenerator, MLPGenerator((2,), 0, None, LATENT, HIDDEN)),
        lambda: cast(MLPCritic, MLPCritic((2,), 0, HIDDEN)),
        seed,
    )
    task = Adversarial(*players, "non-saturating", Techniques(real_target=labels[0], fake_target=labels[1]), "x")
    settings = OptimizerSettings(optimizer="adam", lr=2e-3, betas=(0.5, 0.9), schedule="cosine")
    optimizers = {"critic": settings, "generator": settings.model_copy(update={"ema": 0.98})}
    part = Part({"x": sample_ring(POINTS_OF_RING, generator_of("points", seed))[0]})
    trainer = Trainer(task, optimizers, Shuffled(part, BATCH, seed), rounds, seed)
    curve = [sliced_wasserstein(samples(trainer, SAMPLES, seed), test)]
    for report in trainer:
        if report.round % (rounds // EVALUATIONS) == 0:
            curve.append(sliced_wasserstein(samples(trainer, SAMPLES, seed), test))
    found = modes(samples(trainer, SAMPLES, seed), ring_centers(), RING_DEVIATION, within=20.0)
    return {"curve": curve, "distance": curve[-1], "near a mode": found.good, "modes": found.covered}


LEARNS = Comparison(
    "with the real target smoothed the generator learns", REAL, UNTRAINED, "distance", 2.0, lower=True, ratio=True
)
UNSTABLE = Comparison(
    "without smoothing the generator stays far from the data", NONE, DATA, "distance", 3.0, ratio=True
)
# noise instead of data is more than a small difference: half as much again
HELPS = Comparison(
    "smoothing the real target lowers the distance to the data", REAL, NONE, "distance", 1.5, lower=True, ratio=True
)
HARMS = Comparison(
    "smoothing both targets gives a larger distance than smoothing the real one",
    BOTH,
    REAL,
    "distance",
    1.5,
    ratio=True,
)
STAYS = Comparison(
    f"smoothing the real target lowers the distance with {LONGER} times the rounds, too", _longer(REAL), _longer(NONE),
    "distance", 1.5, lower=True, ratio=True,
)  # fmt: skip
CRITERIA = Criteria(clauses=(HELPS, HARMS), gates=(LEARNS, UNSTABLE), limits=(STAYS,))


def conclude(numbers: Numbers, judgment: Judgment) -> str:
    """The distances on the ring; what is not shown; the reasons of the notes."""
    arms = numbers["arms"]
    distances = [number(fmean(arms[name]["distance"]), 2) for name in LABELS]
    text = (
        f"In an unstable GAN the final distance to the data is {distances[0]} without smoothing, {distances[1]} with "
        f"the real target smoothed and {distances[2]} with both."
    )
    text += judgment.not_shown(HELPS)
    if not judgment.supported(STAYS.clause):
        longer = [number(fmean(arms[_longer(name)]["distance"]), 2) for name in (NONE, REAL)]
        text += (
            f" With {LONGER} times the rounds the advantage is not shown: {longer[0]} without smoothing and "
            f"{longer[1]} with it."
        )
    harm = (
        " Smoothing both targets does not harm here." if judgment.refuted(HARMS.clause) else judgment.not_shown(HARMS)
    )
    return text + harm + _reasons(arms)


def _reasons(arms: Numbers) -> str:
    """What mathematics says of the reasons in the notes: the gradients with the optimal critic, after a space."""
    minimax, non_saturating = ({name: arms[name][loss][0] for name in LABELS} for loss in LOSSES)
    factor, left = minimax[REAL] / minimax[NONE], non_saturating[BOTH] / non_saturating[REAL]
    first = "does not enlarge" if factor <= 1 else "enlarges"
    second = "right" if left < 1 else "wrong"
    return (
        " Mathematics decides about the reasons in the notes: with the optimal critic, smoothing the real target "
        f"{first} the vanishing gradient of log(1 − D) (factor {number(factor, 2)}). The reason against smoothing both "
        f"is {second}: far from the data this multiplies the gradient of −log D by {number(left, 2)}."
    )


def table(numbers: Numbers) -> Table:
    """Gradients of the optimal critic, and results on the ring, for each pair of targets."""
    quantities = (*LOSSES, "distance", "near a mode", "modes")
    rows: Table = [("targets, real and fake", *LOSSES, "distance, ring", "samples near a mode", "modes")]
    for name, values in numbers["arms"].items():
        cells = (values.get(quantity) for quantity in quantities)
        rows.append((name, *("–" if cell is None else mean_and_range(cell) for cell in cells)))
    return rows


def plot(numbers: Numbers) -> Figure:
    """Critics in one dimension, gradients on the generator, distances on the ring."""
    from danlu.experiments.harness.plots import colors, legend_above, line, logarithmic, panels, secondary_color

    figure, (left, middle, right) = panels(3, height=2.5, width_ratios=(1.2, 1, 1.2))
    for index, (name, results) in enumerate(numbers["critics"].items()):
        left.plot(results["curves"]["x"], results["curves"]["D"], color=colors()[index], label=name)
        for place, loss in enumerate(LOSSES):
            middle.bar(place + 0.25 * (index - 1), results[loss], 0.25, color=colors()[index])
        line(right, numbers["rounds"], numbers["curves"][name], index, name)
    for place, density, label in ((0, "p", "data"), (4, "q", "generated")):
        curves = numbers["critics"][NONE]["curves"]
        left.fill_between(curves["x"], curves[density], color=secondary_color(), alpha=0.2, linewidth=0)
        left.annotate(label, (place, 0.43), ha="center", fontsize=7, color=secondary_color())
    left.set(title="optimal critic", xlabel="x", ylabel="D(x)", ylim=(-0.03, 1.05), yticks=(0, 0.5, 1))
    middle.set(title="generator gradient", ylabel="mean slope", xlabel="loss of the generator")
    middle.set_xticks(range(len(LOSSES)), [loss.removeprefix("gradient, ") for loss in LOSSES])
    middle.grid(True, axis="y")
    right.set(title="ring", ylabel="distance to the data", xlabel="rounds", xlim=(0, None))
    logarithmic(right.yaxis, (0.1, 0.2, 0.5, 1, 2))
    legend_above(figure, left)
    return figure


EXPERIMENT = Experiment(
    measure=measure,
    criteria=CRITERIA,
    conclude=conclude,
    table=table,
    plot=plot,
    method=(
        "Generators are trained on a ring of eight Gaussians with each pair of targets, with settings with which "
        "training without smoothing is unstable; this decides the verdict. In addition, the gradient on a generator "
        "that is far from the data is computed with the optimal critic for each pair of targets, which only "
        "demonstrates what mathematics says."
    ),
    caption=(
        "Colors are the targets of real and generated examples. Left: optimal critic, with data and generated examples "
        "in gray. Middle: gradient on the generator with this critic, for the loss of the notes and for −log D. Right: "
        "distance of the generated points to the data during training; lines are means, bands ranges over the seeds."
    ),
)
