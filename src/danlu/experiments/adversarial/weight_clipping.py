"""Clipping drives weights to ±c; the gradient penalty does not (notes, 2.2.5.2).

Fully connected WGANs are trained on the ring of eight Gaussians with weights clipped at c, or with a gradient penalty;
all critics have three turns per round and Adam without momentum. The learning rate of a clipped critic is c / 100, so
that steps are equally small beside the bound; with the penalty it is 0.001.

The experiment examines the weight matrices between the hidden layers of the critic. PyTorch's initial weights, uniform
within ±0.09, would be clipped by the first step at c = 0.01, the value of the notes. All critics therefore start from
the same smaller weights: every tensor is scaled down to the range ±0.005, half of the smallest c, so weights reach a
bound only if training drives them there. A weight is at the bound if it is within a twentieth of it, so of uniform
weights a twentieth is. With the penalty there is no bound, and the largest weight of each matrix takes its place.

The slope of the critic between real and generated points tells whether the constraint works: the optimal critic has
slope 1 along the transport lines.
"""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from danlu.data.base.batch_stream import Shuffled
from danlu.data.base.dataset import Part
from danlu.data.datasets.toy_2d import sample_ring
from danlu.experiments.harness.criteria import Comparison, Criteria, Judgment
from danlu.experiments.harness.experiment import Experiment, Numbers, ProgressCallback, Table
from danlu.experiments.harness.gan_on_digits import pair
from danlu.experiments.harness.parallel import run_each
from danlu.experiments.harness.seeds import seeds
from danlu.experiments.harness.wording import mean_and_range, number, percent
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
CLIPS = {"c = 0.01": 0.01, "c = 0.1": 0.1, "c = 0.3": 0.3}
PENALTY = "gradient penalty"
CRITICS: dict[str, float | None] = {**CLIPS, PENALTY: None}
NOTES, SHOWN, _ = CLIPS
EDGE = 0.95  # a weight of at least this fraction of the bound is at the bound (steps of a hundredth move it inward)
UNIFORM = 1 - EDGE
START = min(CLIPS.values()) / 2  # the largest initial weight of each tensor
ROUNDS, EVALUATIONS, AVERAGED = 900, 6, 2  # the last evaluations that are averaged
BINS = 40
SLOPES = ("median slope", "quantile 0.1", "quantile 0.9")


def measure(seed: int, progress: ProgressCallback, quick: bool = False) -> Numbers:
    """Fraction of weights at the bound and slope, by critic and seed; fractions during training, and histograms."""
    run_seeds, rounds = (seeds(seed, 2), 18) if quick else (seeds(seed, 5), ROUNDS)
    arms: Numbers = {name: {} for name in CRITICS}
    curves: Numbers = {name: [] for name in CRITICS}
    histograms: Numbers = {}
    runs = [(run_seed, name, rounds) for run_seed in run_seeds for name in CRITICS]
    for (run_seed, name, _), run in zip(runs, run_each(measure_critic, runs, progress, "GANs"), strict=True):
        curves[name].append(run.curve)
        arms[name].setdefault("before training", []).append(run.curve[0])
        arms[name].setdefault("at the bound", []).append(fmean(run.curve[-AVERAGED:]))
        for quantile, value in zip(SLOPES, run.slope, strict=True):
            arms[name].setdefault(quantile, []).append(value)
        if run_seed == run_seeds[0]:
            histograms[name] = run.histogram
    return {"arms": arms, "rounds": _rounds(rounds), "curves": curves, "histograms": histograms}


class Run(NamedTuple):
    """One critic: the fraction of weights at the bound during training, then quantiles of the slope, and weights."""

    curve: list[float]
    slope: list[float]
    histogram: list[float]


def measure_critic(seed: int, name: str, rounds: int) -> Run:
    """Train one WGAN and examine its critic."""
    generator, critic, curve = train(CRITICS[name], rounds, seed)
    return Run(curve, steepness(generator, critic, seed), histogram(critic, CRITICS[name]))


def _rounds(rounds: int) -> list[int]:
    """The rounds after which the weights are examined; 0 is before training."""
    return [0, *(rounds * (index + 1) // EVALUATIONS for index in range(EVALUATIONS))]


def train(clip: float | None, rounds: int, seed: int) -> tuple[Generator, Critic, list[float]]:
    """Train a WGAN; the networks, and the fraction of weights at the bound during training."""
    generator, critic = pair(
        lambda: cast(Generator, MLPGenerator((2,), 0, None, LATENT, HIDDEN[1:])),
        lambda: cast(Critic, MLPCritic((2,), 0, HIDDEN)),
        seed,
    )
    scale_down(critic, START)
    techniques = Techniques(critic_turns=3, weight_clip=clip, penalty=0.0 if clip else 10.0)
    points, _ = sample_ring(20_000, generator_of("points", seed))
    stream = Shuffled(Part({"x": points}), BATCH, seed)
    settings = OptimizerSettings(optimizer="adam", lr=1e-3, betas=(0.0, 0.9))
    optimizers = {"generator": settings, "critic": settings.model_copy(update={"lr": clip / 100} if clip else {})}
    trainer = Trainer(Adversarial(generator, critic, "wasserstein", techniques, "x"), optimizers, stream, rounds, seed)
    before = at_the_bound(critic, clip)
    during = [at_the_bound(critic, clip) for report in trainer if report.round in _rounds(rounds)]
    return generator, critic, [before, *during]


@torch.no_grad()
def scale_down(network: nn.Module, largest: float) -> None:
    """Scale each tensor of a network so that no value exceeds a bound in size."""
    for values in network.parameters():
        values.mul_(largest / values.abs().max().clamp(min=largest))


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


def steepness(generator: Generator, critic: Critic, seed: int) -> list[float]:
    """Median, and quantiles 0.1 and 0.9, of the critic's slope at points between new real and generated ones."""
    real, _ = sample_ring(POINTS, generator_of("real points", seed))
    source = generator_of("between", seed)
    with torch.no_grad():
        fake = generator.sample(len(real), generator=source)
        x = fake.lerp(real, torch.rand(len(real), 1, generator=source))
    x.requires_grad_()
    results = slopes(critic(x), x).detach()
    return results.quantile(torch.tensor([0.5, 0.1, 0.9])).tolist()


# a critic that learns has a slope of the order of 1 where the penalty asks for it
CONSTRAINED = Comparison(
    "with the penalty the slope of the critic is at least a half", PENALTY, 0.25, SLOPES[0], 2.0, ratio=True
)
FREE = tuple(
    Comparison(
        f"before training few weights are at the bound with {name}",
        name, UNIFORM, "before training", UNIFORM / 2, lower=True,
    )
    for name in CLIPS
)  # fmt: skip
# weights "gather" at the bound if it has at least five times as many as of uniform weights, a quarter
DRIVEN = tuple(
    Comparison(f"training drives weights to the bound with {name}", name, UNIFORM, "at the bound", 0.2)
    for name in CLIPS
)
SPREAD = Comparison(
    "with the penalty few weights are near the largest one", PENALTY, UNIFORM, "at the bound", UNIFORM / 2, lower=True
)
# "very sensitive to c": the slope grows by more than the factor 10 between the two values of c
SENSITIVE = Comparison(
    f"the slope of the critic is very sensitive to c: it is much larger with {SHOWN} than with {NOTES}",
    SHOWN, NOTES, SLOPES[0], CLIPS[SHOWN] / CLIPS[NOTES], ratio=True,
)  # fmt: skip
CRITERIA = Criteria(clauses=(*DRIVEN, SPREAD, SENSITIVE), gates=(CONSTRAINED, *FREE))


def conclude(numbers: Numbers, judgment: Judgment) -> str:
    """The fractions at the bounds; then what is not shown, and the slopes."""
    arms = numbers["arms"]
    at = {name: percent(fmean(arms[name]["at the bound"])) for name in CRITICS}
    before = percent(max(fmean(arms[name]["before training"]) for name in CLIPS))
    slopes_ = {name: number(fmean(arms[name][SLOPES[0]]), 2) for name in CRITICS}
    notes, shown, large = CLIPS
    return (
        f"After training {at[notes]} of the hidden weights are at the bound with {notes}, {at[shown]} with {shown} and "
        f"{at[large]} with {large}, and before training {before}; with the penalty {at[PENALTY]} are within a "
        f"twentieth of the largest one.{judgment.not_shown(*CRITERIA.clauses)} The median slope of the critic is "
        f"{slopes_[notes]} with {notes}, the value in the notes, {slopes_[shown]} with {shown}, and {slopes_[PENALTY]} "
        "with the penalty, which asks for 1."
    )


def table(numbers: Numbers) -> Table:
    """Weights at the bound and slopes, by critic."""
    rows: Table = [
        (
            "critic",
            "at the bound, before training",
            "at the bound, last third",
            "slope, median",
            "quantile 0.1",
            "quantile 0.9",
        )
    ]
    arms = numbers["arms"]
    for name in numbers["curves"]:
        cells = (mean_and_range(arms[name][m], 2) for m in ("before training", "at the bound", *SLOPES))
        rows.append((name, *cells))
    return rows


def plot(numbers: Numbers) -> Figure:
    """Histograms of weights relative to the bound, and the fraction at the bound during training."""
    from danlu.experiments.harness.plots import colors, legend_above, line, panels

    figure, axes = panels(4, height=2.2, width_ratios=(1, 1, 1, 1.5))
    *left, right = axes
    centers = [-1 + (2 * index + 1) / BINS for index in range(BINS)]
    for panel, name in zip(left, (NOTES, SHOWN, PENALTY), strict=True):
        color = colors()[list(CRITICS).index(name)]
        panel.bar(centers, numbers["histograms"][name], 2 / BINS, color=color)
        panel.set(title=name, xticks=[-1, 0, 1], xticklabels=["−c", "0", "c"], xlabel="hidden weight", yticks=[])
    left[-1].set_xticklabels(["−max", "0", "max"])
    left[0].set_ylabel("fraction of weights")
    for index, (name, curves) in enumerate(numbers["curves"].items()):
        line(right, numbers["rounds"], [[100 * v for v in curve] for curve in curves], index, name)
    right.set(title="at the bound", ylabel="% of the hidden weights", xlabel="rounds", ylim=(0, 100))
    legend_above(figure, right)
    return figure


EXPERIMENT = Experiment(
    measure=measure,
    criteria=CRITERIA,
    conclude=conclude,
    table=table,
    plot=plot,
    method=(
        "WGANs with weights clipped at three values of c and with a gradient penalty are trained on eight Gaussians on "
        f"a ring, with equal updates and from the same initial weights, which are scaled to ±{START:g}, half of the "
        "smallest c, so that the start has none clipped. Measured is the fraction of the critic's hidden weights "
        "within a twentieth of the bound (with the penalty: of the largest weight) before and in the last third of the "
        "training."
    ),
    caption=(
        "Left: the hidden weights of the critic after training, relative to the bound or to the largest weight, first "
        "seed. Right: fraction of the weights at the bound during training; lines are means, bands ranges over the "
        "seeds."
    ),
)
