"""Momentum damps oscillation and converges faster (notes, 0.3.3).

The objective is the quadratic f(x) = (x₁² + x₂²/κ)/2 with condition number κ, which can be analyzed exactly. Gradient
descent runs with and without momentum from 16 starting points on the unit circle, at many learning rates. The
experiment measures the number of steps until the distance to the minimum stays below a thousandth of its initial
value, and the length of the trajectory up to that step. The straight line has length 1; oscillation makes the
trajectory longer.
"""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn

from danlu.data.base.batch_stream import Batch, Shuffled
from danlu.data.base.dataset import Part
from danlu.experiments.harness.experiment import JudgedExperiment, Numbers, ProgressCallback, Table, Verdict
from danlu.losses.per_example import per_example
from danlu.rng.keys import generator
from danlu.tasks.task import Descend, Task, Terms, Turn
from danlu.training.optimization.settings import OptimizerSettings
from danlu.training.runtime import Runtime
from danlu.training.trainer import Trainer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GAMMA = 0.9  # the value that the notes recommend
RATES = (
    0.05,
    0.1,
    0.2,
    0.4,
    0.8,
    1.2,
    1.6,
    1.8,
    1.9,
    1.95,
    2.4,
    3.0,
    3.6,
)  # times 1/λ; λ = 1 in the steep direction
LIMITS = {"without": 2.0, "with": 2 * (1 + GAMMA)}  # learning rates from which descent diverges (Polyak 1964)
STARTS = 16
TOLERANCE = 1e-3
ILL = 100  # a quadratic with at least this condition number counts as ill-conditioned
FASTER = 4 / 3  # required ratio of steps: at least a quarter fewer steps
SHOWN = 100  # the condition number that the figure shows


class Quadratic(Task):
    """Minimize f(x) = (x₁² + x₂²/κ)/2 from several starting points, independently of each other.

    Args:
        starts: the starting points.
        condition: the condition number κ.
    """

    def __init__(self, starts: Float[Tensor, "n 2"], condition: float):
        super().__init__()
        self.module = nn.Module()
        self.module.register_parameter("points", nn.Parameter(starts.clone()))
        self.register_buffer("steepness", torch.tensor([1.0, 1 / condition], dtype=starts.dtype))

    def players(self) -> dict[str, nn.Module]:
        return {"points": self.module}

    def turns(self, round: int) -> list[Turn]:
        return [Descend("points", self.objective)]

    def objective(self, batch: Batch) -> Terms:
        """The objective f, summed over the points."""
        points, steepness = self.module.get_parameter("points"), self.get_buffer("steepness")
        return {"objective": per_example((points.square() * steepness).sum() / 2, len(batch))}


def trajectory_of(
    starts: Float[Tensor, "n 2"], condition: float, lr: float, momentum: float, steps: int
) -> Float[Tensor, "t n 2"]:
    r"""The points after 0, 1, 2, … steps, until all are well below the tolerance.

    .. math:: v_{t+1} = \gamma v_t + \nabla f(x_t), \qquad x_{t+1} = x_t - \eta v_{t+1}

    Polyak, "Some methods of speeding up the convergence of iteration methods", 1964.
    """
    task = Quadratic(starts, condition)
    settings = (
        OptimizerSettings(optimizer="momentum", momentum=momentum, lr=lr)
        if momentum
        else OptimizerSettings(optimizer="sgd", lr=lr)
    )
    no_data = Shuffled(Part({"x": torch.zeros(1)}), 1)  # the objective needs no data
    trainer = Trainer(task, settings, no_data, steps, runtime=Runtime(precision="float64"))
    points = task.module.get_parameter("points")
    positions = [points.detach().clone()]
    for report in trainer:
        positions.append(points.detach().clone())
        if report.round % 20 == 0 and all((recent.norm(dim=1) < TOLERANCE / 3).all() for recent in positions[-20:]):
            break
    return torch.stack(positions)


def measure(seed: int, progress: ProgressCallback, quick: bool = False) -> Numbers:
    """Steps and trajectory length for each condition number, method, learning rate and starting point."""
    conditions = {10: 200, 100: 1000} if quick else {10: 400, 100: 4000, 1000: 5000}  # κ: maximum number of steps
    angles = 2 * torch.pi * torch.rand(STARTS, generator=generator("starts", seed), dtype=torch.float64)
    starts = torch.stack([angles.cos(), angles.sin()], dim=1)
    runs = [
        (c, method, rate)
        for c in conditions
        for method in LIMITS
        for rate in RATES[:: 3 if quick else 1]
        if rate < LIMITS[method]
    ]
    numbers: Numbers = {str(c): {method: [] for method in LIMITS} for c in conditions}
    for done, (condition, method, rate) in enumerate(runs):
        progress("quadratics", done, len(runs))
        trajectory = trajectory_of(starts, condition, rate, GAMMA if method == "with" else 0.0, conditions[condition])
        numbers[str(condition)][method].append({"rate": rate, **steps_and_length(trajectory)})
    best = {method: fastest(numbers[str(SHOWN)][method])["rate"] for method in LIMITS}
    start = torch.tensor([[0.6, 0.8]], dtype=torch.float64)
    trajectories = {
        method: trajectory_of(start, SHOWN, rate, GAMMA if method == "with" else 0.0, 60)
        for method, rate in best.items()
    }
    return {
        "conditions": numbers,
        "ways": {method: trajectory[:, 0].tolist() for method, trajectory in trajectories.items()},
    }


def steps_and_length(trajectory: Float[Tensor, "t n 2"]) -> Numbers:
    """Steps until the distance stays below the tolerance, and the trajectory length until then; None if never."""
    is_far = trajectory.norm(dim=2) > TOLERANCE
    last_far = (is_far * torch.arange(len(trajectory))[:, None]).max(dim=0).values
    if (last_far == len(trajectory) - 1).any():
        return {"steps": None, "path": None}
    strides = (trajectory[1:] - trajectory[:-1]).norm(dim=2).cumsum(dim=0)
    paths = strides.gather(0, last_far[None])[0]
    return {"steps": (last_far + 1).tolist(), "path": paths.tolist()}


def fastest(runs: list[Numbers]) -> Numbers:
    """The run whose learning rate needs the fewest steps."""
    return min((run for run in runs if run["steps"]), key=lambda run: fmean(run["steps"]))


def verdict(numbers: Numbers) -> Verdict:
    """Holds if momentum is faster on ill-conditioned quadratics and its trajectory is never longer at equal rates."""
    ill = {condition: runs for condition, runs in numbers["conditions"].items() if int(condition) >= ILL}
    speeds = [fmean(fastest(runs["without"])["steps"]) / fmean(fastest(runs["with"])["steps"]) for runs in ill.values()]
    fewer = f"{' / '.join(f'{speed:.1f}' for speed in speeds)} times fewer steps (κ = {' / '.join(ill)})"
    if min(speeds) < FASTER:
        return Verdict(
            "does not hold",
            f"At the best learning rate of each method, momentum needs {fewer}; the claim requires a quarter fewer "
            "steps.",
        )
    pairs = [pair for runs in ill.values() for pair in _lengths_at_equal_rates(runs)]
    longer = sorted({rate for rate, plain, damped in pairs if damped > plain})
    if not longer:
        return Verdict(
            "holds",
            f"At the best learning rate of each method, momentum needs {fewer}; at equal rates its trajectory is "
            "shorter.",
        )
    shorter = sorted({rate for rate, plain, damped in pairs if damped <= plain and rate not in longer})
    where = (
        f"only from a learning rate of {shorter[0]:g}/λ upward on all of these quadratics"
        if shorter
        else "at no learning rate on all quadratics"
    )
    below_one = " Below 1/λ plain gradient descent does not oscillate at all; momentum does." if min(longer) < 1 else ""
    return Verdict(
        "holds with limits",
        f"Momentum is faster: at the best learning rate of each method it needs {fewer}. It damps only large "
        f"oscillations: at equal rates its trajectory is shorter {where} (plain gradient descent oscillates from 1/λ "
        f"and diverges from 2/λ); at other rates up to {longer[-1]:g}/λ momentum overshoots more than it "
        f"damps.{below_one}{_well_conditioned(numbers)}",
    )


def _lengths_at_equal_rates(runs: Numbers) -> list[tuple[float, float, float]]:
    """Learning rate, and mean trajectory length without and with momentum, where both converge."""
    plain = {run["rate"]: fmean(run["path"]) for run in runs["without"] if run["path"]}
    return [(r["rate"], plain[r["rate"]], fmean(r["path"])) for r in runs["with"] if r["path"] and r["rate"] in plain]


def _well_conditioned(numbers: Numbers) -> str:
    """A sentence about the quadratic that is not ill-conditioned, if momentum is slower there."""
    for condition, runs in numbers["conditions"].items():
        plain, damped = (fmean(fastest(runs[method])["steps"]) for method in LIMITS)
        if int(condition) < ILL and damped > plain:
            return (
                f" At κ = {condition} momentum with γ = {GAMMA} is slower ({damped:.0f} steps; plain gradient "
                f"descent needs {plain:.0f})."
            )
    return ""


def table(numbers: Numbers) -> Table:
    """Best learning rate, steps and trajectory length, by condition number and method."""
    rows: Table = [("condition number", "method", "best learning rate · λ", "steps", "trajectory length")]
    for condition, runs in numbers["conditions"].items():
        for method in LIMITS:
            best = fastest(runs[method])
            name = "plain" if method == "without" else f"momentum {GAMMA}"
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


def plot(numbers: Numbers) -> Figure:
    """Two trajectories; steps and trajectory length against the learning rate."""
    from danlu.experiments.harness.plots import colors, legend_above, line, logarithmic, panels

    figure, (plane, left, right) = panels(3, height=2.5)
    names = {"without": "plain gradient descent", "with": f"momentum, γ = {GAMMA}"}
    for number, trajectory in enumerate(numbers["ways"].values()):
        across, along = zip(*trajectory, strict=True)
        plane.plot(along, across, color=colors()[number], linewidth=0.8, marker="os"[number], markersize=1.8)
    plane.plot(0, 0, marker="+", color="black", markersize=7)
    plane.set(title=f"60 steps, κ = {SHOWN}", xlabel="x₂ (flat direction)", ylabel="x₁ (steep direction)")
    runs = numbers["conditions"][str(SHOWN)]
    for axes, quantity, label in ((left, "steps", "steps"), (right, "path", "length, straight line = 1")):
        for number, method in enumerate(LIMITS):
            reached = [run for run in runs[method] if run[quantity]]
            line(
                axes,
                [run["rate"] for run in reached],
                list(zip(*(run[quantity] for run in reached), strict=True)),
                number,
                names[method],
            )
        logarithmic(axes.xaxis, (0.1, 0.4, 1, 3))
        logarithmic(axes.yaxis, (100, 300, 1000, 3000) if quantity == "steps" else (1, 3, 10, 30, 100))
        axes.set(xlabel="learning rate · λ", ylabel=label)
    left.set_title(f"Steps to 10⁻³, κ = {SHOWN}")
    right.set_title(f"Trajectory length to 10⁻³, κ = {SHOWN}")
    legend_above(figure, left)
    return figure


EXPERIMENT = JudgedExperiment(measure, verdict, table, plot)
