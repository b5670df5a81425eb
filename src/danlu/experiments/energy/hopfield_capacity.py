"""A Hopfield network of N units stores at most O(N log N) patterns (notes, 2.1.1.1).

Line 424 names N log N as an upper bound, of which it is not known whether it can be improved. For Hebb's rule and
random patterns it can: the theory of N → ∞ gives 0.138 N patterns with a few wrong units (``mean_field``), and N / (2
ln N) of which most have no wrong unit (McEliece et al., "The capacity of the Hopfield associative memory", 1987).

If the capacity p grew as N log N, the load p / N would grow as log N: from 100 to 4000 units by a factor of 1.8. Two
loads are measured as a function of N:

* half recall: the load at which half of the patterns are recalled, with an overlap of at least 0.9 at the end of an
  asynchronous recall that starts at the pattern;
* half without an error: the load at which half of the patterns are fixed points.

Loads between those that are measured are interpolated. The first gate is the theory: at a load of 0.1 the mean overlap
of the largest network is that of the mean-field equation. Each seed has other patterns; a network with a larger load
has those of the smaller loads and others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from danlu.experiments.energy import mean_field
from danlu.experiments.harness.criteria import Comparison, Criteria, Judgment
from danlu.experiments.harness.experiment import Experiment, Numbers, ProgressCallback, Table
from danlu.experiments.harness.parallel import run_each
from danlu.experiments.harness.seeds import seeds
from danlu.experiments.harness.wording import mean_and_range, number
from danlu.metrics.recall import overlaps
from danlu.models.energy.hopfield import Hopfield
from danlu.rng.keys import generator

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOADS = {
    100: (0.05, 0.08, 0.1, 0.12, 0.14, 0.17, 0.2, 0.24, 0.28, 0.34),
    250: (0.05, 0.08, 0.1, 0.12, 0.15, 0.17, 0.19, 0.22, 0.26),
    1000: (0.05, 0.07, 0.09, 0.1, 0.12, 0.14, 0.155, 0.17, 0.2),
    4000: (0.05, 0.07, 0.1, 0.14, 0.155, 0.17),
}
"""loads p / N by number of units N"""
NETWORKS = {100: 8, 250: 4, 1000: 2, 4000: 1}
"""networks for each seed: as many units in all of them"""
TESTED = 24  # patterns of a network that are recalled
GOOD = 0.9  # overlap of a pattern that is recalled: those that are not end near 0.35
CHECKED_LOAD = 0.1
CLOSE = 0.005
SMALLEST, LARGEST = min(LOADS), max(LOADS)


def measure_network(units: int, loads: Sequence[float], seed: int, copy: int) -> dict[str, list[float]]:
    """One network with more and more patterns; at each load the overlap, recall and stability of some of them."""
    count = round(max(loads) * units)
    source = generator("capacity", seed, units, copy)
    patterns = torch.randint(0, 2, (count, units), generator=source).float() * 2 - 1
    model = cast(Hopfield, Hopfield((units,), count))
    found: dict[str, list[float]] = {"overlap": [], "recalled": [], "exact": []}
    stored = 0
    for load in loads:
        wanted = round(load * units)
        model.store(patterns[stored:wanted], torch.arange(stored, wanted))
        stored = wanted
        chosen = patterns[torch.randperm(stored, generator=source)[:TESTED]]
        overlap, exact = recall_patterns(model, chosen, seed)
        found["overlap"].append(float(overlap.double().mean()))
        found["recalled"].append(float((overlap >= GOOD).double().mean()))
        found["exact"].append(float(exact.double().mean()))
    return found


def recall_patterns(
    model: Hopfield, patterns: Float[Tensor, "n units"], seed: int
) -> tuple[Float[Tensor, "n"], Bool[Tensor, "n"]]:
    """The overlap of each pattern with the end of its recall, and whether it is a fixed point."""
    ends = model.recall(patterns, seed=seed)
    return overlaps(ends, patterns), (ends == patterns).all(1)


def half_load(loads: Sequence[float], fractions: Sequence[float]) -> float | None:
    """The load at which a falling fraction is one half, interpolated; None if it does not cross one half.

    >>> half_load((0.1, 0.2, 0.3), (1.0, 0.75, 0.25))
    0.25
    """
    for k in range(len(loads) - 1):
        if fractions[k] >= 0.5 > fractions[k + 1]:
            share = (fractions[k] - 0.5) / (fractions[k] - fractions[k + 1])
            return loads[k] + share * (loads[k + 1] - loads[k])
    return None


def measure_seed(units: int, seed: int, networks: int) -> dict[str, list[float]]:
    """The means over the networks of a seed, at each load."""
    each = [measure_network(units, LOADS[units], seed, copy) for copy in range(networks)]
    return {name: [fmean(values) for values in zip(*(one[name] for one in each), strict=True)] for name in each[0]}


def measure(seed: int, progress: ProgressCallback, quick: bool = False) -> Numbers:
    """Overlap and recall against the load, and both loads, by number of units and seed."""
    run_seeds = seeds(seed, 3 if quick else 5)
    sizes = (SMALLEST, 250) if quick else tuple(LOADS)
    runs = [(units, run_seed, 1 if quick else NETWORKS[units]) for units in reversed(sizes) for run_seed in run_seeds]
    results = dict(zip(runs, run_each(measure_seed, runs, progress, "networks"), strict=True))
    curves: Numbers = {}
    arms: dict[str, dict[str, list[float | None]]] = {}
    for (units, _, _), found in results.items():
        loads = LOADS[units]
        for name, values in found.items():
            curves.setdefault(str(units), {}).setdefault(name, []).append(values)
        checked = found["overlap"][loads.index(CHECKED_LOAD)]
        measures = {
            "half recall": half_load(loads, found["recalled"]),
            "half without an error": half_load(loads, found["exact"]),
            "distance": abs(checked - mean_field.overlap(CHECKED_LOAD)),
            "first": found["recalled"][0],
            "last": found["recalled"][-1],
        }
        for name, value in measures.items():
            arms.setdefault(arm_of(units), {}).setdefault(name, []).append(value)
    arms[LARGE] = arms[arm_of(max(sizes))]  # of a quick run, a smaller one
    return {"arms": arms, "curves": curves}


def arm_of(units: int) -> str:
    """The name of the networks with a number of units."""
    return f"N = {units}"


SMALL, LARGE = arm_of(SMALLEST), arm_of(LARGEST)
GROWTH = math.log(LARGEST) / math.log(SMALLEST)  # by which log N grows
MARGIN = math.sqrt(GROWTH)  # half way, in the logarithm, between a constant load and one that grows as log N


def _grows(measure: str) -> Comparison:
    clause = f"the load of {measure} grows with N as log N does"
    return Comparison(clause, LARGE, SMALL, measure, MARGIN, ratio=True)


HALF, EXACT = _grows("half recall"), _grows("half without an error")
CRITERIA = Criteria(
    clauses=(HALF, EXACT),
    gates=(
        Comparison(
            "at a load of 0.1 the overlap is that of the mean-field theory", LARGE, 2 * CLOSE, "distance", CLOSE,
            lower=True,
        ),
        Comparison("at the lowest load the patterns are recalled", LARGE, 0.5, "first", 0.4),
        Comparison("at the highest load few are recalled", LARGE, 0.5, "last", 0.4, lower=True),
    ),
)  # fmt: skip


def conclude(numbers: Numbers, judgment: Judgment) -> str:
    """The loads of the smallest and the largest network."""
    arms = numbers["arms"]
    half = [_mean(arms[arm]["half recall"]) for arm in (SMALL, LARGE)]
    text = (
        f"Half of the patterns are recalled up to a load p / N of {half[0]} with {SMALLEST} units and of {half[1]} "
        f"with {LARGEST}."
    )
    if judgment.refuted(HALF.clause) and judgment.refuted(EXACT.clause):
        return text + (
            " The load does not grow, so the capacity is not proportional to N log N; it is proportional to N, and to "
            "N / log N if no unit may be wrong."
        )
    return text + judgment.not_shown(*CRITERIA.clauses)


def _mean(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return number(fmean(known)) if known else "none that is measured"


def table(numbers: Numbers) -> Table:
    """Both loads by number of units, and the theory."""
    rows: Table = [("units N", "load of half recall", "load of half without an error", "1 / (2 ln N)")]
    for units in LOADS:
        if str(units) in numbers["curves"]:
            values = numbers["arms"][arm_of(units)]
            both = (mean_and_range(values[name]) for name in ("half recall", "half without an error"))
            rows.append((str(units), *both, number(1 / (2 * math.log(units)))))
    rows.append(("N → ∞, theory", "0.138", "0", "0"))
    return rows


def plot(numbers: Numbers) -> Figure:
    """Overlap and fraction of recalled patterns against the load, with the mean-field curve."""
    from danlu.experiments.harness.plots import legend_above, line, panels

    figure, (left, middle, right) = panels(3, height=2.3)
    for k, (units, found) in enumerate(sorted(numbers["curves"].items(), key=lambda item: int(item[0]))):
        loads = LOADS[int(units)]
        for panel, name in ((left, "overlap"), (middle, "recalled"), (right, "exact")):
            line(panel, loads, found[name], k, f"N = {units}")
    theory = [0.005 * step for step in range(4, 28)]
    left.plot(theory, [mean_field.overlap(load) for load in theory], color="black", linewidth=0.9,
              linestyle=(0, (4, 2)), label="theory, N → ∞")  # fmt: skip
    middle.axvline(0.138, color="black", linewidth=0.9, linestyle=(0, (4, 2)))
    left.set(title="mean overlap", xlabel="load p / N", ylim=(0, 1.03))
    middle.set(title="recalled", xlabel="load p / N", ylim=(-0.03, 1.03))
    right.set(title="without an error", xlabel="load p / N", ylim=(-0.03, 1.03))
    legend_above(figure, left)
    return figure


EXPERIMENT = Experiment(
    measure=measure,
    criteria=CRITERIA,
    conclude=conclude,
    table=table,
    plot=plot,
    method=(
        "Hebb's rule stores more and more random patterns in networks of several sizes N. At each load p / N, patterns "
        "are recalled from themselves; the loads at which half of them are recalled, and half have no wrong unit, are "
        "compared between sizes."
    ),
    caption=(
        "Mean overlap of recalled patterns, fraction with an overlap of at least 0.9, and fraction without a wrong "
        "unit against the load; lines are means over seeds, bands the range. Dashed: the mean-field theory, and its "
        "largest load, 0.138."
    ),
)
