"""Momentum damps oscillation and converges faster (notes, 0.3.3).

A quadratic is the one place where everything can be known: f(x) = (x₁² + x₂²/κ)/2 is a valley κ times as steep across
as along. Gradient descent with and without momentum goes down it from 16 directions, at many learning rates. Measured
are the steps until the distance to the minimum stays below a thousandth of what it was, and the length of the way until
then, where the straight way has length 1: who swings to and fro goes a longer way.
"""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn

from danlu.data.base.batch_stream import Batch, Shuffled
from danlu.data.base.dataset import Part
from danlu.experiments.harness.experiment import Experiment, Numbers, Table, Tell, Verdict
from danlu.losses.per_example import per_example
from danlu.rng.keys import generator
from danlu.tasks.task import Descend, Task, Terms, Turn
from danlu.training.optimization import OptimizerSettings
from danlu.training.runtime import Runtime
from danlu.training.trainer import Trainer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GAMMA = 0.9  # what the notes call usual
RATES = (0.05, 0.1, 0.2, 0.4, 0.8, 1.2, 1.6, 1.8, 1.9, 1.95, 2.4, 3.0, 3.6)  # times 1/λ, for λ = 1 across the valley
LIMITS = {"without": 2.0, "with": 2 * (1 + GAMMA)}  # from which rate on a quadratic diverges (Polyak 1964)
STARTS = 16
TOLERANCE = 1e-3
ILL = 100  # from which condition on a valley is ill-conditioned
FASTER = 4 / 3  # times: a quarter fewer steps, or more than that
SHOWN = 100  # the condition that the figure shows


class Valley(Task):
    """A point for each start goes down f(x) = (x₁² + x₂²/κ)/2; the points do not feel each other.

    Args:
        starts: where the points begin.
        condition: κ, how many times steeper the valley is across than along.
    """

    def __init__(self, starts: Float[Tensor, "n 2"], condition: float):
        super().__init__()
        self.walkers = nn.Module()
        self.walkers.register_parameter("points", nn.Parameter(starts.clone()))
        self.register_buffer("steepness", torch.tensor([1.0, 1 / condition], dtype=starts.dtype))

    def players(self) -> dict[str, nn.Module]:
        return {"walkers": self.walkers}

    def turns(self, round: int) -> list[Turn]:
        return [Descend("walkers", self.height)]

    def height(self, batch: Batch) -> Terms:
        """f, summed over the points."""
        points, steepness = self.walkers.get_parameter("points"), self.get_buffer("steepness")
        return {"height": per_example((points.square() * steepness).sum() / 2, len(batch))}


def walk(
    starts: Float[Tensor, "n 2"], condition: float, lr: float, momentum: float, steps: int
) -> Float[Tensor, "t n 2"]:
    r"""Where the points are after 0, 1, 2, … steps, until all are far below the tolerance.

    .. math:: v_{t+1} = \gamma v_t + \nabla f(x_t), \qquad x_{t+1} = x_t - \eta v_{t+1}

    Polyak, "Some methods of speeding up the convergence of iteration methods", 1964.
    """
    task = Valley(starts, condition)
    descent = (
        OptimizerSettings(optimizer="momentum", momentum=momentum, lr=lr)
        if momentum
        else OptimizerSettings(optimizer="sgd", lr=lr)
    )
    nothing = Shuffled(Part({"x": torch.zeros(1)}), 1)  # the height needs no data
    trainer = Trainer(task, descent, nothing, steps, runtime=Runtime(precision="float64"))
    points = task.walkers.get_parameter("points")
    seen = [points.detach().clone()]
    for report in trainer:
        seen.append(points.detach().clone())
        if report.round % 20 == 0 and all((late.norm(dim=1) < TOLERANCE / 3).all() for late in seen[-20:]):
            break
    return torch.stack(seen)


def measure(seed: int, tell: Tell, quick: bool = False) -> Numbers:
    """Steps and length of the way for each condition, method and rate, of each start."""
    conditions = {10: 200, 100: 2000} if quick else {10: 400, 100: 4000, 1000: 5000}  # and the most steps
    angles = 2 * torch.pi * torch.rand(STARTS, generator=generator("starts", seed), dtype=torch.float64)
    starts = torch.stack([angles.cos(), angles.sin()], dim=1)
    runs = [
        (c, who, rate)
        for c in conditions
        for who in LIMITS
        for rate in RATES[:: 3 if quick else 1]
        if rate < LIMITS[who]
    ]
    numbers: Numbers = {str(c): {who: [] for who in LIMITS} for c in conditions}
    for done, (condition, who, rate) in enumerate(runs):
        tell("valleys", done, len(runs))
        way = walk(starts, condition, rate, GAMMA if who == "with" else 0.0, conditions[condition])
        numbers[str(condition)][who].append({"rate": rate, **_of_way(way)})
    best = {who: fastest(numbers[str(SHOWN)][who])["rate"] for who in LIMITS}
    start = torch.tensor([[0.6, 0.8]], dtype=torch.float64)
    ways = {who: walk(start, SHOWN, rate, GAMMA if who == "with" else 0.0, 60) for who, rate in best.items()}
    return {"conditions": numbers, "ways": {who: way[:, 0].tolist() for who, way in ways.items()}}


def _of_way(way: Float[Tensor, "t n 2"]) -> Numbers:
    """Steps until the distance stays below the tolerance, and the length of the way until then; None if it never is."""
    far = way.norm(dim=2) > TOLERANCE
    last_far = (far * torch.arange(len(way))[:, None]).max(dim=0).values
    if (last_far == len(way) - 1).any():
        return {"steps": None, "path": None}
    strides = (way[1:] - way[:-1]).norm(dim=2).cumsum(dim=0)
    paths = strides.gather(0, last_far[None])[0]
    return {"steps": (last_far + 1).tolist(), "path": paths.tolist()}


def fastest(runs: list[Numbers]) -> Numbers:
    """The rate that needs the fewest steps."""
    return min((run for run in runs if run["steps"]), key=lambda run: fmean(run["steps"]))


def judge(numbers: Numbers) -> Verdict:
    """Where the valley is ill-conditioned: faster at the best rate of each, and never a longer way at equal rates."""
    ill = {condition: runs for condition, runs in numbers["conditions"].items() if int(condition) >= ILL}
    speeds = [fmean(fastest(runs["without"])["steps"]) / fmean(fastest(runs["with"])["steps"]) for runs in ill.values()]
    fewer = f"{' / '.join(f'{speed:.1f}' for speed in speeds)} times fewer steps (κ = {' / '.join(ill)})"
    if min(speeds) < FASTER:
        return Verdict("does not hold", f"At the best rate of each: {fewer} with momentum, not always a quarter fewer.")
    pairs = [pair for runs in ill.values() for pair in _ways_at_equal_rates(runs)]
    longer = sorted({rate for rate, plain, damped in pairs if damped > plain})
    if not longer:
        return Verdict("holds", f"At the best rate of each, momentum needs {fewer}; at equal rates its way is shorter.")
    shorter = sorted({rate for rate, plain, damped in pairs if damped <= plain and rate not in longer})
    where = f"only from {shorter[0]:g}/λ on in all of these valleys" if shorter else "at none of them in all valleys"
    calm = " Below 1/λ plain descent does not swing at all, and momentum does." if min(longer) < 1 else ""
    return Verdict(
        "holds with limits",
        f"Faster it is: at the best rate of each, {fewer}. But it damps only the widest swings: at equal rates its way "
        f"is shorter {where} (plain descent swings from 1/λ and diverges from 2/λ on); elsewhere it overshoots by more "
        f"than it damps, up to {longer[-1]:g}/λ.{calm}{_well_conditioned(numbers)}",
    )


def _ways_at_equal_rates(runs: Numbers) -> list[tuple[float, float, float]]:
    """Rate, and mean length of the way without and with momentum, where both arrive."""
    plain = {run["rate"]: fmean(run["path"]) for run in runs["without"] if run["path"]}
    return [(r["rate"], plain[r["rate"]], fmean(r["path"])) for r in runs["with"] if r["path"] and r["rate"] in plain]


def _well_conditioned(numbers: Numbers) -> str:
    """What is to be said of a valley that is not ill-conditioned."""
    for condition, runs in numbers["conditions"].items():
        plain, damped = (fmean(fastest(runs[who])["steps"]) for who in LIMITS)
        if int(condition) < ILL and damped > plain:
            return f" At κ = {condition} γ = {GAMMA} is slower ({damped:.0f} steps against {plain:.0f})."
    return ""


def table(numbers: Numbers) -> Table:
    """Best rate, steps and length of the way, by condition and method."""
    rows: Table = [("valley", "method", "best rate · λ", "steps", "length of the way")]
    for condition, runs in numbers["conditions"].items():
        for who in LIMITS:
            best = fastest(runs[who])
            name = "plain" if who == "without" else f"momentum {GAMMA}"
            rows.append(
                (
                    f"κ = {condition}",
                    name,
                    f"{best['rate']:g}",
                    f"{fmean(best['steps']):.0f}",
                    f"{fmean(best['path']):.1f}",
                )
            )
    return rows


def draw(numbers: Numbers) -> Figure:
    """Two ways down, and steps and length of the way against the learning rate."""
    from danlu.experiments.harness.plots import colors, key_above, line, logarithmic, panels

    figure, (map_, left, right) = panels(3, height=2.5)
    names = {"without": "plain gradient descent", "with": f"momentum, γ = {GAMMA}"}
    for number, way in enumerate(numbers["ways"].values()):
        across, along = zip(*way, strict=True)
        map_.plot(along, across, color=colors()[number], linewidth=0.8, marker="os"[number], markersize=1.8)
    map_.plot(0, 0, marker="+", color="black", markersize=7)
    map_.set(title=f"60 steps, κ = {SHOWN}", xlabel="along the valley", ylabel="across")
    runs = numbers["conditions"][str(SHOWN)]
    for axes, what, label in ((left, "steps", "steps"), (right, "path", "length, straight way = 1")):
        for number, who in enumerate(LIMITS):
            reached = [run for run in runs[who] if run[what]]
            line(
                axes,
                [run["rate"] for run in reached],
                list(zip(*(run[what] for run in reached), strict=True)),
                number,
                names[who],
            )
        logarithmic(axes.xaxis, (0.1, 0.4, 1, 3))
        logarithmic(axes.yaxis, (100, 300, 1000, 3000) if what == "steps" else (1, 3, 10, 30, 100))
        axes.set(xlabel="learning rate · λ", ylabel=label)
    left.set_title(f"Steps to 10⁻³, κ = {SHOWN}")
    right.set_title(f"Way to 10⁻³, κ = {SHOWN}")
    key_above(figure, left)
    return figure


EXPERIMENT = Experiment(measure, judge, table, draw)
