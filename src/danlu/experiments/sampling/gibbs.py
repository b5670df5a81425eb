"""Gibbs sampling from a random state, repeated often enough, samples the model (notes, 2.1.1.3.1).

Line 480: start from a random x, draw each x_i from its distribution given the others, and repeat until convergence. In
practice x may oscillate in a small region without converging; the states of such a region are about equally good, so
one is taken after enough repetitions.

The models have 8 units −1 and 1 with random couplings, so that all 256 states are enumerated. The sentence is tested in
its parts.

* Many chains start from random states, and also from the least probable state. In the last ``LAST`` of
  ``SWEEPS`` sweeps their frequencies are compared with the probabilities of the model in total variation, which is the
  largest error of the probability of an event. Finite draws have a distance, too: the same number of exact draws is the
  reference.
* A chain that converges would keep its state. The fraction of the chains whose state the last sweep changes is
  measured: it is the distribution that converges, not the chain.
* A small region is made by a stored pattern ξ with the coupling J ξ ξᵀ / N: the states near ξ and −ξ are two modes, of
  which a bias makes one four times as probable as the other. The chains stay in the mode that is near their start. The
  number of sweeps until the distribution is exact to 0.01 is computed for several J, beside the energy barrier.

The distribution after k sweeps is also computed exactly, with the transition matrix. That the chains have this
distribution is a gate. A theorem decides the claim: a chain that can reach all states in one sweep converges.
"""

from __future__ import annotations

import math
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from danlu.experiments.harness.criteria import Comparison, Criteria, Judgment
from danlu.experiments.harness.experiment import Experiment, Numbers, ProgressCallback, Table
from danlu.experiments.harness.parallel import run_each
from danlu.experiments.harness.seeds import seeds
from danlu.experiments.harness.wording import mean_and_range, number, percent
from danlu.experiments.sampling.barrier import energy_barrier
from danlu.experiments.sampling.exact_chains import (
    distance_of_draws,
    frequencies,
    noise,
    sign_index,
    sign_states,
    steps_until,
    sweep_matrix,
    total_variation,
)
from danlu.experiments.sampling.machine import UNITS, Machine, machine
from danlu.rng.keys import generator
from danlu.sampling.mcmc.chains import run_chains

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SWEEPS, LAST = 100, 20  # sweeps, and the last ones, over which the distance of the chains is averaged
STATES = 2**UNITS
CLOSE = 0.01  # the probability of no event is wrong by more than 1 %
ONE, TWO = "random couplings", "two separated modes"
COUPLINGS = {ONE: 0.0, TWO: 4.0}
"""coupling J of the stored pattern by arm"""
SERIES = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0)
"""couplings for which the number of sweeps is computed; from 2 on there are two modes"""
RANDOM, WORST = "random", "least probable"


def chain_distances(model: Machine, chains: int, seed: int) -> dict[str, dict[str, list[float]]]:
    """The distances after each sweep for both starts; all chains are moved together."""
    p, states = model.probabilities(), sign_states(UNITS)
    first = {
        RANDOM: torch.full_like(p, 1 / STATES),
        WORST: torch.zeros_like(p).index_fill_(0, p.argmin(), 1.0),
    }
    source = generator("start", seed)
    drawn = [torch.multinomial(one, chains, replacement=True, generator=source) for one in first.values()]
    start = states[torch.cat(drawn)]
    index = run_chains(model.kernel(), start, SWEEPS, seed=generator("sweeps", seed), keep=sign_index).values
    matrix = sweep_matrix(model.kernel(), UNITS)
    parts = zip(first.items(), index.split(chains), strict=True)
    return {name: distances(part, one, matrix, p) for (name, one), part in parts}


def distances(
    index: Int[Tensor, "chains sweeps"],
    first: Float[Tensor, "states"],
    matrix: Float[Tensor, "states states"],
    p: Float[Tensor, "states"],
) -> dict[str, list[float]]:
    """After each sweep, the distance of the chains from the model, that of the exact distribution, and their mismatch.

    The mismatch is the distance of the chains from the exact distribution, as a multiple of the expected noise.
    """
    found: dict[str, list[float]] = {"chains": [], "exact": [], "mismatch": []}
    expected = first
    for states in index.unbind(1):
        expected = expected @ matrix
        observed = frequencies(states, STATES)
        found["chains"].append(total_variation(observed, p))
        found["exact"].append(total_variation(expected, p))
        found["mismatch"].append(total_variation(observed, expected) / noise(expected, len(index)))
    found["changed"] = [float((index[:, -1] != index[:, -2]).double().mean())]
    return found


def measure_seed(seed: int, chains: int) -> dict[str, dict[str, list[float]]]:
    """The distances of one machine for each arm, and its sweeps and barriers for each coupling."""
    found: dict[str, dict[str, list[float]]] = {}
    for arm, coupling in COUPLINGS.items():
        model = machine(coupling, seed)
        p = model.probabilities()
        runs = chain_distances(model, chains, seed)
        found[arm] = {
            **runs[RANDOM],
            "worst": runs[WORST]["chains"],
            "worst mismatch": runs[WORST]["mismatch"],
            "draws": [distance_of_draws(p, chains, arm, seed, copy) for copy in range(LAST)],
            "start": [total_variation(torch.full_like(p, 1 / STATES), p)],
        }
    found["series"] = {"sweeps": [], "barrier": []}
    for coupling in SERIES:
        sweeps, barrier = needed(machine(coupling, seed))
        found["series"]["sweeps"].append(float(sweeps))
        found["series"]["barrier"].append(barrier)
    return found


def needed(model: Machine) -> tuple[int, float]:
    """Sweeps from random states until the distribution is exact to ``CLOSE``, and the barrier on the way from −ξ."""
    p = model.probabilities()
    sweeps = steps_until(sweep_matrix(model.kernel(), UNITS), torch.full_like(p, 1 / STATES), p, CLOSE)
    energies = -model.log_density(sign_states(UNITS))
    ends = (int(sign_index(-model.pattern)), int(sign_index(model.pattern)))
    return sweeps, energy_barrier(energies, *ends)


def measure(seed: int, progress: ProgressCallback, quick: bool = False) -> Numbers:
    """Distances after each sweep by arm and seed; sweeps and barriers by coupling and seed."""
    chains = 1000 if quick else 10_000
    run_seeds = seeds(seed, 3 if quick else 8)
    runs = run_each(measure_seed, [(run_seed, chains) for run_seed in run_seeds], progress, "machines")
    arms = {arm: [_measures(run[arm]) for run in runs] for arm in COUPLINGS}
    gathered = {arm: {name: [one[name] for one in each] for name in each[0]} for arm, each in arms.items()}
    gathered[TWO]["growth"] = [_growth(run["series"]) for run in runs]
    names = ("chains", "exact", "draws")
    curves = {arm: {name: [run[arm][name] for run in runs] for name in names} for arm in COUPLINGS}
    return {"arms": gathered, "curves": curves, "series": [run["series"] for run in runs]}


def _measures(run: dict[str, list[float]]) -> dict[str, float]:
    """One value for each measure of an arm."""
    draws = fmean(run["draws"])
    return {
        "start": run["start"][0],
        "distance": fmean(run["chains"][-LAST:]),
        "exact draws": draws,
        "excess": fmean(run["chains"][-LAST:]) - draws,
        "excess, least probable": fmean(run["worst"][-LAST:]) - draws,
        "mismatch": fmean(run["mismatch"] + run["worst mismatch"]),
        "changed": run["changed"][0],
    }


def _growth(series: dict[str, list[float]]) -> float:
    """By how much the logarithm of the number of sweeps grows for each unit of energy, from J = 2 on."""
    barriers, sweeps = (
        [value for coupling, value in zip(SERIES, series[name], strict=True) if coupling >= 2]
        for name in ("barrier", "sweeps")
    )
    return float(np.polyfit(barriers, np.log(sweeps), 1)[0])


def _exact(clause: str, arm: str, measure: str) -> Comparison:
    return Comparison(clause, arm, 2 * CLOSE, measure, CLOSE, lower=True)


CONVERGES = _exact(f"after {SWEEPS} sweeps chains from random states are as close as exact draws", ONE, "excess")
FORGETS = _exact("chains from the least probable state are as close as exact draws", ONE, "excess, least probable")
RESTS = Comparison(  # half way between chains that all change and chains that all stay
    "single chains come to rest", ONE, 1.0, "changed", 0.5, lower=True
)
SEPARATED = _exact("as many sweeps are enough for two separated modes", TWO, "excess")
SLOW = Comparison(  # half way between no growth, 0, and growth as exp(barrier), 1
    "the number of sweeps does not grow exponentially with the barrier", TWO, 1.0, "growth", 0.5, lower=True
)
CRITERIA = Criteria(
    clauses=(CONVERGES, FORGETS),
    gates=(
        Comparison("random states are far from the model", ONE, 0.0, "start", 0.25),
        *(
            Comparison(f"chains have the exact distribution after each sweep, {arm}", arm, 3.0, "mismatch", 1.5,
                       lower=True)
            for arm in COUPLINGS
        ),
    ),
    limits=(RESTS, SEPARATED, SLOW),
)  # fmt: skip


def conclude(numbers: Numbers, judgment: Judgment) -> str:
    """The distance of the chains beside that of exact draws; then what limits the claim."""
    arms = numbers["arms"]
    distance, exact = (number(fmean(arms[ONE][name]), 2) for name in ("distance", "exact draws"))
    text = (
        f"After {SWEEPS} sweeps the frequencies of all states differ from the model by {distance} in total variation, "
        f"those of as many exact draws by {exact}."
    )
    text += judgment.not_shown(*CRITERIA.clauses)
    if judgment.refuted(RESTS.clause):
        text += " The distribution converges, not the chain: its state keeps changing."
    if judgment.refuted(SEPARATED.clause):
        there = number(fmean(arms[TWO]["distance"]), 2)
        text += f" With two separated modes as many sweeps are not enough: the distance is {there}."
    if judgment.refuted(SLOW.clause):
        text += " The number of sweeps that are enough grows exponentially with the barrier between the modes."
    return text + judgment.not_shown(*(one for one in CRITERIA.limits if not judgment.refuted(one.clause)))


def table(numbers: Numbers) -> Table:
    """Distances by arm; sweeps and barrier by coupling."""
    arms, series = numbers["arms"], numbers["series"]
    rows: Table = [("quantity", *COUPLINGS)]
    for name, text in (
        ("start", "distance of random states from the model"),
        ("distance", f"distance of chains in the last {LAST} of {SWEEPS} sweeps"),
        ("exact draws", "distance of as many exact draws"),
        ("excess, least probable", "difference of both, chains from the least probable state"),
        ("mismatch", "mean distance of chains from the exact distribution, in units of the noise"),
    ):
        rows.append((text, *(mean_and_range(arms[arm][name]) for arm in COUPLINGS)))
    rows.append(("chains that the last sweep changes", *(percent(fmean(arms[arm]["changed"])) for arm in COUPLINGS)))
    rows.append(("growth of log sweeps per unit of energy", "", mean_and_range(arms[TWO]["growth"])))
    for number_, coupling in enumerate(SERIES):
        sweeps, barrier = ([one[name][number_] for one in series] for name in ("sweeps", "barrier"))
        rows.append((f"J = {coupling:g}: sweeps, barrier", mean_and_range(sweeps), mean_and_range(barrier)))
    return rows


def plot(numbers: Numbers) -> Figure:
    """Distance from the model against sweeps for both arms; sweeps until convergence against the barrier."""
    from danlu.experiments.harness.plots import colors, line, logarithmic, panels, secondary_color

    figure, (left, right) = panels(2, height=2.6, width_ratios=(1.15, 1))
    sweeps = list(range(1, SWEEPS + 1))
    for k, (arm, found) in enumerate(numbers["curves"].items()):
        line(left, sweeps, found["chains"], k, arm)
        exact = [fmean(values) for values in zip(*found["exact"], strict=True)]
        left.plot(sweeps, exact, color=colors()[k], linewidth=0.9, linestyle=(0, (1, 1.5)))
        left.axhline(fmean(fmean(values) for values in found["draws"]), color=colors()[k], linewidth=0.8,
                     linestyle=(0, (5, 3)))  # fmt: skip
    dark = secondary_color()
    left.plot([], [], color=dark, linewidth=0.9, linestyle=(0, (1, 1.5)), label="exact distribution")
    left.plot([], [], color=dark, linewidth=0.8, linestyle=(0, (5, 3)), label="as many exact draws")
    logarithmic(left.xaxis)
    logarithmic(left.yaxis)
    left.set(title="distance from the model", xlabel="sweeps", ylim=(1e-3, 4))
    left.legend(loc="upper right", ncols=2, fontsize="small")
    for one in numbers["series"]:
        right.plot(one["barrier"], one["sweeps"], "o", color=colors()[1], markersize=3, alpha=0.6)
    ends = (5.0, 14.0)
    right.plot(ends, [math.exp(barrier - 3) for barrier in ends], color=dark, linewidth=0.9, linestyle=(0, (4, 2)))
    right.annotate("∝ exp(barrier)", (8.7, math.exp(5)), color=dark, va="center")
    logarithmic(right.yaxis)
    right.set(title=f"sweeps until the distance is {CLOSE}", xlabel="energy barrier between the modes")
    return figure


EXPERIMENT = Experiment(
    measure=measure,
    criteria=CRITERIA,
    conclude=conclude,
    table=table,
    plot=plot,
    method=(
        f"Machines of {UNITS} units with random couplings are sampled by many chains from random states. The "
        f"frequencies of all {STATES} states are compared with the enumerated model, with the exact distribution after "
        "each sweep, and with exact draws; a stored pattern makes two separated modes."
    ),
    caption=(
        "Left: total variation between the frequencies of the chains and the model, against the number of sweeps; "
        "lines are means over seeds, bands the range. Dotted: the exact distribution of the chains; dashed: as many "
        "exact draws. Right: the exact number of sweeps until the distance is 0.01, against the energy barrier between "
        "the modes; one dot for each machine and coupling."
    ),
    demonstration=True,
)
