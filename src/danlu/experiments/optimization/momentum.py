"""Momentum damps oscillation and converges faster (notes, 0.3.3).

The notes give the reason for momentum: near the optimum the direction of a mini-batch gradient keeps changing, which
causes oscillation; past gradients are therefore included. Both parts are measured on linear regression with two
weights, whose loss is exactly the quadratic (x₁² + x₂²/κ)/2 plus a constant.

* Far from the optimum: full-batch descent from random points of the unit circle, at many learning rates. The steps
  until the distance stays below a thousandth of its initial value are compared at the best learning rate of each
  method.
* Near the optimum: mini-batches of 8 of 512 examples, from the optimum. The measures are the turning, which is the mean
  angle between successive steps, and the distance from the optimum. A constant gradient moves the weights by η per step
  without momentum and by η/(1 − γ) with it. Both are compared at rates that move equally far, and at equal rates η.
"""

from __future__ import annotations

from math import exp, log
from statistics import fmean
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn

from danlu.data.base.batch_stream import Batch, Shuffled
from danlu.data.base.dataset import Part
from danlu.experiments.harness.criteria import Comparison, Criteria, Judgment
from danlu.experiments.harness.experiment import Experiment, Numbers, ProgressCallback, Table
from danlu.experiments.harness.seeds import seeds
from danlu.experiments.harness.wording import mean_and_range, number
from danlu.losses.per_example import per_example
from danlu.rng.keys import generator
from danlu.tasks.task import Descend, Task, Terms, Turn
from danlu.training.optimization.settings import OptimizerSettings
from danlu.training.runtime import Runtime
from danlu.training.trainer import Trainer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GAMMA = 0.9  # the value that the notes recommend
PLAIN, MOMENTUM, EQUAL = "plain", "momentum", "plain, equal rate"
RATES = (0.2, 0.4, 0.8, 1.2, 1.6, 1.8, 1.9, 1.95, 2.4, 3.0, 3.6)  # times 1/λ; λ = 1 in the steep direction
LIMITS = {PLAIN: 2.0, MOMENTUM: 2 * (1 + GAMMA)}  # learning rates from which descent diverges (Polyak 1964)
ILL, WELL = 100, 10  # condition numbers
ROUNDS = {ILL: 4000, WELL: 400}  # at most
STARTS = 16  # starting points for each seed
TOLERANCE = 1e-3
EXAMPLES, BATCH, NOISE = 512, 8, 1.0  # NOISE: standard deviation of the regression's targets
DRIFTS = (0.2, 1.0)  # η for plain descent and η/(1 − γ) with momentum, times 1/λ
BURN_IN, OBSERVED = 200, 800  # steps
SHOWN = 60  # steps of the trajectories in the figure


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


class Regression(Quadratic):
    """Least squares on mini-batches; over all examples of ``regression_data`` it is the quadratic plus a constant."""

    def objective(self, batch: Batch) -> Terms:
        """Half the squared error of each example, summed over the points."""
        points = self.module.get_parameter("points")
        return {"objective": (batch["x"] @ points.T - batch["y"][:, None]).square().sum(1) / 2}


def regression_data(condition: float, seed: int) -> Part:
    """Inputs x with mean square diag(1, 1/κ), and targets that are uncorrelated with them: the optimum is at 0."""
    source = generator("regression", seed)
    columns = torch.randn(EXAMPLES, 3, generator=source, dtype=torch.float64)
    orthogonal = torch.linalg.qr(columns).Q * EXAMPLES**0.5
    x = orthogonal[:, :2] * torch.tensor([1.0, condition**-0.5], dtype=torch.float64)
    return Part({"x": x, "y": NOISE * orthogonal[:, 2]})


def descend(task: Quadratic, stream: Shuffled, lr: float, momentum: float, steps: int) -> Float[Tensor, "t n 2"]:
    r"""The points after 0, 1, 2, … steps; without noise only until all are well below the tolerance.

    .. math:: v_{t+1} = \gamma v_t + \nabla f(x_t), \qquad x_{t+1} = x_t - \eta v_{t+1}

    Polyak, "Some methods of speeding up the convergence of iteration methods", 1964.
    """
    settings = (
        OptimizerSettings(optimizer="momentum", momentum=momentum, lr=lr)
        if momentum
        else OptimizerSettings(optimizer="sgd", lr=lr)
    )
    trainer = Trainer(task, settings, stream, steps, runtime=Runtime(precision="float64"))
    points = task.module.get_parameter("points")
    positions = [points.detach().clone()]
    noisy = isinstance(task, Regression)
    for report in trainer:
        positions.append(points.detach().clone())
        if not noisy and report.round % 20 == 0 and _all_near(positions[-20:]):
            break
    return torch.stack(positions)


def _all_near(positions: list[Tensor]) -> bool:
    return all((recent.norm(dim=1) < TOLERANCE / 3).all() for recent in positions)


def trajectory_of(
    starts: Float[Tensor, "n 2"], condition: float, lr: float, momentum: float, steps: int
) -> Float[Tensor, "t n 2"]:
    """The points of full-batch descent."""
    no_data = Shuffled(Part({"x": torch.zeros(1)}), 1)  # the objective needs no data
    return descend(Quadratic(starts, condition), no_data, lr, momentum, steps)


def noisy_trajectory(
    condition: float, lr: float, momentum: float, seed: int, observed: int = OBSERVED
) -> Float[Tensor, "t 2"]:
    """The points of descent on mini-batches, from the optimum, after the burn-in."""
    stream = Shuffled(regression_data(condition, seed), BATCH, seed)
    task = Regression(torch.zeros(1, 2, dtype=torch.float64), condition)
    return descend(task, stream, lr, momentum, BURN_IN + observed)[BURN_IN:, 0]


def measure(seed: int, progress: ProgressCallback, quick: bool = False) -> Numbers:
    """Steps by condition number, method and learning rate; turning and distance near the optimum; trajectories."""
    run_seeds = seeds(seed, 2 if quick else 5)
    far = [(c, m, r) for c in ROUNDS for m in LIMITS for r in RATES[:: 3 if quick else 1] if r < LIMITS[m]]
    steps: Numbers = {str(c): {method: {} for method in LIMITS} for c in ROUNDS}
    starts = torch.cat([_starts(run_seed) for run_seed in run_seeds])
    for done, (condition, method, rate) in enumerate(far):
        progress("full batch", done, len(far))
        limit = ROUNDS[condition] // (8 if quick else 1)
        trajectory = trajectory_of(starts, condition, rate, GAMMA if method == MOMENTUM else 0.0, limit)
        steps[str(condition)][method][str(rate)] = _by_seed(steps_to_tolerance(trajectory))
    arms: Numbers = {PLAIN: {}, MOMENTUM: {}, EQUAL: {}}
    best = {c: {method: fastest(results) for method, results in found.items()} for c, found in steps.items()}
    for condition, method in ((c, m) for c in steps for m in LIMITS):
        arms[method][f"steps, κ = {condition}"] = steps[condition][method][best[condition][method]]
    near: Numbers = {name: {str(drift): [] for drift in DRIFTS} for name in arms}
    rates = {PLAIN: 1.0, MOMENTUM: 1 - GAMMA, EQUAL: 1 - GAMMA}  # η, relative to the drift
    for done, (name, drift) in enumerate((n, d) for n in near for d in DRIFTS):
        progress("mini-batches", done, len(near) * len(DRIFTS))
        for run_seed in run_seeds:
            gamma = GAMMA if name == MOMENTUM else 0.0
            path = noisy_trajectory(WELL, drift * rates[name], gamma, run_seed, 20 if quick else OBSERVED)
            near[name][str(drift)].append({"turning": turning(path), "distance": distance(path)})
    for name, results in near.items():
        runs = list(zip(*results.values(), strict=True))
        arms[name]["turning"] = [fmean(one["turning"] for one in run) for run in runs]
        arms[name]["distance"] = [exp(fmean(log(one["distance"]) for one in run)) for run in runs]
    return {"arms": arms, "steps": steps, "best": best, "near": near, "ways": _ways(best, run_seeds[0])}


def _starts(seed: int) -> Float[Tensor, "n 2"]:
    angles = 2 * torch.pi * torch.rand(STARTS, generator=generator("starts", seed), dtype=torch.float64)
    return torch.stack([angles.cos(), angles.sin()], dim=1)


def _ways(best: Numbers, seed: int) -> Numbers:
    """Trajectories for the figure."""
    start = torch.tensor([[0.6, 0.8]], dtype=torch.float64)
    gammas = {PLAIN: 0.0, MOMENTUM: GAMMA}
    return {
        "far": {
            method: trajectory_of(start, ILL, float(best[str(ILL)][method]), gamma, SHOWN)[:, 0].tolist()
            for method, gamma in gammas.items()
        },
        "near": {
            method: noisy_trajectory(WELL, DRIFTS[0] * (1 - gamma), gamma, seed, SHOWN).tolist()
            for method, gamma in gammas.items()
        },
    }


def steps_to_tolerance(trajectory: Float[Tensor, "t n 2"]) -> list[int | None]:
    """For each point, the steps until its distance stays below the tolerance; None if it does not."""
    is_far = trajectory.norm(dim=2) > TOLERANCE
    last_far = (is_far * torch.arange(len(trajectory))[:, None]).max(dim=0).values
    return [None if last == len(trajectory) - 1 else last + 1 for last in last_far.tolist()]


def _by_seed(steps: list[int | None]) -> list[float | None]:
    """The mean steps over the starting points of each seed."""
    groups = [steps[at : at + STARTS] for at in range(0, len(steps), STARTS)]
    return [None if None in group else fmean(s for s in group if s is not None) for group in groups]


def fastest(results: dict[str, list[float | None]]) -> str:
    """The learning rate with the fewest steps, over all seeds."""
    reached = {rate: [s for s in steps if s is not None] for rate, steps in results.items() if None not in steps}
    return min(reached, key=lambda rate: fmean(reached[rate])) if reached else min(results)


def turning(path: Float[Tensor, "t 2"]) -> float:
    """The mean angle between successive steps, in degrees: 0 on a straight line, 90 for unrelated directions."""
    steps = path.diff(dim=0)
    cosines = torch.cosine_similarity(steps[1:], steps[:-1], dim=1, eps=1e-30)
    return float(cosines.clamp(-1, 1).acos().rad2deg().mean())


def distance(path: Float[Tensor, "t 2"]) -> float:
    """The root mean square of the distance from the optimum."""
    return float(path.square().sum(1).mean().sqrt())


# a quarter less: a smaller gain is not a reason to use another method
FEWER = Comparison(
    f"momentum needs fewer steps at κ = {ILL}", MOMENTUM, PLAIN, f"steps, κ = {ILL}", 4 / 3, lower=True, ratio=True
)
TURNS_LESS = Comparison(
    "momentum turns less at rates that move equally far", MOMENTUM, PLAIN, "turning", 4 / 3, lower=True, ratio=True
)
NEARER = Comparison(
    "momentum stays nearer to the optimum at rates that move equally far",
    MOMENTUM, PLAIN, "distance", 4 / 3, lower=True, ratio=True,
)  # fmt: skip
NEARER_AT_EQUAL_RATES = Comparison(
    "momentum stays nearer to the optimum at equal rates", MOMENTUM, EQUAL, "distance", 4 / 3, lower=True, ratio=True
)
FEWER_WELL = Comparison(
    f"momentum needs fewer steps at κ = {WELL}", MOMENTUM, PLAIN, f"steps, κ = {WELL}", 4 / 3, lower=True, ratio=True
)
CRITERIA = Criteria(
    clauses=(FEWER, TURNS_LESS),
    gates=(
        Comparison(
            "plain gradient descent converges on the full batch",
            PLAIN, float(ROUNDS[ILL]), f"steps, κ = {ILL}", 4 / 3, lower=True, ratio=True,
        ),
        # 0° on a straight path, 90° for unrelated directions
        Comparison("the direction changes near the optimum", PLAIN, 0.0, "turning", 45.0),
    ),
    limits=(NEARER_AT_EQUAL_RATES, NEARER, FEWER_WELL),
)  # fmt: skip


def conclude(numbers: Numbers, judgment: Judgment) -> str:
    """Speed and turning; then distance, and the well-conditioned quadratic."""
    arms = numbers["arms"]
    speed, equal, far = (exp(judgment.finding(c.clause).interval.mean) for c in (FEWER, NEARER_AT_EQUAL_RATES, NEARER))
    faster = (
        f"needs {number(speed, 2)} times fewer steps" if judgment.supported(FEWER.clause) else "needs no fewer steps"
    )
    turns = [number(fmean(arms[method]["turning"]), 2) for method in (MOMENTUM, PLAIN)]
    text = (
        f"Far from the optimum momentum {faster}; near it, on mini-batches, its direction turns by {turns[0]}° per "
        f"step, and by {turns[1]}° without momentum."
    )
    if not judgment.supported(NEARER_AT_EQUAL_RATES.clause):
        text += (
            " The size of the oscillation is another matter: at equal learning rates the distance from the optimum is "
            f"{number(1 / equal, 2)} times that without momentum."
        )
    if not judgment.supported(NEARER.clause):
        text += f" At rates that move equally far it is {number(1 / far, 2)} times as large."
    if not judgment.supported(FEWER_WELL.clause):
        damped, plain = (mean_and_range(arms[m][FEWER_WELL.measure], 2) for m in (MOMENTUM, PLAIN))
        text += (
            f" On a well-conditioned quadratic (κ = {WELL}) momentum with γ = {GAMMA} is not faster: {damped} steps, "
            f"and {plain} without it."
        )
    return text


def table(numbers: Numbers) -> Table:
    """Steps at the best learning rates; turning and distance near the optimum."""
    rows: Table = [("where", "measure", "plain gradient descent", f"momentum {GAMMA}", "plain, equal rate")]
    for condition, best in numbers["best"].items():
        rows.append((f"full batch, κ = {condition}", "best learning rate · λ", best[PLAIN], best[MOMENTUM], "–"))
        cells = (mean_and_range(numbers["arms"][method][f"steps, κ = {condition}"]) for method in LIMITS)
        rows.append((f"full batch, κ = {condition}", "steps", *cells, "–"))
    for drift in map(str, DRIFTS):
        for quantity, unit in (("turning", "turning, degrees"), ("distance", "distance from the optimum")):
            cells = (
                mean_and_range([run[quantity] for run in numbers["near"][name][drift]]) for name in numbers["near"]
            )
            rows.append((f"mini-batches, η/(1 − γ) = {drift}/λ", unit, *cells))
    return rows


def plot(numbers: Numbers) -> Figure:
    """Trajectories far from and near the optimum; steps against the learning rate."""
    from danlu.experiments.harness.plots import colors, legend_above, line, logarithmic, panels

    figure, (far, steps, near) = panels(3, height=2.5)
    names = {PLAIN: "plain gradient descent", MOMENTUM: f"momentum, γ = {GAMMA}"}
    for axes, paths in ((far, numbers["ways"]["far"]), (near, numbers["ways"]["near"])):
        for index, method in enumerate(LIMITS):
            x, y = zip(*paths[method], strict=True)
            axes.plot(y, x, color=colors()[index], linewidth=0.8, marker="os"[index], markersize=1.8)
        axes.plot(0, 0, marker="+", color="black", markersize=7)
        axes.set(xlabel="x₂ (flat direction)", ylabel="x₁ (steep direction)")
    far.set_title("full batch")
    near.set_title("mini-batches")
    for index, method in enumerate(LIMITS):
        reached = {float(r): runs for r, runs in numbers["steps"][str(ILL)][method].items() if None not in runs}
        if reached:
            line(steps, list(reached), list(zip(*reached.values(), strict=True)), index, names[method])
    logarithmic(steps.xaxis, (0.2, 0.5, 1, 2, 4))
    steps.set(title=f"steps to 10⁻³, κ = {ILL}", xlabel="learning rate · λ", ylabel="steps", ylim=(0, None))
    steps.grid(True, axis="y")
    steps.plot([], [], "+", color="black", markersize=7, label="optimum")
    legend_above(figure, steps)
    return figure


EXPERIMENT = Experiment(
    measure=measure,
    criteria=CRITERIA,
    conclude=conclude,
    table=table,
    plot=plot,
    method=(
        "Linear regression with two weights is minimized by gradient descent with and without momentum: on the full "
        "batch from far away, at the best learning rate of each, and on mini-batches from the optimum. Far away the "
        "steps are counted; near the optimum the angle between successive steps and the distance are measured."
    ),
    caption=(
        f"Left: {SHOWN} full-batch steps from one point at the best learning rates; the cross is the optimum. Middle: "
        "steps until the distance stays below a thousandth; lines are means over seeds, bands the range. Right: 60 "
        "mini-batch steps near the optimum, at rates that move equally far; without momentum each step has another "
        "direction."
    ),
)
