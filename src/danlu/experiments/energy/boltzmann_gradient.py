"""The gradient of the log-likelihood of a Boltzmann machine is a difference of correlations (notes, 2.1.1.2).

Line 467: the gradient of L in W is the mean of x xᵀ over the data minus its mean over the model. A machine of 10 units
has 1024 states, so all means, the normalizer and the log-likelihood are exact, and autograd gives the gradient. The
data are 40 random examples.

* One parameter for each pair of units, as in ``BoltzmannMachine``: the relative distance of the gradient from the
  difference; and the rate at which the log-likelihood rises along it, by a finite difference, over its squared norm.
* The control is the mean over the data alone.
* All entries of W are parameters of E(x) = −xᵀWx / 2, as in the notes' derivation. The notes drop the factor ½ (line
  470), because W is symmetric. The factor is the coefficient of the gradient on the difference.

Mathematics decides, and the numbers confirm it.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean
from typing import TYPE_CHECKING, cast

import torch
from jaxtyping import Float
from torch import Tensor

from danlu.experiments.harness.criteria import Comparison, Criteria, Judgment
from danlu.experiments.harness.experiment import Experiment, Numbers, ProgressCallback, Table
from danlu.experiments.harness.seeds import seeds
from danlu.experiments.harness.wording import mean_and_range, number
from danlu.models.energy.boltzmann.machine import BoltzmannMachine
from danlu.models.energy.enumeration import all_states
from danlu.rng.keys import generator

if TYPE_CHECKING:
    from matplotlib.figure import Figure

UNITS, EXAMPLES, SPREAD = 10, 40, 0.3
PAIRS, DATA, ENTRIES = "one parameter for each pair", "data alone", "all entries of W"
STEP = 1e-4  # of the finite difference: its error is about the square, that of rounding 1e-16 / STEP
ROUNDING = 1e-10  # largest relative distance that rounding in float64 explains
SMALLEST = 2.0**-52  # in place of smaller distances, which float64 does not resolve; 0 has no logarithm


def states() -> Float[Tensor, "states units"]:
    """All states."""
    return torch.cat([*all_states(UNITS, (-1.0, 1.0), like=torch.zeros(1, dtype=torch.float64))])


def machine(seed: int) -> BoltzmannMachine:
    """A machine with random couplings and biases."""
    model = cast(BoltzmannMachine, BoltzmannMachine((UNITS,), hidden=0)).double()
    source = generator("gradient", seed)
    upper = SPREAD * torch.randn(UNITS, UNITS, generator=source, dtype=torch.float64).triu(1)
    model.set_couplings(upper + upper.T)
    with torch.no_grad():
        model.bias.copy_(SPREAD * torch.randn(UNITS, generator=source, dtype=torch.float64))
    return model


def examples(seed: int) -> Float[Tensor, "n units"]:
    """Random examples."""
    return torch.randint(0, 2, (EXAMPLES, UNITS), generator=generator("examples", seed)).double() * 2 - 1


def correlations(x: Float[Tensor, "n units"], weight: Float[Tensor, "n"]) -> Float[Tensor, "units units"]:
    """The weighted mean of x xᵀ; the diagonal, which is 1 for every distribution, is set to 0."""
    return (x.T @ (weight[:, None] * x)).fill_diagonal_(0)


def log_likelihood(
    couplings: Float[Tensor, "units units"], bias: Float[Tensor, "units"], data: Float[Tensor, "n units"]
) -> Float[Tensor, ""]:
    """The mean log-likelihood with E(x) = −xᵀWx / 2 − bᵀx, for any matrix W."""
    log_weight = lambda x: ((x @ couplings / 2 + bias) * x).sum(1)  # noqa: E731
    return log_weight(data).mean() - log_weight(states()).logsumexp(0)


def gradient_of_pairs(model: BoltzmannMachine, data: Float[Tensor, "n units"]) -> Float[Tensor, "units units"]:
    """The gradient of the log-likelihood in the parameters of the machine, as a symmetric matrix."""
    likelihood = -model.energy(data).mean() - (-model.energy(states())).logsumexp(0)
    (gradient,) = torch.autograd.grad(likelihood, [model.pairs.weight])
    upper = torch.zeros(UNITS, UNITS, dtype=torch.float64)
    upper[*torch.triu_indices(UNITS, UNITS, 1)] = gradient
    return upper + upper.T


def gradient_of_entries(model: BoltzmannMachine, data: Float[Tensor, "n units"]) -> Float[Tensor, "units units"]:
    """The gradient of the log-likelihood in all entries of W, at the symmetric W of the machine."""
    couplings = model.couplings.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(log_likelihood(couplings, model.bias.detach(), data), [couplings])
    return gradient.fill_diagonal_(0)


def difference(
    model: BoltzmannMachine, data: Float[Tensor, "n units"], with_model: bool
) -> Float[Tensor, "units units"]:
    """The correlations of the data minus those of the model, or those of the data alone."""
    of_data = correlations(data, torch.full((len(data),), 1 / len(data), dtype=torch.float64))
    if not with_model:
        return of_data
    return of_data - correlations(states(), model.log_prob(states()).detach().exp())


ESTIMATES: dict[str, tuple[Callable[..., Tensor], bool]] = {
    PAIRS: (gradient_of_pairs, True),
    DATA: (gradient_of_pairs, False),
    ENTRIES: (gradient_of_entries, True),
}
"""each arm: the gradient, and whether the correlations of the model are subtracted"""


def compared(arm: str, seed: int) -> dict[str, float]:
    """The gradient of one arm beside the difference of correlations."""
    gradient_of, with_model = ESTIMATES[arm]
    model, data = machine(seed), examples(seed)
    gradient, expected = gradient_of(model, data), difference(model, data, with_model)
    return {
        "distance": max(SMALLEST, float((gradient - expected).norm() / expected.norm())),
        "factor": float((gradient * expected).sum() / expected.square().sum()),
        "norm": float(gradient.norm()),
        "rate": rate(model, data, expected),
    }


def rate(model: BoltzmannMachine, data: Float[Tensor, "n units"], along: Float[Tensor, "units units"]) -> float:
    """How far the rise of the log-likelihood along a symmetric matrix is from its squared norm, relatively.

    The norm is that of the entries above the diagonal, the parameters.
    """
    couplings, bias = model.couplings.detach(), model.bias.detach()
    above, below = (log_likelihood(couplings + sign * STEP * along, bias, data) for sign in (1, -1))
    return max(SMALLEST, abs(float((above - below) / (2 * STEP) / along.triu(1).square().sum()) - 1))


def measure(seed: int, progress: ProgressCallback, quick: bool = False) -> Numbers:
    """All measures for each seed; the entries of one gradient and of its difference of correlations."""
    run_seeds = seeds(seed, 3 if quick else 8)
    arms: dict[str, dict[str, list[float]]] = {}
    for done, run_seed in enumerate(run_seeds):
        progress("machines", done, len(run_seeds))
        for arm in ESTIMATES:
            for name, value in compared(arm, run_seed).items():
                arms.setdefault(arm, {}).setdefault(name, []).append(value)
    model, data = machine(run_seeds[0]), examples(run_seeds[0])
    places = torch.triu_indices(UNITS, UNITS, 1)
    shown = {arm: of(model, data)[*places].tolist() for arm, (of, with_model) in ESTIMATES.items() if with_model}
    return {"arms": arms, "shown": {"difference": difference(model, data, True)[*places].tolist(), **shown}}


SAME = Comparison(
    "the gradient is the difference of the correlations, up to rounding", PAIRS, ROUNDING, "distance", 1.01,
    lower=True, ratio=True,
)  # fmt: skip
NEEDS_MODEL = Comparison(  # ten times as far is more than any rounding
    "the correlations of the model are needed", PAIRS, DATA, "distance", 10.0, lower=True, ratio=True
)
RISES = Comparison(
    "the log-likelihood rises along it at the rate of a gradient", PAIRS, 1e-4, "rate", 1.01, lower=True, ratio=True
)
FREE = Comparison(
    "the gradient in all entries of W is the same", ENTRIES, ROUNDING, "distance", 1.01, lower=True, ratio=True
)
CRITERIA = Criteria(
    clauses=(SAME, NEEDS_MODEL, RISES),
    gates=(Comparison("the machine is not at a maximum of the likelihood", PAIRS, 0.0, "norm", 0.1),),
    limits=(FREE,),
)


def conclude(numbers: Numbers, judgment: Judgment) -> str:
    """The distance; then the factor."""
    arms = numbers["arms"]
    largest = number(max(arms[PAIRS]["distance"]), 1)
    text = (
        "With one parameter for each pair of units, the gradient is the difference of the correlations: the relative "
    )
    text += f"distance is at most {largest}, and {number(fmean(arms[DATA]['distance']), 2)} without the model's term."
    text += judgment.not_shown(*CRITERIA.clauses)
    if judgment.refuted(FREE.clause):
        factor = number(fmean(arms[ENTRIES]["factor"]), 2)
        text += f" If all entries of W are parameters, the gradient is {factor} of it, although W is symmetric."
    elif not judgment.supported(FREE.clause):
        text += judgment.not_shown(FREE)
    return text


def table(numbers: Numbers) -> Table:
    """Distance, factor and rate, by arm."""
    rows: Table = [("parameters", "relative distance", "factor", "error of the rate of ascent")]
    for arm in ESTIMATES:
        values = numbers["arms"][arm]
        rows.append((arm, *(mean_and_range(values[name]) for name in ("distance", "factor", "rate"))))
    return rows


def plot(numbers: Numbers) -> Figure:
    """The entries of both gradients against the difference of the correlations."""
    from danlu.experiments.harness.plots import colors, panels, secondary_color

    figure, (axes,) = panels(1, height=2.7)
    shown = numbers["shown"]
    for k, arm in enumerate((PAIRS, ENTRIES)):
        axes.scatter(shown["difference"], shown[arm], s=9, color=colors()[k], label=arm)
    axes.axline((0, 0), slope=1, color=secondary_color(), linewidth=0.8, linestyle=(0, (4, 3)))
    axes.set(title="one machine, all pairs", xlabel="data − model correlation", ylabel="gradient of the likelihood")
    axes.legend()
    axes.grid(True)
    return figure


EXPERIMENT = Experiment(
    measure=measure,
    criteria=CRITERIA,
    conclude=conclude,
    table=table,
    plot=plot,
    demonstration=True,
    method=(
        f"The log-likelihood of {EXAMPLES} examples in a machine of {UNITS} units is exact, because all "
        f"{2**UNITS} states are enumerated. Its gradient by autograd is compared with the difference of the "
        f"correlations, and with the rise of the likelihood along it."
    ),
    caption=(
        "The gradient of the log-likelihood of each coupling against the difference of the correlations of data and "
        "model. The dashed line is equality. With one parameter for each pair, all points are on it; if all entries of "
        "W are parameters, they have half of it."
    ),
)
