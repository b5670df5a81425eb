"""Clipping drives weights to ±c; the penalty does not (notes, 2.2.5.2).

WGANs of fully connected players learn the ring of eight Gaussians, with weights clipped at c = 0.01, 0.1 or 0.3, or
with a gradient penalty; all else is equal, Adam too. Looked at are the matrices between the critic's hidden layers,
whose weights begin within ±0.09: c = 0.01 cuts most of them at once, while to 0.1 and 0.3 they must be driven. How many
are within a twentieth of the bound, after the first round and in the end (with the penalty, of the largest weight of
their matrix)? And how steep is the critic between real and generated points, where the optimal one has slope 1 on the
lines along which it pays to transport? Three seeds.
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
from danlu.experiments.harness.experiment import Experiment, Numbers, Table, Tell, Verdict
from danlu.experiments.harness.gan_on_digits import pair
from danlu.experiments.harness.trainers import spread
from danlu.losses.adversarial import slopes
from danlu.models.adversarial.base import Critic, Generator
from danlu.models.adversarial.mlp import MLPCritic, MLPGenerator
from danlu.rng.keys import generator as generator_of
from danlu.tasks.adversarial import Adversarial, Techniques
from danlu.training.optimization import OptimizerSettings
from danlu.training.trainer import Trainer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HIDDEN, LATENT, BATCH, POINTS = (128, 128, 128), 8, 64, 2000
CLIPS = (0.01, 0.1, 0.3)
PENALTY = "penalty"
EDGE = 0.95  # of the bound: from there on a weight is at it, also if a few steps (of 0.001) last took it inward
GATHERED = 0.25  # share of weights at the bound from which they gather there: five times what evenly spread ones have
MOST = 0.5  # and from which most of them do
FREE = 0.05  # and up to which they do not: as many as evenly spread ones
NEAR_ONE = (0.5, 2.0)  # between which a median slope is about 1
BINS, SHOWN = 40, "0.1"  # of the histogram of weights over the bound, and the c that it is of


def begins_within() -> float:
    """The largest weight that torch begins the hidden matrices with."""
    return HIDDEN[0] ** -0.5


def measure(seed: int, tell: Tell, quick: bool = False) -> Numbers:
    """Share of weights at the bound at first and in the end, slopes, and a histogram, by bound and seed."""
    seeds = range(seed, seed + (1 if quick else 3))
    rounds = 15 if quick else 600
    numbers: Numbers = {"runs": {name: [] for name in (*map(str, CLIPS), PENALTY)}}
    for done, (name, own) in enumerate((name, own) for name in numbers["runs"] for own in seeds):
        tell("games", done, len(numbers["runs"]) * len(seeds))
        numbers["runs"][name].append(_play(None if name == PENALTY else float(name), rounds, own))
    return numbers


def _play(clip: float | None, rounds: int, seed: int) -> Numbers:
    generator, critic = pair(
        lambda: cast(Generator, MLPGenerator((2,), 0, None, LATENT, HIDDEN[1:])),
        lambda: cast(Critic, MLPCritic((2,), 0, HIDDEN)),
        seed,
    )
    how = Techniques(critic_turns=3, weight_clip=clip, penalty=0.0 if clip else 10.0)
    points, _ = sample_ring(20_000, generator_of("points", seed))
    stream = Shuffled(Part({"x": points}), BATCH, seed)
    descent = OptimizerSettings(optimizer="adam", lr=1e-3, betas=(0.0, 0.9))
    trainer = Trainer(Adversarial(generator, critic, "wasserstein", how, "x"), descent, stream, rounds, seed)
    shares = [at_the_bound(critic, clip) for report in trainer if report.round in (1, rounds)]
    return {
        "first": shares[0],
        "end": shares[-1],
        "slopes": steepness(generator, critic, points[:POINTS], seed),
        "histogram": histogram(critic, clip),
    }


def hidden(critic: nn.Module) -> list[Float[Tensor, "m n"]]:
    """The matrices between hidden layers."""
    return [p.detach() for p in critic.parameters() if p.shape == HIDDEN[:2]]


def _over_the_bound(critic: nn.Module, clip: float | None) -> Tensor:
    """Each weight over c, or over the largest of its matrix if none is clipped."""
    return torch.cat([(weight / (clip or weight.abs().max())).flatten() for weight in hidden(critic)])


def at_the_bound(critic: nn.Module, clip: float | None) -> float:
    """Share of hidden weights at the bound."""
    return float((_over_the_bound(critic, clip).abs() >= EDGE).double().mean())


def histogram(critic: nn.Module, clip: float | None) -> list[float]:
    """Share of weights in each of the bins from -1 to 1 times the bound."""
    counts = torch.histc(_over_the_bound(critic, clip).clamp(-1, 1), BINS, -1, 1)
    return (counts / counts.sum()).tolist()


def steepness(generator: Generator, critic: Critic, real: Float[Tensor, "n 2"], seed: int) -> list[float]:
    """Slope of the critic at a tenth, half and nine tenths of points between real and generated ones."""
    source = generator_of("between", seed)
    with torch.no_grad():
        fake = generator.sample(len(real), generator=source)
        x = fake.lerp(real, torch.rand(len(real), 1, generator=source))
    x.requires_grad_()
    found = slopes(critic(x), x).detach()
    return found.quantile(torch.tensor([0.1, 0.5, 0.9])).tolist()


def judge(numbers: Numbers) -> Verdict:
    """Weights gather at each bound to which they had to be driven, most of them and in every seed.

    With the penalty hardly any do, and slopes are about 1.
    """
    runs = numbers["runs"]
    ends = {name: [run["end"] for run in found] for name, found in runs.items()}
    far = [name for name in map(str, CLIPS) if float(name) > begins_within()]
    middle = {name: fmean(run["slopes"][1] for run in found) for name, found in runs.items()}
    said = ", ".join(f"{fmean(ends[str(c)]):.0%} at c = {c}" for c in CLIPS)
    reason = (
        f"Of the hidden weights end at the bound: {said}; within a twentieth of the largest with the penalty: "
        f"{fmean(ends[PENALTY]):.1%}. The median slope is {', '.join(f'{middle[str(c)]:.2g}' for c in CLIPS)} with "
        f"these c, and {middle[PENALTY]:.2f} with the penalty."
    )
    if any(min(ends[name]) < GATHERED for name in far) or max(ends[PENALTY]) > FREE:
        return Verdict("does not hold", reason)
    limits = []
    if rest := [name for name in far if min(ends[name]) < MOST]:
        limits.append(f" They gather at ±c, but not most of them, at c = {' and '.join(rest)}.")
    if not all(NEAR_ONE[0] <= run["slopes"][1] <= NEAR_ONE[1] for run in runs[PENALTY]):
        limits.append(" The penalty does not bring the slope to 1.")
    return Verdict("holds with limits" if limits else "holds", reason + "".join(limits))


def table(numbers: Numbers) -> Table:
    """Weights at the bound and slopes, by bound."""
    rows: Table = [("critic", "at the bound after 1 round", "in the end", "slope, median", "tenth", "nine tenths")]
    for name, runs in numbers["runs"].items():
        low, middle, high = ([run["slopes"][place] for run in runs] for place in range(3))
        shares = (spread([run[when] for run in runs], ".1%") for when in ("first", "end"))
        called = "gradient penalty" if name == PENALTY else f"clipped at {name}"
        rows.append((called, *shares, spread(middle, ".2g"), f"{fmean(low):.2g}", f"{fmean(high):.2g}"))
    return rows


def draw(numbers: Numbers) -> Figure:
    """Weights over the bound, clipped and with the penalty, and slopes."""
    from danlu.experiments.harness.plots import colors, logarithmic, panels, quiet

    figure, (*left, right) = panels(3, height=2.3)
    places = [-1 + (2 * place + 1) / BINS for place in range(BINS)]
    titles = {SHOWN: f"clipped at c = {SHOWN}", PENALTY: "gradient penalty"}
    for number, (axes, name) in enumerate(zip(left, (SHOWN, PENALTY), strict=True)):
        axes.bar(places, numbers["runs"][name][0]["histogram"], 2 / BINS, color=colors()[number])
        axes.set(title=titles[name], xticks=[-1, 0, 1], xlabel="hidden weight")
    left[0].set(xticklabels=["−c", "0", "c"], ylabel="share of weights")
    left[1].set(xticklabels=["−largest", "0", "largest"])
    names = list(numbers["runs"])
    for place, name in enumerate(names):
        color = colors()[int(name == PENALTY)]
        for run in numbers["runs"][name]:
            low, middle, high = run["slopes"]
            right.plot([place, place], [low, high], color=color, linewidth=0.8, alpha=0.5)
            right.plot(place, middle, "os"[name == PENALTY], color=color, markersize=4)
    right.axhline(1, color=quiet(), linewidth=0.8, linestyle="dotted")
    logarithmic(right.yaxis)
    right.set(title="slope of the critic", xticks=range(len(names)), xlim=(-0.5, len(names) - 0.5))
    right.set(xticklabels=[*names[:-1], "penalty"], xlabel="clipped at c, or penalty")
    return figure


EXPERIMENT = Experiment(measure, judge, table, draw)
