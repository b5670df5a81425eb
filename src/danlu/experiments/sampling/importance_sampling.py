"""The variance of importance sampling is smallest if the proposal q is proportional to p (notes, 2.1.1.3.2).

Lines 486 to 495 explain it with crates of fruit: crate x has p(x) fruits, which all have the weight f(x), and the mean
weight of a fruit, E_p f, is wanted. Here 10 of 1000 crates have 90 % of the fruits, as in the notes, and lighter ones
than the others. The sentences are tested in their parts, each with ``DRAWS`` opened crates.

* E_q[f p / q] is E_p f for every q: the bias of the estimate with a normalized p.
* Crates that are opened uniformly can miss the full ones, which makes the estimate bad, and a q nearer to p is better:
  the standard deviation of the estimate with q uniform, q ∝ √p and q ∝ p.
* With q ∝ p the variance is smallest: beside q ∝ p·|f| for the plain estimate, the mean of f p / q, and beside
  q ∝ p·|f − E_p f| for the self-normalized estimate, which divides by the mean of p / q. They are the optimal ones
  (Owen, "Monte Carlo theory, methods and examples", 2013, sections 9.1 and 9.2). They need f and the mean that is
  wanted, so they show what is possible; no sampler can use them directly.
* The mean weight of all fruits in crates that are opened uniformly has the wanted expectation. This is the
  self-normalized estimate, which is biased.

The variance of the plain estimate is known exactly, that of the self-normalized one for many draws: (∑ p² f² / q −
(E_p f)²) / n and ∑ p² (f − E_p f)² / q / n. A gate compares the measured ones with them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from danlu.experiments.harness.criteria import Comparison, Criteria, Judgment
from danlu.experiments.harness.experiment import Experiment, Numbers, ProgressCallback, Table
from danlu.experiments.harness.parallel import run_each
from danlu.experiments.harness.seeds import seeds
from danlu.experiments.harness.wording import mean_and_range, percent
from danlu.rng.keys import generator
from danlu.sampling.mcmc.importance import Distribution, ImportanceSample, importance_sample

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CRATES, FULL, SHARE = 1000, 10, 0.9
DRAWS = 100  # crates that are opened for an estimate
EQUAL = 0.05  # a bias of this fraction of the standard deviation changes the squared error by 1 / 400
BETTER = 1.1  # of the standard deviation: 17 % fewer draws are enough
SMALLEST = 1e-6  # of the mean: smaller errors are rounding errors, and are set to it
UNIFORM, ROOT, P, PLAIN_BEST, BEST = "uniform", "√p", "p", "p·|f|", "p·|f − E f|"
PLAIN, NORMALIZED = "plain", "self-normalized"
MEASURED = {
    UNIFORM: (PLAIN, NORMALIZED),
    ROOT: (PLAIN, NORMALIZED),
    P: (PLAIN, NORMALIZED),
    PLAIN_BEST: (PLAIN, NORMALIZED),
    BEST: (NORMALIZED,),  # a plain estimate has very large weights where f is near its mean
}
"""the estimates that are measured for each proposal"""
FEW = (UNIFORM,)  # for 100 uniform draws the theory of many draws of the self-normalized estimate is not valid


class Crates(NamedTuple):
    """The fraction of the fruits in each crate, the weight of one of its fruits, and the mean weight of all fruits."""

    p: Float[Tensor, "crates"]
    f: Float[Tensor, "crates"]
    mean: float


def crates(seed: int) -> Crates:
    """Random crates, of which ``FULL`` have together ``SHARE`` of the fruits, with half of the weight."""
    source = generator("crates", seed)
    sizes = 0.5 + torch.rand(CRATES, generator=source, dtype=torch.float64)
    p = torch.cat([SHARE * sizes[:FULL] / sizes[:FULL].sum(), (1 - SHARE) * sizes[FULL:] / sizes[FULL:].sum()])
    f = 0.2 * torch.randn(CRATES, generator=source, dtype=torch.float64).mul(0.5).exp()  # kilograms
    f[:FULL] /= 2
    return Crates(p, f, float(p @ f))


def probabilities(name: str, of: Crates) -> Float[Tensor, "crates"]:
    """The probability of each crate in a proposal."""
    q = {
        UNIFORM: torch.ones_like(of.p),
        ROOT: of.p.sqrt(),
        P: of.p,
        PLAIN_BEST: of.p * of.f.abs(),
        BEST: of.p * (of.f - of.mean).abs(),
    }[name]
    return q / q.sum()


def estimates(q: Float[Tensor, "crates"], of: Crates, repeats: int, seed: int) -> dict[str, Float[Tensor, "repeats"]]:
    """Both estimates of the mean weight from ``DRAWS`` draws, repeated."""

    def draw(count: int, source: torch.Generator) -> Tensor:
        return torch.multinomial(q, count, replacement=True, generator=source)

    proposal = Distribution(lambda x: q.log()[x], draw)
    everything = importance_sample(lambda x: of.p.log()[x], proposal, repeats * DRAWS, generator("draws", seed))
    found: dict[str, list[float]] = {PLAIN: [], NORMALIZED: []}
    for x, log_weights in zip(everything.x.split(DRAWS), everything.log_weights.split(DRAWS), strict=True):
        sample, values = ImportanceSample(x, log_weights), of.f[x]
        found[PLAIN].append(sample.plain(values).value)
        found[NORMALIZED].append(sample.normalized(values).value)
    return {name: torch.tensor(values, dtype=torch.float64) for name, values in found.items()}


def theory(kind: str, q: Float[Tensor, "crates"], of: Crates) -> float:
    """The standard deviation of an estimate; of the self-normalized one for many draws."""
    used = q > 0
    p, f, q = of.p[used], of.f[used], q[used]
    if kind == PLAIN:
        variance = float((p * f).square().div(q).sum()) - of.mean**2
    else:
        variance = float((p * (f - of.mean)).square().div(q).sum())
    return math.sqrt(max(variance, 0.0) / DRAWS)


def measure_seed(seed: int, repeats: int) -> dict[str, dict[str, float]]:
    """The measures of each proposal, in units of the mean weight."""
    of = crates(seed)
    found: dict[str, dict[str, float]] = {}
    for name, kinds in MEASURED.items():
        q, values = probabilities(name, of), {}
        results = estimates(q, of, repeats, seed)
        for kind in kinds:
            deviation, expected = float(results[kind].std()), theory(kind, q, of)
            values[kind] = max(deviation / of.mean, SMALLEST)
            values[f"{kind}, theory"] = max(expected / of.mean, SMALLEST)
            values[f"{kind}, bias"] = abs(float(results[kind].mean()) - of.mean) / max(deviation, SMALLEST * of.mean)
        found[name] = values
    found[UNIFORM]["missed"] = float((1 - FULL / CRATES) ** DRAWS)
    return found


def measure(seed: int, progress: ProgressCallback, quick: bool = False) -> Numbers:
    """Standard deviations and biases by proposal and seed."""
    repeats = 400 if quick else 4000
    run_seeds = seeds(seed, 3 if quick else 8)
    runs = run_each(measure_seed, [(run_seed, repeats) for run_seed in run_seeds], progress, "sets of crates")
    arms = {arm: {name: [run[arm][name] for run in runs] for name in runs[0][arm]} for arm in MEASURED}
    arms["all"] = {
        "deviation from theory": [_deviation(run) for run in runs],
        "bias": [max(values[f"{PLAIN}, bias"] for values in run.values() if PLAIN in values) for run in runs],
    }
    return {"arms": arms}


def _deviation(run: dict[str, dict[str, float]]) -> float:
    """The largest relative difference of a measured standard deviation from theory."""
    pairs = [
        (values[kind], values[f"{kind}, theory"])
        for arm, values in run.items()
        for kind in MEASURED[arm]
        if not (kind == NORMALIZED and arm in FEW)
    ]
    return max(abs(found / expected - 1) for found, expected in pairs)


def _better(clause: str, arm: str, than: str, kind: str, factor: float = BETTER) -> Comparison:
    return Comparison(clause, arm, than, kind, factor, lower=True, ratio=True)


UNBIASED = Comparison("the plain estimate has no bias for any q", "all", 2 * EQUAL, "bias", EQUAL, lower=True)
USEFUL = _better("q ∝ p is far better than uniform q", P, UNIFORM, NORMALIZED, 2.0)
NEARER = _better("q ∝ √p is better than uniform q", ROOT, UNIFORM, NORMALIZED)
NEAREST = _better("q ∝ p is better than q ∝ √p", P, ROOT, NORMALIZED)
PLAIN_SMALLEST = _better("q ∝ p has a smaller variance than q ∝ p·|f|, plain", P, PLAIN_BEST, PLAIN)
NORMALIZED_SMALLEST = _better("q ∝ p has a smaller variance than q ∝ p·|f − E f|, self-normalized", P, BEST, NORMALIZED)
CRATE_MEAN = Comparison(
    "the mean of crates that are opened uniformly has no bias", UNIFORM, 2 * EQUAL, f"{NORMALIZED}, bias", EQUAL,
    lower=True,
)  # fmt: skip
CRITERIA = Criteria(
    clauses=(UNBIASED, USEFUL, NEARER, NEAREST, PLAIN_SMALLEST, NORMALIZED_SMALLEST),
    gates=(
        Comparison("measured standard deviations are those of theory", "all", 0.2, "deviation from theory", 0.1,
                   lower=True),
        Comparison("uniform draws often miss all full crates", UNIFORM, 0.0, "missed", 0.2),
    ),
    limits=(CRATE_MEAN,),
)  # fmt: skip


def conclude(numbers: Numbers, judgment: Judgment) -> str:
    """What q ∝ p gains over uniform draws; then the proposals that are better still."""
    arms = numbers["arms"]
    uniform, p, best = (percent(fmean(arms[arm][NORMALIZED]), 1) for arm in (UNIFORM, P, BEST))
    text = (
        f"With q ∝ p the standard deviation of the self-normalized estimate is {p} of the mean, with uniform q it is "
        f"{uniform}."
    )
    wrong = [one for one in (PLAIN_SMALLEST, NORMALIZED_SMALLEST) if judgment.reversed(one.clause)]
    if wrong:
        text += " But q ∝ p is not the best: " + "; ".join(_better_than_p(one, best) for one in wrong) + "."
    if judgment.refuted(CRATE_MEAN.clause):
        text += " The mean of the opened crates is biased, because it is a ratio of two estimates."
        wrong.append(CRATE_MEAN)
    return text + judgment.not_shown(*(one for one in (*CRITERIA.clauses, CRATE_MEAN) if one not in wrong))


def _better_than_p(one: Comparison, best: str) -> str:
    if one is PLAIN_SMALLEST:
        return "the plain estimate has the smallest variance for q ∝ p·|f|, which is 0 for a positive f"
    return f"the self-normalized one for q ∝ p·|f − E f|, with a standard deviation of {best}"


def table(numbers: Numbers) -> Table:
    """Standard deviations with their theory, and biases, by proposal."""
    rows: Table = [
        ("proposal q ∝", "plain, in units of the mean", "theory", "self-normalized", "theory of many draws",
         "bias of plain", "bias of self-normalized")
    ]  # fmt: skip
    for name in MEASURED:
        values = numbers["arms"][name]
        measures = [m for kind in (PLAIN, NORMALIZED) for m in (kind, f"{kind}, theory")]
        measures += [f"{kind}, bias" for kind in (PLAIN, NORMALIZED)]
        rows.append((name, *(_cell(values[measure]) if measure in values else "–" for measure in measures)))
    return rows


def _cell(values: Sequence[float]) -> str:
    return "0" if max(values) <= SMALLEST else mean_and_range(values)


def plot(numbers: Numbers) -> Figure:
    """The standard deviation of both estimates by proposal, with theory."""
    from danlu.experiments.harness.plots import colors, logarithmic, panels

    figure, axes = panels(2, height=2.4, sharey=True)
    for k, (panel, kind) in enumerate(zip(axes, (PLAIN, NORMALIZED), strict=True)):
        for place, (name, kinds) in enumerate(MEASURED.items()):
            values = numbers["arms"][name]
            if kind not in kinds or max(values[kind]) <= SMALLEST:
                text = "0" if kind in kinds else "not\nmeasured"
                panel.annotate(text, (place, 0.013), ha="center", fontsize="small")
                continue
            mean, expected = fmean(values[kind]), fmean(values[f"{kind}, theory"])
            panel.plot([place - 0.3, place + 0.3], [expected] * 2, color="black", linewidth=1.2, zorder=1)
            panel.plot(place, mean, "o", color=colors()[k], markersize=6)
        panel.plot([], [], "o", color=colors()[k], markersize=6, label="measured")
        panel.plot([], [], color="black", linewidth=1.2, label="theory")
        panel.set_xticks(range(len(MEASURED)), list(MEASURED))
        panel.set(title=f"{kind} estimate", xlabel="proposal q ∝", xlim=(-0.5, len(MEASURED) - 0.5))
        logarithmic(panel.yaxis)
        panel.legend(loc="upper right")
    axes[0].set(ylabel="standard deviation / mean", ylim=(0.01, 3))
    return figure


EXPERIMENT = Experiment(
    measure=measure,
    criteria=CRITERIA,
    conclude=conclude,
    table=table,
    plot=plot,
    method=(
        f"{CRATES} crates of fruit, of which {FULL} have 90 % of the fruits; the mean weight of a fruit is estimated "
        f"from {DRAWS} crates that are drawn from several proposals, by the plain and the self-normalized estimate, "
        "and the standard deviations of repeated estimates are compared with theory."
    ),
    caption=(
        f"Standard deviation of the estimated mean weight from {DRAWS} draws, relative to the mean weight, by proposal "
        "(logarithmic). Dots are measured, lines are theory; that of the self-normalized estimate is for many draws."
    ),
    demonstration=True,
)
