"""Clipping drives weights to ±c; the penalty does not (notes, 2.2.5.2).

Fully connected WGANs are trained on the ring of eight Gaussians with weights clipped at c = 0.01, 0.1 or 0.3, or with a
gradient penalty; everything else is equal, including Adam. The experiment examines the weight matrices between the
hidden layers of the critic. Their initial weights are within ±0.09, so c = 0.01 clips most of them immediately, while
weights reach 0.1 and 0.3 only through training. It measures the fraction of weights within a twentieth of the bound
after the first round and after training (with the penalty, of the largest weight of the matrix), and the slope of the
critic between real and generated points. The optimal critic has slope 1 along the transport lines. Three seeds.
"""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from danlu.data.base.batch_stream import Shuffled
from danlu.data.base.dataset import Part
from danlu.data.datasets.toy_2d import sample_ring
from danlu.experiments.harness.experiment import JudgedExperiment, Numbers, ProgressCallback, Table, Verdict
from danlu.experiments.harness.gan_on_digits import pair
from danlu.experiments.harness.trainers import spread
from danlu.losses.adversarial import slopes
from danlu.models.adversarial.base import Critic, Generator
from danlu.models.adversarial.mlp import MLPCritic, MLPGenerator
from danlu.rng.keys import generator as generator_of
from danlu.tasks.adversarial import Adversarial, Techniques
from danlu.training.optimization.settings import OptimizerSettings
from danlu.training.trainer import Trainer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HIDDEN, LATENT, BATCH, POINTS = (128, 128, 128), 8, 64, 2000
CLIPS = (0.01, 0.1, 0.3)
PENALTY = "penalty"
EDGE = 0.95  # a weight of at least this fraction of the bound is at the bound (Adam steps of 0.001 may move it inward)
GATHERED = 0.25  # fraction of weights at the bound from which they gather there: five times the uniform fraction
MOST = 0.5  # fraction from which most weights are at the bound
UNIFORM = 0.05  # fraction up to which they do not gather: that of uniform weights
NEAR_ONE = (0.5, 2.0)  # range in which a median slope counts as about 1
BINS, SHOWN = 40, "0.1"  # bins of the histogram, and the c that it shows


def largest_initial_weight() -> float:
    """The largest initial weight of the hidden matrices with PyTorch's default initialization."""
    return HIDDEN[0] ** -0.5


def measure(seed: int, progress: ProgressCallback, quick: bool = False) -> Numbers:
    """Fraction of weights at the bound after one round and at the end, slopes and histogram, by bound and seed."""
    seeds = range(seed, seed + (1 if quick else 3))
    rounds = 15 if quick else 600
    numbers: Numbers = {"runs": {name: [] for name in (*map(str, CLIPS), PENALTY)}}
    for done, (name, run_seed) in enumerate((name, run_seed) for name in numbers["runs"] for run_seed in seeds):
        progress("GANs", done, len(numbers["runs"]) * len(seeds))
        numbers["runs"][name].append(_train(None if name == PENALTY else float(name), rounds, run_seed))
    return numbers


def _train(clip: float | None, rounds: int, seed: int) -> Numbers:
    generator, critic = pair(
        lambda: cast(Generator, MLPGenerator((2,), 0, None, LATENT, HIDDEN[1:])),
        lambda: cast(Critic, MLPCritic((2,), 0, HIDDEN)),
        seed,
    )
    techniques = Techniques(critic_turns=3, weight_clip=clip, penalty=0.0 if clip else 10.0)
    points, _ = sample_ring(20_000, generator_of("points", seed))
    stream = Shuffled(Part({"x": points}), BATCH, seed)
    settings = OptimizerSettings(optimizer="adam", lr=1e-3, betas=(0.0, 0.9))
    trainer = Trainer(Adversarial(generator, critic, "wasserstein", techniques, "x"), settings, stream, rounds, seed)
    fractions = [at_the_bound(critic, clip) for report in trainer if report.round in (1, rounds)]
    return {
        "first": fractions[0],
        "end": fractions[-1],
        "slopes": steepness(generator, critic, points[:POINTS], seed),
        "histogram": histogram(critic, clip),
    }


def hidden(critic: nn.Module) -> list[Float[Tensor, "m n"]]:
    """The weight matrices between hidden layers."""
    return [p.detach() for p in critic.parameters() if p.shape == HIDDEN[:2]]


def _over_the_bound(critic: nn.Module, clip: float | None) -> Tensor:
    """Each weight divided by c, or without clipping by the largest weight of its matrix."""
    return torch.cat([(weight / (clip or weight.abs().max())).flatten() for weight in hidden(critic)])


def at_the_bound(critic: nn.Module, clip: float | None) -> float:
    """Fraction of hidden weights at the bound."""
    return float((_over_the_bound(critic, clip).abs() >= EDGE).double().mean())


def histogram(critic: nn.Module, clip: float | None) -> list[float]:
    """Fraction of weights in each bin from -1 to 1 times the bound."""
    counts = torch.histc(_over_the_bound(critic, clip).clamp(-1, 1), BINS, -1, 1)
    return (counts / counts.sum()).tolist()


def steepness(generator: Generator, critic: Critic, real: Float[Tensor, "n 2"], seed: int) -> list[float]:
    """Quantiles 0.1, 0.5 and 0.9 of the critic's slope at points between real and generated ones."""
    source = generator_of("between", seed)
    with torch.no_grad():
        fake = generator.sample(len(real), generator=source)
        x = fake.lerp(real, torch.rand(len(real), 1, generator=source))
    x.requires_grad_()
    results = slopes(critic(x), x).detach()
    return results.quantile(torch.tensor([0.1, 0.5, 0.9])).tolist()


def verdict(numbers: Numbers) -> Verdict:
    """Holds if most weights gather at each bound above the initial weights, in every seed.

    With the penalty few weights may gather, and slopes must be about 1.
    """
    runs = numbers["runs"]
    final_fractions = {name: [run["end"] for run in results] for name, results in runs.items()}
    far = [name for name in map(str, CLIPS) if float(name) > largest_initial_weight()]
    middle = {name: fmean(run["slopes"][1] for run in results) for name, results in runs.items()}
    fractions_text = ", ".join(f"{fmean(final_fractions[str(c)]):.0%} at c = {c}" for c in CLIPS)
    reason = (
        f"Fraction of hidden weights at the bound after training: {fractions_text}; with the penalty, within a "
        f"twentieth of the largest weight: {fmean(final_fractions[PENALTY]):.1%}. The median slope is "
        f"{', '.join(f'{middle[str(c)]:.2g}' for c in CLIPS)} for these c, and {middle[PENALTY]:.2f} with the penalty."
    )
    if any(min(final_fractions[name]) < GATHERED for name in far) or max(final_fractions[PENALTY]) > UNIFORM:
        return Verdict("does not hold", reason)
    limits = []
    if rest := [name for name in far if min(final_fractions[name]) < MOST]:
        limits.append(f" Weights gather at ±c, but not most of them, for c = {' and '.join(rest)}.")
    if not all(NEAR_ONE[0] <= run["slopes"][1] <= NEAR_ONE[1] for run in runs[PENALTY]):
        limits.append(" With the penalty the slope is not about 1.")
    return Verdict("holds with limits" if limits else "holds", reason + "".join(limits))


def table(numbers: Numbers) -> Table:
    """Weights at the bound and slopes, by bound."""
    rows: Table = [
        ("critic", "at the bound after 1 round", "after training", "slope, median", "quantile 0.1", "quantile 0.9")
    ]
    for name, runs in numbers["runs"].items():
        low, middle, high = ([run["slopes"][index] for run in runs] for index in range(3))
        fractions = (spread([run[when] for run in runs], ".1%") for when in ("first", "end"))
        label = "gradient penalty" if name == PENALTY else f"clipped at {name}"
        rows.append((label, *fractions, spread(middle, ".2g"), f"{fmean(low):.2g}", f"{fmean(high):.2g}"))
    return rows


def plot(numbers: Numbers) -> Figure:
    """Histograms of weights relative to the bound, and slopes."""
    from danlu.experiments.harness.plots import colors, logarithmic, panels, secondary_color

    figure, (*left, right) = panels(3, height=2.3)
    centers = [-1 + (2 * index + 1) / BINS for index in range(BINS)]
    titles = {SHOWN: f"clipped at c = {SHOWN}", PENALTY: "gradient penalty"}
    for number, (axes, name) in enumerate(zip(left, (SHOWN, PENALTY), strict=True)):
        axes.bar(centers, numbers["runs"][name][0]["histogram"], 2 / BINS, color=colors()[number])
        axes.set(title=titles[name], xticks=[-1, 0, 1], xlabel="hidden weight")
    left[0].set(xticklabels=["−c", "0", "c"], ylabel="fraction of weights")
    left[1].set(xticklabels=["−largest", "0", "largest"])
    names = list(numbers["runs"])
    for index, name in enumerate(names):
        color = colors()[int(name == PENALTY)]
        for run in numbers["runs"][name]:
            low, middle, high = run["slopes"]
            right.plot([index, index], [low, high], color=color, linewidth=0.8, alpha=0.5)
            right.plot(index, middle, "os"[name == PENALTY], color=color, markersize=4)
    right.axhline(1, color=secondary_color(), linewidth=0.8, linestyle="dotted")
    logarithmic(right.yaxis)
    right.set(title="slope of the critic", xticks=range(len(names)), xlim=(-0.5, len(names) - 0.5))
    right.set(xticklabels=[*names[:-1], "penalty"], xlabel="clipping bound c, or penalty")
    return figure


EXPERIMENT = JudgedExperiment(measure, verdict, table, plot)
