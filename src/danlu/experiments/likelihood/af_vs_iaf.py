"""MAF is trained fast and samples slowly, IAF the other way round (notes, 2.1.2.7).

Lines 639 and 641: from x to z all μ and α of an autoregressive flow are computed in parallel, so training is fast, and
from z to x the values are computed one after another, so sampling is slow; IAF exchanges both directions. The
experiment measures the processor time of densities, samples and training steps (density and gradient) of a MAF and of
an IAF with the same weights, for several dimensions.

Line 639 describes one evaluation of the network for each value. The clauses are tested in this way: the network is
wrapped so that the sequential direction evaluates it once for each value. danlu's own sequential direction
evaluates only the hidden units of one degree for each value, so that each weight is used once, as in one pass; the
limits are tested with it. Its steps are small operations whose fixed time does not depend on the number of examples, so
the limits are tested with few and with many examples.

All arms have the same weights, examples and number of calls. A direction of one pass is the same for both methods and
is measured once. In float64 both directions must be inverse to each other, and the samples of IAF must be the codes of
MAF.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from statistics import fmean, median
from typing import TYPE_CHECKING, NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Tensor

from danlu.experiments.harness.criteria import Comparison, Criteria, Judgment
from danlu.experiments.harness.experiment import Experiment, Numbers, ProgressCallback, Table
from danlu.experiments.harness.seeds import seeds
from danlu.experiments.harness.timing import alternating_times, growth, halves
from danlu.experiments.harness.trainers import from_seed
from danlu.experiments.harness.wording import mean_and_range, number
from danlu.models.flows.base import Flow
from danlu.models.flows.iaf import IAF
from danlu.models.flows.maf import MAF
from danlu.nn.masked.conditioner import Conditioner
from danlu.nn.transforms.autoregressive import Autoregressive
from danlu.rng.keys import generator

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZES = (16, 32, 64, 128)
HIDDEN = (256,)
FEW, MANY = 16, 1024  # examples
ROUNDS = 4
EXACT = 1e-9  # rounding of float64
PASSES, UNITS, UNITS_MANY = "a pass for each value", "each unit once", f"each unit once, {MANY} examples"
METHODS = (PASSES, UNITS, UNITS_MANY)


class Case(NamedTuple):
    """What is measured."""

    model: str
    operation: str

    @property
    def arm(self) -> str:
        """The name of its arm."""
        return f"{self.model}, {self.operation}"

    @property
    def sequential(self) -> bool:
        """Whether the values are computed one after another."""
        return (self.model == "MAF") == (self.operation == "sampling")


OPERATIONS = ("density", "training", "sampling")
CASES = {(model, operation): Case(model, operation) for model in ("MAF", "IAF") for operation in OPERATIONS}
Times = dict[tuple[str, str, int], list[float]]
"""seconds per example in each round, by arm, method and dimension"""


class EachValue(Conditioner):
    """A network that the sequential direction evaluates once for each value, without a faster method of its own.

    Args:
        network: the network.
    """

    def __init__(self, network: Conditioner):
        super().__init__(network.size, network.outputs)
        self.network = network

    def forward(
        self, x: Float[Tensor, "n size"], context: Float[Tensor, "n c"] | None = None
    ) -> Float[Tensor, "n size outputs"]:
        """The outputs for all values at once."""
        return self.network(x, context)


def with_passes(flow: Flow) -> Flow:
    """A copy of a flow that evaluates its networks once for each value in the sequential direction."""
    flow = deepcopy(flow)
    for layer in flow.modules():
        if isinstance(layer, Autoregressive):
            layer.conditioner = EachValue(layer.conditioner)
    return flow


def flows(size: int, seed: int) -> dict[str, Flow]:
    """A MAF and an IAF of one block with the same weights: each is the inverse of the other."""
    maf, iaf = (
        from_seed(partial(kind, (size,), blocks=1, hidden=HIDDEN, batch_norm=False), seed) for kind in (MAF, IAF)
    )
    with torch.no_grad():
        for mine, other in zip(iaf.parameters(), maf.parameters(), strict=True):
            mine.copy_(other)
    return {"MAF": cast(Flow, maf), "IAF": cast(Flow, iaf)}


def operation(flow: Flow, name: str, x: Float[Tensor, "n size"]) -> Callable[[], object]:
    """What is timed: densities of examples, samples from given codes, or a density with its gradient."""

    def density() -> object:
        with torch.no_grad():
            return flow.log_prob(x)

    def sampling() -> object:
        with torch.no_grad():
            return flow.decode(x)

    def training() -> object:
        return torch.autograd.grad(flow.log_prob(x).mean(), list(flow.parameters()))

    return {"density": density, "training": training, "sampling": sampling}[name]


def measure_times(sizes: tuple[int, ...], many: int, rounds: int, seed: int) -> Times:
    """The processor times of a run; many examples only at the largest dimension."""
    operations: dict[tuple[str, str, int], Callable[[], object]] = {}
    for size in sizes:
        default = flows(size, seed)
        each_value = {name: with_passes(flow) for name, flow in default.items()}
        for case in CASES.values():
            for method in METHODS[: 3 if size == max(sizes) else 2]:
                x = examples(many if method == UNITS_MANY else FEW, size, seed)
                chosen = each_value if method == PASSES else default
                if case.sequential or method != UNITS:  # one pass is the same for the first two methods
                    operations[case.arm, method, size] = operation(chosen[case.model], case.operation, x)
    times = alternating_times(operations, rounds)
    counts = {PASSES: FEW, UNITS: FEW, UNITS_MANY: many}
    found = {name: [seconds / counts[name[1]] for seconds in values] for name, values in times.items()}
    for case in CASES.values():
        for size in sizes:
            found.setdefault((case.arm, UNITS, size), found[case.arm, PASSES, size])
    return found


def examples(n: int, size: int, seed: int) -> Float[Tensor, "n size"]:
    """Standard normal examples, or codes."""
    return torch.randn(n, size, generator=generator("flows", seed, size))


@torch.no_grad()
def compare_directions(seed: int) -> dict[str, float]:
    """Errors of both directions in float64: round trips, with both methods, and IAF beside the inverse of MAF."""
    size = SIZES[0]
    models = {name: flow.double() for name, flow in flows(size, seed).items()}
    x = examples(FEW, size, seed).double()
    trips = [flow.decode(flow.encode(x)) - x for one in models.values() for flow in (one, with_passes(one))]
    return {
        "round trip": float(torch.stack(trips).abs().max()),
        "IAF beside MAF": float((models["IAF"].decode(x) - models["MAF"].encode(x)).abs().max()),
    }


def measure(seed: int, progress: ProgressCallback, quick: bool = False) -> Numbers:
    """Times per example at the largest dimension and their growth, by arm, method and seed; times by dimension."""
    run_seeds = seeds(seed, 2 if quick else 5)
    sizes, many, rounds = ((4, 8), 32, 2) if quick else (SIZES, MANY, ROUNDS)
    arms: dict[str, dict[str, list[float]]] = {BOTH: {}, **{case.arm: {} for case in CASES.values()}}
    seconds: Numbers = {}
    for done, run_seed in enumerate(run_seeds):
        progress("runs", done, len(run_seeds))
        times = measure_times(sizes, many, rounds, run_seed)
        for (arm, method, size), values in times.items():
            seconds.setdefault(arm, {}).setdefault(method, {}).setdefault(str(size), []).append(median(values))
        run = {case.arm: summary(case.arm, sizes, times) for case in CASES.values()}
        checks = {**compare_directions(run_seed), "disagreement": disagreement(max(sizes), times)}
        for arm, measures in {**run, BOTH: checks}.items():
            for name, value in measures.items():
                arms[arm].setdefault(name, []).append(value)
    return {"arms": arms, "seconds": seconds}


def summary(arm: str, sizes: tuple[int, ...], times: Times) -> dict[str, float]:
    """The time at the largest dimension by method, and the exponent of its growth with passes."""
    last = {method: median(times[arm, method, max(sizes)]) for method in METHODS}
    return {**last, "exponent": growth(sizes, [median(times[arm, PASSES, size]) for size in sizes])}


def disagreement(size: int, times: Times) -> float:
    """The largest ratio of a factor between two arms in the odd rounds to that in the even ones, or its inverse."""
    found = []
    for method in METHODS:
        for pair in _PAIRS.values():
            (fast, fast_odd), (slow, slow_odd) = (halves(times[arm, method, size]) for arm in pair)
            found.append(abs(math.log(slow / fast * fast_odd / slow_odd)))
    return math.exp(max(found))


BOTH = "both models"
MAF_DENSITY, MAF_TRAINING, MAF_SAMPLING = (CASES["MAF", name].arm for name in OPERATIONS)
IAF_DENSITY, IAF_TRAINING, IAF_SAMPLING = (CASES["IAF", name].arm for name in OPERATIONS)
# what is called slow takes at least twice the time of what is called fast
SLOW = 2.0
_PAIRS = {
    "MAF computes densities faster than it samples": (MAF_DENSITY, MAF_SAMPLING),
    "IAF samples faster than it computes densities": (IAF_SAMPLING, IAF_DENSITY),
    "MAF is trained faster than IAF": (MAF_TRAINING, IAF_TRAINING),
    "IAF samples faster than MAF": (IAF_SAMPLING, MAF_SAMPLING),
}


def _faster(method: str, words: str) -> tuple[Comparison, ...]:
    return tuple(
        Comparison(f"{clause}, {words}", fast, slow, method, SLOW, lower=True, ratio=True)
        for clause, (fast, slow) in _PAIRS.items()
    )


FASTER = _faster(PASSES, "with a pass for each value")
# the sequential direction has d passes, so its exponent is larger by 1; half of that is still a growth with d
GROWS = tuple(
    Comparison(f"the factor between both directions of {model} grows with the dimension", slow, fast, "exponent", 0.5)
    for model, fast, slow in (("MAF", MAF_DENSITY, MAF_SAMPLING), ("IAF", IAF_SAMPLING, IAF_DENSITY))
)
ONCE = _faster(UNITS, f"with each unit once and {FEW} examples")
ONCE_MANY = _faster(UNITS_MANY, f"with each unit once and {MANY} examples")


def _small(clause: str, measure: str, limit: float) -> Comparison:
    return Comparison(clause, BOTH, 2 * limit, measure, limit, lower=True)


CRITERIA = Criteria(
    clauses=(*FASTER, *GROWS),
    gates=(
        _small("both directions are inverse to each other", "round trip", EXACT),
        _small("IAF samples by the function with which MAF encodes", "IAF beside MAF", EXACT),
        Comparison(
            f"odd and even rounds give the same factors up to {SLOW:g}", BOTH, SLOW**2, "disagreement", SLOW,
            lower=True, ratio=True,
        ),
    ),
    limits=(*ONCE, *ONCE_MANY),
)  # fmt: skip


def conclude(numbers: Numbers, judgment: Judgment) -> str:
    """The smallest factor between the two directions, by method; what is not shown."""
    passes, few, many = (number(_smallest_factor(numbers["arms"], method), 2) for method in METHODS)
    text = (
        f"With a pass for each value, the sequential direction takes at least {passes} times as long as one pass. With "
        f"each hidden unit computed once, as in danlu, it takes at least {few} times as long for few examples and "
        f"{many} times for many."
    )
    return text + judgment.not_shown(*CRITERIA.clauses, *CRITERIA.limits)


def _smallest_factor(arms: Numbers, method: str) -> float:
    """The smallest ratio of the times of two directions that are compared, as a mean over seeds."""
    pairs = ((arms[slow][method], arms[fast][method]) for fast, slow in _PAIRS.values())
    return min(fmean(a / b for a, b in zip(*pair, strict=True)) for pair in pairs)


def table(numbers: Numbers) -> Table:
    """Time per example at the largest dimension, by operation and method; the exponent with passes."""
    rows: Table = [("µs per example", *METHODS, "exponent with passes")]
    for case in CASES.values():
        arm = numbers["arms"][case.arm]
        cells = (mean_and_range([1e6 * x for x in arm[method]]) for method in METHODS)
        rows.append((case.arm, *cells, mean_and_range(arm["exponent"])))
    return rows


def plot(numbers: Numbers) -> Figure:
    """Time against dimension, for each operation; the sequential direction with both methods."""
    from danlu.experiments.harness.plots import colors, legend_above, line, logarithmic, panels

    figure, axes_of = panels(3, height=2.6, sharey=True)
    for axes, name in zip(axes_of, OPERATIONS, strict=True):
        for k, model in enumerate(("MAF", "IAF")):
            case = CASES[model, name]
            for method, dash in ((PASSES, "-"), (UNITS, "--"))[: 2 if case.sequential else 1]:
                found = numbers["seconds"][case.arm][method]
                runs = zip(*([1e6 * x for x in values] for values in found.values()), strict=True)
                words = model if method == PASSES else f"{model}, {UNITS}"
                line(axes, [int(size) for size in found], list(runs), k, words, linestyle=dash)
        sizes = [int(size) for size in numbers["seconds"][MAF_DENSITY][PASSES]]
        logarithmic(axes.xaxis, sizes)
        logarithmic(axes.yaxis)
        axes.set(title=name, xlabel="dimension d")
    axes_of[0].set_ylabel("µs per example")
    axes_of[-1].plot([], [], "s--", color=colors()[1], markersize=3, label=f"IAF, {UNITS}")  # only for the legend
    legend_above(figure, axes_of[-1], handlelength=3.5)
    return figure


EXPERIMENT = Experiment(
    measure=measure,
    criteria=CRITERIA,
    conclude=conclude,
    table=table,
    plot=plot,
    method=(
        "A MAF and an IAF with the same weights are timed in both directions and in training, for several dimensions. "
        "The sequential direction is computed in two ways: with a pass of the network for each value, as the notes "
        "describe it, and with danlu's method, which computes each hidden unit once."
    ),
    caption=(
        f"Processor time per example, for {FEW} examples at once, against the dimension, both axes logarithmic; lines "
        "are means over runs, bands the range. Solid: one pass, or a pass for each value; dashed: each unit once."
    ),
)
