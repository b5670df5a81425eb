"""With the right acceptance, any proposal has p as its stationary distribution (notes, 2.1.1.3.3).

Lines 501 to 507: choose any proposal q(x' | x). Its own stationary distribution is not p. Accept a candidate with the
probability min{1, p(x') q(x | x') / (p(x) q(x' | x))}, and repeat until convergence; if p satisfies some conditions of
continuity, the stationary distribution is p. The sentence is tested in its parts.

* Random proposals between 30 states, which prefer some states: the exact transition matrix, from the acceptance of
  the library, has a flow p(x) T(x → x') in each direction between two states. Detailed balance is equality of both;
  its stationary distribution is compared with p, and so are the frequencies of many chains.
* A continuous density, Gamma with a random shape k: the proposal multiplies x by a log-normal number, so q has the
  factor 1 / x'. The frequencies of bins are compared with the exact probabilities.
* Both without q in the acceptance, as if the proposal were symmetric: the stationary distribution must be another one.
  For the Gamma density it is p(x) / x, Gamma with shape k − 1.

A stationary distribution is not yet the limit of the chains. The limits of the claim are two proposals that satisfy
detailed balance. One cannot reach every state: the log-normal factor never changes the sign of x, and p is a normal
density, which is continuous and positive everywhere. The other is periodic: steps of ±1 on a ring of states with equal
probabilities, which are all accepted.
"""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, Any

import torch

from danlu.experiments.harness.criteria import Comparison, Criteria, Judgment
from danlu.experiments.harness.experiment import Experiment, Numbers, ProgressCallback, Table
from danlu.experiments.harness.parallel import run_each
from danlu.experiments.harness.seeds import seeds
from danlu.experiments.harness.wording import mean_and_range, number
from danlu.experiments.sampling.exact_chains import (
    bin_probabilities,
    distance_of_draws,
    frequencies,
    noise,
    stationary,
    total_variation,
)
from danlu.experiments.sampling.proposals import (
    STATES,
    grid_density,
    grid_kernel,
    grid_matrix,
    grid_proposal,
    log_normal_walk,
)
from danlu.experiments.sampling.without_convergence import BINS, LAZY, PERIODIC, STEPS, TRAPPED, on_ring, trapped
from danlu.rng.keys import generator
from danlu.sampling.mcmc.chains import run_chains
from danlu.sampling.mcmc.metropolis import MetropolisHastings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLOSE = 0.01  # the probability of no event is wrong by more than 1 %
FAR = 0.1  # the probability of some event is wrong by 10 %
EXACT = 1e-9  # rounding errors of the exact matrices are near 1e-15
RIGHT, WRONG, ALWAYS = "right acceptance", "acceptance without q", "every candidate accepted"
ACCEPTANCE = {RIGHT: True, WRONG: False}
"""whether the acceptance contains q, by arm"""


def on_grid(seed: int, chains: int) -> tuple[dict[str, dict[str, float]], dict[str, Any]]:
    """The measures of the random proposals by arm, and the frequencies for the figure."""
    p, q = grid_density(seed), grid_proposal(seed)
    draws = distance_of_draws(p, chains, "grid", seed)
    arms: dict[str, dict[str, float]] = {ALWAYS: {"stationary": total_variation(stationary(q), p)}}
    shown: dict[str, Any] = {"p": p.tolist()}
    for arm, with_q in ACCEPTANCE.items():
        kernel = grid_kernel(p, q, with_q)
        matrix = grid_matrix(kernel, q, with_q)
        start = torch.zeros(chains, dtype=torch.long)
        index = run_chains(kernel, start, STEPS, seed=generator("grid", arm, seed)).values
        flow = p[:, None] * matrix
        found, expected = [], torch.zeros_like(p).index_fill_(0, torch.tensor(0), 1.0)
        for step in range(STEPS):
            expected = expected @ matrix
            found.append(total_variation(frequencies(index[:, step], STATES), expected) / noise(expected, chains))
        last = frequencies(index[:, -1], STATES)
        arms[arm] = {
            "residual": float((flow - flow.T).abs().max() / flow.max()),
            "stationary": total_variation(stationary(matrix), p),
            "excess of states": total_variation(last, p) - draws,
            "mismatch": fmean(found),
        }
        shown[arm] = last.tolist()
    return arms, shown


def on_line(seed: int, chains: int) -> tuple[dict[str, dict[str, float]], dict[str, Any]]:
    """The measures of the Gamma density by arm, and histograms for the figure."""
    shape = 2 + 2 * float(torch.rand(1, generator=generator("shape", seed), dtype=torch.float64))
    grid = torch.linspace(0, 30, 30_001, dtype=torch.float64)
    below = torch.special.gammainc(torch.tensor(shape, dtype=torch.float64), grid)
    edges = grid[torch.searchsorted(below, torch.arange(1, BINS, dtype=torch.float64) / BINS)]
    p = bin_probabilities(torch.special.gammainc(torch.tensor(shape, dtype=torch.float64), edges))
    draws = distance_of_draws(p, chains, "line", seed)
    arms: dict[str, dict[str, float]] = {}
    shown: dict[str, Any] = {"shape": shape}
    for arm, with_q in ACCEPTANCE.items():
        kernel = MetropolisHastings(lambda x: (shape - 1) * x.log() - x, log_normal_walk(with_q))
        start = torch.ones(chains, dtype=torch.float64)
        x = run_chains(kernel, start, 1, burn_in=STEPS - 1, seed=generator("line", arm, seed)).values[:, 0]
        arms[arm] = {"excess of bins": total_variation(frequencies(torch.bucketize(x, edges), BINS), p) - draws}
        shown[arm] = torch.histc(x, 40, 0, 10).div(chains * 0.25).tolist()
    return arms, shown


def measure_seed(seed: int, chains: int) -> tuple[dict[str, dict[str, float]], dict[str, Any]]:
    """All measures of a seed by arm, and what the figure shows."""
    arms: dict[str, dict[str, float]] = {}
    shown: dict[str, Any] = {}
    for part in (on_grid, on_line, trapped, on_ring):
        measures, figure = part(seed, chains)
        shown[part.__name__] = figure
        for arm, values in measures.items():
            arms.setdefault(arm, {}).update(values)
    return arms, shown


def measure(seed: int, progress: ProgressCallback, quick: bool = False) -> Numbers:
    """All measures by arm and seed; densities and frequencies of the first seed."""
    chains = 2000 if quick else 10_000
    run_seeds = seeds(seed, 3 if quick else 8)
    runs = run_each(measure_seed, [(run_seed, chains) for run_seed in run_seeds], progress, "proposals")
    first, shown = runs[0]
    arms = {arm: {name: [run[arm][name] for run, _ in runs] for name in first[arm]} for arm in first}
    return {"arms": arms, "shown": shown}


def _below(clause: str, arm: str, measure: str, most: float) -> Comparison:
    return Comparison(clause, arm, 2 * most, measure, most, lower=True)


BALANCE = _below("flows between two states are equal in both directions", RIGHT, "residual", EXACT)
STATIONARY = _below("the stationary distribution is p", RIGHT, "stationary", EXACT)
ON_STATES = _below("chains on states are as close to p as exact draws", RIGHT, "excess of states", CLOSE)
IN_BINS = _below("chains with a continuous density are as close to p as exact draws", RIGHT, "excess of bins", CLOSE)
NEEDS_Q = Comparison("without q in the acceptance the stationary distribution is not p", WRONG, 0.0, "stationary", FAR)
LINE_NEEDS_Q = Comparison(
    "without q in the acceptance chains with a continuous density are far from p", WRONG, 0.0, "excess of bins", FAR
)
REACHES = _below("continuity of p is enough for convergence, if x keeps its sign", TRAPPED, "excess", CLOSE)
CYCLES = _below("chains converge with steps of ±1 on a ring", PERIODIC, "excess", CLOSE)
CRITERIA = Criteria(
    clauses=(BALANCE, STATIONARY, ON_STATES, IN_BINS, NEEDS_Q, LINE_NEEDS_Q),
    gates=(
        Comparison("the proposal alone has another stationary distribution", ALWAYS, 0.0, "stationary", FAR),
        *(
            Comparison(f"chains have the exact distribution after each step, {arm}", arm, 3.0, "mismatch", 1.5,
                       lower=True)
            for arm in ACCEPTANCE
        ),
    ),
    limits=(REACHES, CYCLES),
)  # fmt: skip


def conclude(numbers: Numbers, judgment: Judgment) -> str:
    """Both stationary distributions; then the proposals whose chains do not converge."""
    arms = numbers["arms"]
    wrong, alone = (number(fmean(arms[arm]["stationary"]), 2) for arm in (WRONG, ALWAYS))
    text = (
        f"With the right acceptance, random proposals have p as their stationary distribution; without q in it the "
        f"total variation to p is {wrong}, and if every candidate is accepted {alone}."
    )
    if not (judgment.supported(BALANCE.clause) and judgment.supported(STATIONARY.clause)):
        text = ""
    text += judgment.not_shown(*CRITERIA.clauses)
    refuted = [
        reason
        for one, reason in (
            (REACHES, "cannot reach every state, even if p is continuous"),
            (CYCLES, "is periodic"),
        )
        if judgment.refuted(one.clause)
    ]
    if refuted:
        text += f" Chains do not converge to p with a proposal that {', or with one that '.join(refuted)}."
    return (text + judgment.not_shown(*(one for one in CRITERIA.limits if not judgment.refuted(one.clause)))).strip()


def table(numbers: Numbers) -> Table:
    """All measures by arm."""
    arms = numbers["arms"]
    rows: Table = [
        ("arm", "largest difference of flows", "stationary distribution from p", "chains on states, excess",
         "chains in bins, excess")
    ]  # fmt: skip
    for arm in (RIGHT, WRONG, ALWAYS):
        measures = ("residual", "stationary", "excess of states", "excess of bins")
        rows.append((arm, *(mean_and_range(arms[arm][m]) if m in arms[arm] else "–" for m in measures)))
    rows.append((TRAPPED, "–", "–", "–", mean_and_range(arms[TRAPPED]["excess"])))
    rows.extend((arm, "–", "–", mean_and_range(arms[arm]["excess"]), "–") for arm in (PERIODIC, LAZY))
    return rows


def plot(numbers: Numbers) -> Figure:
    """Frequencies of both arms over p, on states and on the line; the two proposals whose chains do not converge."""
    from danlu.experiments.harness.plots import colors, legend_above, panels, secondary_color

    shown, dark = numbers["shown"], secondary_color()
    figure, (grid, on_the_line, sign, ring) = panels(2, height=2.1, rows=2)
    grid.bar(range(STATES), shown["on_grid"]["p"], color=dark, alpha=0.3, width=0.9, label="p")
    for k, arm in enumerate(ACCEPTANCE):
        grid.plot(range(STATES), shown["on_grid"][arm], "os"[k], color=colors()[k], markersize=3, label=arm)
        middles = [0.125 + 0.25 * bin_ for bin_ in range(40)]
        on_the_line.plot(middles, shown["on_line"][arm], "os"[k], color=colors()[k], markersize=3)
    x = torch.linspace(1e-3, 10, 400, dtype=torch.float64)
    density = torch.distributions.Gamma(torch.tensor(shown["on_line"]["shape"]), 1.0).log_prob(x).exp()
    on_the_line.fill_between(x, density, color=dark, alpha=0.3, linewidth=0)
    x = torch.linspace(-4, 4, 400, dtype=torch.float64)
    density = torch.distributions.Normal(shown["trapped"]["mean"], 1.0).log_prob(x).exp()
    sign.fill_between(x, density, color=dark, alpha=0.3, linewidth=0)
    middles = [-3.875 + 0.25 * bin_ for bin_ in range(32)]
    sign.plot(middles, shown["trapped"]["histogram"], "o", color=colors()[0], markersize=3)
    for k, (arm, text) in enumerate(((PERIODIC, "±1"), (LAZY, "−1, 0 or 1"))):
        ring.plot(range(1, STEPS + 1), shown["on_ring"][arm], color=colors()[k + 2], label=text)
    grid.set(title="random proposals", xlabel="state", ylabel="frequency")
    on_the_line.set(title="continuous density", xlabel="x", ylabel="density")
    sign.set(title="a proposal that keeps the sign of x", xlabel="x", ylabel="density")
    ring.set(title="ring: distance from p", xlabel="steps", ylim=(0, 1))
    ring.legend(title="proposed steps", loc="upper right", ncols=2)
    legend_above(figure, grid)
    return figure


EXPERIMENT = Experiment(
    measure=measure,
    criteria=CRITERIA,
    conclude=conclude,
    table=table,
    plot=plot,
    method=(
        f"Random proposals between {STATES} states and a log-normal proposal for a Gamma density are used with the "
        "right acceptance, and without q in it. Exact transition matrices and the frequencies of many chains are "
        "compared with p; a proposal that cannot reach every state and a periodic one are the limits."
    ),
    caption=(
        "Top: probabilities or density p in gray, and the frequencies of chains with the right acceptance and without "
        "q in it. Below, left: all chains start at x = 1 and their proposal keeps the sign of x; p is normal. "
        "Right: total variation to equal probabilities on a ring, for steps of ±1, and if staying is also proposed."
    ),
    demonstration=True,
)
