"""Two updates of blocks replace n updates of single units in a restricted Boltzmann machine (notes, 2.1.1.4).

Line 528 says that Gibbs sampling of a Boltzmann machine has many steps and cannot be parallelized. Line 531 says that
without couplings inside each layer, all units of a layer are drawn in parallel, so that the number of updates of a
sweep decreases from the number of units to 2, and that this greatly increases the efficiency.

All machines have n units, half of them visible, and fields with the same variance. Four samplers are timed:

* all couplings, one unit after the other, with a product for each: the procedure of the notes;
* all couplings in danlu's blocks of up to 64 units: the same states with fewer products (``GibbsSweeps``);
* a restricted machine, one unit after the other;
* the RBM with the distribution of this restricted machine, which draws a layer at once.

The last two give the same states for the same random numbers, so an effective draw needs as many sweeps in both, and
the ratio of sweeps per second is that of effective draws per second. A machine with all couplings has another
distribution; its effective sample size is measured.

All couplings are n(n − 1)/2, those of the RBM n²/4, so a factor of 2 in time is due to the number of couplings. The
rest is due to the number of operations, one after the other, into which the products are divided. On one core one large
product is faster than many small ones. With many chains the update of one unit is already a large operation; therefore
the times are measured for one chain and for many. Other hardware has other factors.

The number of updates and the equality of states follow from mathematics and are demonstrated; the times are measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from statistics import fmean, median
from typing import TYPE_CHECKING

from danlu.experiments.energy.unit_updates import (
    Sampler,
    block_gibbs,
    different,
    in_blocks,
    machine,
    mismatch,
    single_units,
    two_halves,
)
from danlu.experiments.harness.criteria import Comparison, Criteria, Judgment
from danlu.experiments.harness.experiment import Experiment, Numbers, ProgressCallback, Table
from danlu.experiments.harness.seeds import seeds
from danlu.experiments.harness.timing import alternating_times, growth, halves
from danlu.experiments.harness.wording import mean_and_range, number
from danlu.rng.keys import generator
from danlu.sampling.mcmc.chains import run_chains

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZES = (50, 100, 200, 400, 800)
CHAINS = {"one chain": 1, "100 chains": 100}
ONE, MANY = CHAINS
SWEEPS, ROUNDS = 4, 4
COMPARED = 50  # units of the machines whose states are compared
SINGLE, BLOCKS, SAME = "all couplings, single units", "all couplings, in blocks", "restricted, single units"
RBM = "RBM"
HALVES = "all couplings, two halves"
SAMPLERS: dict[str, Callable[[int, int], Sampler]] = {
    SINGLE: lambda n, seed: single_units(machine("all", n, seed)),
    BLOCKS: lambda n, seed: in_blocks(machine("all", n, seed)),
    SAME: lambda n, seed: single_units(machine("restricted", n, seed), hidden_first=True),
    RBM: lambda n, seed: block_gibbs(machine("restricted", n, seed)),
    HALVES: lambda n, seed: two_halves(machine("all", n, seed)),
}
"""arm: its sampler for a number of units and a seed"""
TIMED = (SINGLE, BLOCKS, SAME, RBM)
Times = dict[tuple[str, str, int], list[float]]
"""seconds per sweep of all chains, by arm, chains and number of units, one for each round"""


def measure_times(sizes: tuple[int, ...], rounds: int, seed: int) -> Times:
    """The processor time of a sweep."""
    operations = {
        (arm, name, size): partial(move, sampler, chains, seed)
        for size in sizes
        for arm in TIMED
        for sampler in [SAMPLERS[arm](size, seed)]
        for name, chains in CHAINS.items()
    }
    return {name: [t / SWEEPS for t in found] for name, found in alternating_times(operations, rounds).items()}


def move(sampler: Sampler, chains: int, seed: int) -> None:
    """A few sweeps."""
    state, source = sampler.kernel.start(sampler.start(chains)), generator("sweeps", seed)
    for _ in range(SWEEPS):
        state = sampler.kernel.step(state, source)


def efficiency(sampler: Sampler, draws: int, seed: int) -> float:
    """Effective draws per sweep and chain: the mean over some visible units."""
    chains = 20
    run = run_chains(sampler.kernel, sampler.start(chains), draws, draws // 4, seed=seed, keep=lambda s: s[:, :25])
    return float(run.effective_sample_size("mean").mean()) / (chains * draws)


def checks(chains: int, seed: int) -> dict[str, dict[str, float]]:
    """By arm: the mismatch with the exact distribution, updates in a sweep, and differences from single units."""
    found = {arm: {"mismatch": mismatch(SAMPLERS[arm], chains, seed)} for arm in (SINGLE, RBM, HALVES)}
    for arm in (SINGLE, RBM):
        updates = SAMPLERS[arm](COMPARED, seed).updates
        found[arm] |= {"updates": float(updates), "updates per unit": updates / COMPARED}
    complete, restricted = (machine(name, COMPARED, seed).double() for name in ("all", "restricted"))
    single = single_units(restricted, hidden_first=True)
    found[RBM]["different"] = different(single, block_gibbs(restricted), 20, 20, seed)
    found[BLOCKS] = {"different": different(single_units(complete), in_blocks(complete), 20, 20, seed)}
    return found


def measure(seed: int, progress: ProgressCallback, quick: bool = False) -> Numbers:
    """Checks, times and their growth, by arm and seed; times by number of units."""
    run_seeds = seeds(seed, 3 if quick else 5)
    sizes, rounds = (SIZES[:3], 2) if quick else (SIZES, ROUNDS)
    arms: dict[str, dict[str, list[float]]] = {}
    seconds: Numbers = {}
    for done, run_seed in enumerate(run_seeds):
        progress("machines", done, len(run_seeds))
        times = measure_times(sizes, rounds, run_seed)
        for (arm, chains, size), values in times.items():
            seconds.setdefault(arm, {}).setdefault(chains, {}).setdefault(str(size), []).append(median(values))
        found = checks(1000 if quick else 4000, run_seed)
        for arm in TIMED:
            found.setdefault(arm, {}).update(summary(arm, sizes, times))
        for arm, sampler in ((SINGLE, BLOCKS), (RBM, RBM)):  # blocks give the states of single units in less time
            share = efficiency(SAMPLERS[sampler](max(sizes), run_seed), 100 if quick else 400, run_seed)
            draw = found[arm][MANY] / (CHAINS[MANY] * share)
            found[arm] |= {"draws per sweep": share, "seconds per draw": draw}
        found[RBM]["disagreement"] = disagreement(sizes, times)
        for arm, measures in found.items():
            for name, value in measures.items():
                arms.setdefault(arm, {}).setdefault(name, []).append(value)
    return {"arms": arms, "seconds": seconds}


def summary(arm: str, sizes: tuple[int, ...], times: Times) -> dict[str, float]:
    """For each number of chains, the time with most units and the exponent of its growth."""
    found = dict[str, float]()
    for chains in CHAINS:
        medians = [median(times[arm, chains, size]) for size in sizes]
        found |= {chains: medians[-1], f"exponent, {chains}": growth(sizes, medians)}
    return found


def disagreement(sizes: tuple[int, ...], times: Times) -> float:
    """The largest ratio of a factor between an arm and the RBM in the odd rounds to that in the even ones."""
    ratios = []
    for chains in CHAINS:
        for arm in (SINGLE, BLOCKS, SAME):
            (even, odd), (rbm_even, rbm_odd) = (halves(times[one, chains, max(sizes)]) for one in (arm, RBM))
            ratios.append(abs(math.log(even / rbm_even * rbm_odd / odd)))
    return math.exp(max(ratios))


TENTH = 10.0  # "greatly": an order of magnitude, well above the factor 2 of the number of couplings
_faster = partial(Comparison, arm=RBM, margin=TENTH, lower=True, ratio=True)
# n / 2, the ratio of the numbers of updates, has the exponent 1; half of that is still a growth with n
_grows = partial(Comparison, arm=SINGLE, than=RBM, margin=0.5)
LARGEST = f"n = {SIZES[-1]}"
EACH = Comparison(
    "a sweep of a machine with all couplings has an update for each unit", SINGLE, 0.0, "updates per unit", 1.0
)
TWO = Comparison("a sweep of the RBM has 2 updates", RBM, 3.0, "updates", 1.0, lower=True)
REPLACE = Comparison(
    "two updates of the RBM give the states of n single ones", RBM, 0.01, "different", 0.01, lower=True
)
NEEDED = Comparison(
    "with all couplings, two updates sample another distribution", HALVES, SINGLE, "mismatch", 2.0, ratio=True
)
FASTER = _faster(
    f"at {LARGEST} a sweep of the RBM takes at most a tenth of the time, one chain", than=SINGLE, measure=ONE
)
SAME_MODEL = _faster("the same is true beside single updates of the RBM's own distribution", than=SAME, measure=ONE)
GROWS = _grows("the factor grows with n, one chain", measure=f"exponent, {ONE}")
FASTER_MANY = _faster(f"with {MANY} a sweep takes at most a tenth of the time", than=SINGLE, measure=MANY)
GROWS_MANY = _grows(f"with {MANY} the factor grows with n at least as √n", measure=f"exponent, {MANY}")
BESIDE_BLOCKS = _faster(
    f"a sweep takes at most a tenth of the time of danlu's sweep with all couplings, {MANY}", than=BLOCKS, measure=MANY
)
DRAWS = _faster(f"an effective draw takes at most a tenth of the time, {MANY}", than=SINGLE, measure="seconds per draw")


def _exact(arm: str) -> Comparison:
    clause = f"chains have the exact distribution of 8 visible units, {arm}"
    return Comparison(clause, arm, 3.0, "mismatch", 2.0, lower=True, ratio=True)  # at most 1.5 times the noise


CRITERIA = Criteria(
    clauses=(EACH, TWO, REPLACE, NEEDED, FASTER, SAME_MODEL, GROWS),
    gates=(
        _exact(SINGLE),
        _exact(RBM),
        Comparison("sweeps in blocks have the states of single updates, all couplings", BLOCKS, 0.01, "different", 0.01,
                   lower=True),
        Comparison("odd and even rounds give the same factors up to 2", RBM, 4.0, "disagreement", 2.0, lower=True,
                   ratio=True),
    ),
    limits=(FASTER_MANY, DRAWS, GROWS_MANY, BESIDE_BLOCKS),
)  # fmt: skip


def conclude(numbers: Numbers, judgment: Judgment) -> str:
    """The factors for one chain and many, and beside sweeps in blocks; what is not shown."""
    arms = numbers["arms"]

    def factor(arm: str, chains: str) -> str:
        return number(fmean(a / b for a, b in zip(arms[arm][chains], arms[RBM][chains], strict=True)), 2)

    text = (
        f"On one core, with {SIZES[-1]} units, a sweep of the RBM takes less time than one update after the other by a "
        f"factor of {factor(SINGLE, ONE)} for one chain and {factor(SINGLE, MANY)} for {MANY}, and less than danlu's "
        f"sweep in blocks by a factor of {factor(BLOCKS, MANY)} for {MANY}."
    )
    return text + judgment.not_shown(*CRITERIA.clauses, *CRITERIA.limits)


def table(numbers: Numbers) -> Table:
    """Sweeps per second by number of units and chains, exponents and effective draws."""
    rows: Table = [("quantity", *TIMED)]
    for chains in CHAINS:
        for size in numbers["seconds"][RBM][chains]:
            cells = ([1 / t for t in numbers["seconds"][arm][chains][size]] for arm in TIMED)
            rows.append((f"sweeps per second, {chains}, n = {size}", *map(mean_and_range, cells)))
    names = {f"exponent, {chains}": f"exponent of the time, {chains}" for chains in CHAINS}
    names |= {"updates per unit": f"updates per unit, n = {COMPARED}", "draws per sweep": "effective draws per sweep"}
    for name, words in names.items():
        values = (numbers["arms"][arm].get(name) for arm in TIMED)
        rows.append((words, *(mean_and_range(one) if one else "" for one in values)))
    return rows


def plot(numbers: Numbers) -> Figure:
    """Sweeps per second against the number of units, for one chain and for many."""
    from danlu.experiments.harness.plots import legend_above, line, logarithmic, panels

    figure, axes_of = panels(len(CHAINS), height=2.7, sharey=True)
    for axes, chains in zip(axes_of, CHAINS, strict=True):
        for k, arm in enumerate((RBM, BLOCKS, SINGLE)):
            found = numbers["seconds"][arm][chains]
            runs = zip(*([1 / t for t in times] for times in found.values()), strict=True)
            line(axes, [int(size) for size in found], list(runs), k, arm)
        logarithmic(axes.xaxis, [int(size) for size in numbers["seconds"][RBM][chains]])
        logarithmic(axes.yaxis)
        axes.set(title=chains, xlabel="units n")
    axes_of[0].set_ylabel("sweeps per second")
    legend_above(figure, axes_of[0])
    return figure


EXPERIMENT = Experiment(
    measure=measure,
    criteria=CRITERIA,
    conclude=conclude,
    table=table,
    plot=plot,
    method=(
        "Machines with n units, half of them visible, are sampled with all couplings, one unit after the other or in "
        "danlu's blocks, and with couplings between visible and hidden units only. Processor time of a sweep on one "
        "core; states and distributions of small machines are compared. All couplings are n(n − 1)/2, those of the RBM "
        "n²/4."
    ),
    caption=(
        "Sweeps of all chains per second of processor time against the number of units, both axes logarithmic; lines "
        "are means over machines, bands the range."
    ),
)
