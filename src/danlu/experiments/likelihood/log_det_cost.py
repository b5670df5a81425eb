"""The log-determinant of a planar layer costs O(d), that of a general layer O(d³) (notes, 2.1.2.2 and 2.1.2.3).

Line 543 gives O(d³) for the Jacobian determinant of any invertible function, and line 572 O(d) for the planar layer
f(z) = z + u tanh(wᵀz + b), by the matrix determinant lemma. The experiment measures the processor time of both as a
function of the dimension d: danlu's planar layer, whose ``inverse`` computes f(z) and its log-determinant together, and
``torch.linalg.slogdet`` of the Jacobian of such a layer. The Jacobian itself is not part of the time. Computing f(z)
is, and it is linear in d, too. The slope of log time over log d is the exponent. The general log-determinant is
measured from d = 512: matrix products of smaller matrices are less efficient, so the exponent of sizes from 256 to 2048
is smaller (2.47 in one trial on an AVX2 processor).

The layer has 32 examples at once, so that the fixed time of a call is small even at the smallest d. Each run has other
weights and examples. The runs are not divided among processes: these would share the memory bus.

In float64 at a small d, both log-determinants must agree, and they must not be 0. This is the first gate. The second is
that the exponents from the odd and from the even rounds agree; otherwise the machine does not allow the measurement.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from statistics import fmean, median
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from danlu.experiments.harness.criteria import Comparison, Criteria, Judgment
from danlu.experiments.harness.experiment import Experiment, Numbers, ProgressCallback, Table
from danlu.experiments.harness.seeds import seeds
from danlu.experiments.harness.timing import alternating_times, growth, halves
from danlu.experiments.harness.trainers import from_seed
from danlu.experiments.harness.wording import mean_and_range, number
from danlu.nn.transforms.planar import Planar
from danlu.rng.keys import generator
from danlu.training.malloc import keep_freed_memory

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PLANAR_SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000)
GENERAL_SIZES = (512, 1024, 2048, 4096)
CHECKED_SIZE = 32  # the dimension at which both log-determinants are compared
EXAMPLES = 32
ROUNDS = 4
STRETCH = 3.0  # what is added to wᵀu, so that the log-determinant is not 0
EXACT = 1e-10  # nats: a difference that float64 rounding explains
PLANAR, GENERAL, BOTH = "planar", "general", "both"
Times = dict[tuple[str, int], list[float]]
"""seconds per example, by kind and dimension, one for each round"""


def layer(size: int, seed: int) -> Planar:
    """A planar layer whose Jacobian is not close to the identity."""
    planar = from_seed(partial(Planar, size, layers=1), seed)
    with torch.no_grad():
        planar.direction.addcdiv_(planar.weight, planar.weight.square().sum(1, keepdim=True), value=STRETCH)
    return planar


def latents(n: int, size: int, seed: int, dtype: torch.dtype = torch.float32) -> Float[Tensor, "n size"]:
    """Standard normal examples of a run, with a standard deviation of wᵀz of about 1."""
    return torch.randn(n, size, generator=generator("log-det", seed, size), dtype=dtype)


def jacobian(planar: Planar, z: Float[Tensor, "d"]) -> Float[Tensor, "d d"]:
    """The Jacobian ∂f/∂z at one point, by autograd: the point is repeated, and row i is the gradient of output i."""
    points = z.expand(len(z), -1).clone().requires_grad_()
    x, _ = planar.inverse(points)
    (rows,) = torch.autograd.grad(x, points, torch.eye(len(z), dtype=z.dtype))
    return rows


def compare_log_dets(seed: int) -> dict[str, float]:
    """Both log-determinants of one layer at several points: the largest difference, and the mean size."""
    planar, z = layer(CHECKED_SIZE, seed).double(), latents(EXAMPLES, CHECKED_SIZE, seed, torch.float64)
    with torch.no_grad():
        _, found = planar.inverse(z)
    general = torch.stack([general_log_det(jacobian(planar, point)) for point in z])
    return {"difference": float((found - general).abs().max()), "size": float(general.abs().mean())}


def general_log_det(matrix: Float[Tensor, "d d"]) -> Float[Tensor, ""]:
    """The log-determinant of a matrix without regard to its structure, from a factorization."""
    return torch.linalg.slogdet(matrix).logabsdet


def measure_times(planar_sizes: tuple[int, ...], general_sizes: tuple[int, ...], rounds: int, seed: int) -> Times:
    """The processor time of a log-determinant, in seconds per example, by kind, dimension and round."""
    operations: dict[tuple[str, int], Callable[[], object]] = {}
    for size in (max(general_sizes), *planar_sizes):
        operations[PLANAR, size] = partial(layer(size, seed).inverse, latents(EXAMPLES, size, seed))
    for size in general_sizes:
        matrix = jacobian(layer(size, seed), latents(1, size, seed)[0])
        operations[GENERAL, size] = partial(general_log_det, matrix)
    with torch.no_grad():
        times = alternating_times(operations, rounds)
    examples = {PLANAR: EXAMPLES, GENERAL: 1}
    return {name: [seconds / examples[name[0]] for seconds in found] for name, found in times.items()}


def measure(seed: int, progress: ProgressCallback, quick: bool = False) -> Numbers:
    """Times by kind and dimension, exponents, and the agreement of both log-determinants, for each seed."""
    run_seeds = seeds(seed, 3 if quick else 5)
    planar_sizes, general_sizes = (PLANAR_SIZES[:2], GENERAL_SIZES[:2]) if quick else (PLANAR_SIZES, GENERAL_SIZES)
    keep_freed_memory()  # otherwise the system clears the memory of large results anew in every call
    arms: dict[str, dict[str, list[float]]] = {PLANAR: {}, GENERAL: {}, BOTH: {}}
    times: Numbers = {PLANAR: {}, GENERAL: {}}
    for done, run_seed in enumerate(run_seeds):
        progress("runs", done, len(run_seeds))
        found = measure_times(planar_sizes, general_sizes, 2 if quick else ROUNDS, run_seed)
        for (kind, size), seconds in found.items():
            times[kind].setdefault(str(size), []).append(median(seconds))
        run = {kind: summary(kind, found, max(general_sizes)) for kind in (PLANAR, GENERAL)}
        for arm, values in {**run, BOTH: compare_log_dets(run_seed)}.items():
            for name, value in values.items():
                arms[arm].setdefault(name, []).append(value)
    return {"arms": arms, "seconds": times}


def summary(kind: str, times: Times, shared: int) -> dict[str, float]:
    """The exponent of one kind, its distance from that of the notes, and how well it is repeated.

    Args:
        kind: planar or general.
        times: the measured times.
        shared: the dimension at which both kinds are measured; the exponent of the planar layer is without it.
    """
    sizes = [size for name, size in times if name == kind and (kind == GENERAL or size != shared)]
    exponent = growth(sizes, [median(times[kind, size]) for size in sizes])
    even, odd = zip(*(halves(times[kind, size]) for size in sizes), strict=True)
    return {
        "exponent": exponent,
        "distance": abs(exponent - EXPONENTS[kind]),
        "disagreement": abs(growth(sizes, even) - growth(sizes, odd)),
        "seconds": median(times[kind, shared]),
    }


EXPONENTS = {PLANAR: 1.0, GENERAL: 3.0}
# O(√d) and O(d²) are far outside of 1 ± 0.2, and caches change an exponent by about 0.1. A factorization of a small
# matrix is less efficient than that of a large one; 0.5 is half way to O(d²).
TOLERANCES = {PLANAR: 0.2, GENERAL: 0.5}


def _exponent(kind: str, words: str) -> Comparison:
    tolerance = TOLERANCES[kind]
    clause = f"{words} grows with exponent {EXPONENTS[kind]:g} ± {tolerance:g}"
    return Comparison(clause, kind, 2 * tolerance, "distance", tolerance, lower=True)


def _repeated(kind: str) -> Comparison:
    tolerance = TOLERANCES[kind] / 2
    clause = f"the exponents of the {kind} log-determinant from odd and even rounds agree"
    return Comparison(clause, kind, 2 * tolerance, "disagreement", tolerance, lower=True)


LINEAR = _exponent(PLANAR, "the time of the planar log-determinant")
CUBIC = _exponent(GENERAL, "the time of the general log-determinant")
FASTER = Comparison(  # the number of operations is lower by about d²/3, five million at this d
    f"at d = {GENERAL_SIZES[-1]} the planar log-determinant takes at most a hundredth of the time",
    PLANAR, GENERAL, "seconds", 100.0, lower=True, ratio=True,
)  # fmt: skip
CRITERIA = Criteria(
    clauses=(LINEAR, CUBIC, FASTER),
    gates=(
        Comparison("both log-determinants are equal up to rounding", BOTH, 2 * EXACT, "difference", EXACT, lower=True),
        Comparison("the log-determinants are not close to 0", BOTH, 0.0, "size", 0.1),
        _repeated(PLANAR),
        _repeated(GENERAL),
    ),
)


def conclude(numbers: Numbers, judgment: Judgment) -> str:
    """The exponents, and the ratio of the times."""
    planar, general = (numbers["arms"][kind] for kind in (PLANAR, GENERAL))
    ratio = fmean(a / b for a, b in zip(general["seconds"], planar["seconds"], strict=True))
    exponents = [number(fmean(arm["exponent"])) for arm in (planar, general)]
    return (
        f"The time of the log-determinant grows with d to the power of {exponents[0]} for a planar layer and "
        f"{exponents[1]} for a general Jacobian. At the largest d that is measured for both, the planar layer takes "
        f"less time by a factor of {number(ratio, 2)}." + judgment.not_shown(*CRITERIA.clauses)
    )


def table(numbers: Numbers) -> Table:
    """Time per example by dimension, and the exponents."""
    rows: Table = [("quantity", "planar", "general")]
    sizes = sorted({int(size) for kind in (PLANAR, GENERAL) for size in numbers["seconds"][kind]})
    for size in sizes:
        cells = (numbers["seconds"][kind].get(str(size)) for kind in (PLANAR, GENERAL))
        rows.append((f"µs, d = {size:,}", *(mean_and_range([1e6 * x for x in cell]) if cell else "" for cell in cells)))
    arms = numbers["arms"]
    rows.append(("exponent", *(mean_and_range(arms[kind]["exponent"]) for kind in (PLANAR, GENERAL))))
    return rows


def plot(numbers: Numbers) -> Figure:
    """Time against dimension on logarithmic axes, and the exponents of all runs."""
    from danlu.experiments.harness.plots import colors, line, logarithmic, panels, secondary_color

    figure, (left, right) = panels(2, height=2.6, width_ratios=(1.7, 1))
    for k, kind in enumerate((PLANAR, GENERAL)):
        found = numbers["seconds"][kind]
        sizes = sorted(map(int, found))
        runs = list(zip(*([1e6 * x for x in found[str(size)]] for size in sizes), strict=True))
        line(left, sizes, runs, k, kind)
        exponent = fmean(numbers["arms"][kind]["exponent"])
        offset, side = ((-4, 6), "right") if kind == PLANAR else ((7, -4), "left")
        left.annotate(f"{kind}\nd to the power of {exponent:.2f}", (sizes[-1], runs[0][-1]), offset, ha=side,
                      va="bottom" if kind == PLANAR else "center", textcoords="offset points", fontsize=7,
                      color=colors()[k])  # fmt: skip
        place = [k + 0.06 * (i - 2) for i in range(len(numbers["arms"][kind]["exponent"]))]
        right.plot(place, numbers["arms"][kind]["exponent"], "os"[k], color=colors()[k], markersize=4)
        middle, width = EXPONENTS[kind], TOLERANCES[kind]
        right.fill_between([k - 0.35, k + 0.35], [middle - width] * 2, [middle + width] * 2, linewidth=0,
                           color=secondary_color(), alpha=0.2)  # fmt: skip
    logarithmic(left.xaxis)
    logarithmic(left.yaxis)
    left.set(title="time of a log-determinant", xlabel="dimension d", ylabel="µs per example")
    right.set(title="exponent", xticks=(0, 1), xlim=(-0.5, 1.5), ylim=(0, 4), xlabel="log-determinant")
    right.set_xticklabels((PLANAR, GENERAL))
    right.grid(True, axis="y")
    return figure


EXPERIMENT = Experiment(
    measure=measure,
    criteria=CRITERIA,
    conclude=conclude,
    table=table,
    plot=plot,
    method=(
        "The processor time of a planar layer with its log-determinant, and of the log-determinant of a Jacobian as a "
        "matrix, is measured for several dimensions d. The exponent is the slope of log time over log d; both "
        "log-determinants are compared at a small d."
    ),
    caption=(
        "Left: processor time per example against the dimension, both axes logarithmic; lines are means over runs, "
        "bands the range. Right: the exponents of all runs; the gray bands are 1 ± 0.2 and 3 ± 0.5."
    ),
)
