"""Hidden units let a Boltzmann machine represent more distributions of its visible units (notes, 2.1.1.4).

Line 522: more hidden neurons greatly increase the expressive power of the model. It is measured by the KL divergence
D(target ‖ machine) of the best machine. All visible states are enumerated and the hidden units are summed out, so
divergence and gradient are exact. The targets are uniform on some states:

* the 8 states of 4 units with an even number of −1. A machine of these units alone has only the uniform distribution as
  the best one, with a divergence of log 2, because parity has no means and no correlations of pairs;
* 16 random states of 6 units, others for each seed; and the 14 bars and stripes of 3 × 3 units.

Machines have couplings of all pairs, as in line 522, or of visible with hidden units only (restricted). Each arm is the
best of several restarts, because the likelihood with hidden units is not concave. Its divergence is an upper bound of
what the machine can represent.

Limits: whether bars and stripes need hidden units at all; whether hidden units are better than couplings of visible
ones with as many parameters (restricted, 2 hidden units: 20; all pairs of 6 visible units: 21); whether the first
hidden unit of a restricted machine helps for parity. A restricted machine with one hidden unit more than the target
has states is always enough. Le Roux and Bengio, "Representational power of restricted Boltzmann machines and deep
belief networks", 2008, theorem 2.
"""

from __future__ import annotations

import math
from functools import cache, partial
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Tensor

from danlu.experiments.harness.criteria import Comparison, Criteria, Judgment
from danlu.experiments.harness.experiment import Experiment, Numbers, ProgressCallback, Table
from danlu.experiments.harness.seeds import seeds
from danlu.experiments.harness.wording import mean_and_range, number, percent
from danlu.models.energy.boltzmann.machine import BoltzmannMachine
from danlu.models.energy.boltzmann.masks import CouplingsName
from danlu.models.energy.enumeration import all_states
from danlu.rng.keys import generator

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PARITY, BARS, RANDOM = "parity", "bars and stripes", "random states"
BITS, SIDE, UNITS, STATES = 4, 3, 6, 16
HIDDEN: dict[CouplingsName, tuple[int, ...]] = {"all": (0, 1, 2, 4), "restricted": (0, 1, 2, 3, 4, 8)}
TRAINING = "training"
RESTARTS, SPREAD = 4, 0.5
UPDATES = 500  # more than any run needs; most need 30 to 100
GRADIENT = 1e-4  # training ends when no entry of the gradient is larger, in nats
RESOLUTION = 1e-3  # nats: smaller divergences are not told apart, because they fall as long as the couplings grow


class Arm(NamedTuple):
    """A machine and its target."""

    target: str
    couplings: CouplingsName
    hidden: int


def arm(target: str, couplings: CouplingsName, hidden: int) -> str:
    """The name of an arm."""
    return f"{target}, {couplings}, {hidden} hidden"


ARMS = {
    arm(target, couplings, hidden): Arm(target, couplings, hidden)
    for target in (PARITY, BARS, RANDOM)
    for couplings, counts in HIDDEN.items()
    for hidden in counts
}
"""what each arm trains"""


@cache
def states(units: int) -> Float[Tensor, "states units"]:
    """All states."""
    return torch.cat([*all_states(units, (-1.0, 1.0), like=torch.zeros(1, dtype=torch.float64))])


def target_states(target: str, seed: int) -> Float[Tensor, "n units"]:
    """The states on which a target is uniform."""
    if target == PARITY:
        every = states(BITS)
        return every[every.prod(1) > 0]
    if target == BARS:
        lines = states(SIDE)
        return torch.cat([lines.repeat_interleave(SIDE, 1), lines.repeat(1, SIDE)]).unique(dim=0)
    every = states(UNITS)
    return every[torch.randperm(len(every), generator=generator("target", seed))[:STATES]]


def machine(units: int, couplings: CouplingsName, hidden: int, seed: int, restart: int) -> BoltzmannMachine:
    """A machine with random couplings, without biases."""
    model = cast(BoltzmannMachine, BoltzmannMachine((units,), hidden, couplings)).double()
    source = generator("start", seed, restart)
    upper = SPREAD * torch.randn(units + hidden, units + hidden, generator=source, dtype=torch.float64).triu(1)
    model.set_couplings((upper + upper.T) * model.mask)
    return model


def divergence(model: BoltzmannMachine, chosen: Float[Tensor, "n units"]) -> Float[Tensor, ""]:
    """D(uniform on the chosen states ‖ machine) in nats, with gradients."""
    every = states(chosen.shape[1])
    places = ((chosen > 0).long() << torch.arange(chosen.shape[1] - 1, -1, -1)).sum(1)
    energies = model.energy(every)
    return energies[places].mean() + (-energies).logsumexp(0) - math.log(len(chosen))


def descend(model: BoltzmannMachine, chosen: Float[Tensor, "n units"], gradient: float) -> float:
    """Lower the divergence with L-BFGS until no entry of the gradient is larger than given; the divergence then."""
    optimizer = torch.optim.LBFGS(
        [model.pairs.weight, model.bias], max_iter=UPDATES, max_eval=2 * UPDATES, tolerance_grad=gradient,
        tolerance_change=1e-12, history_size=20, line_search_fn="strong_wolfe",
    )  # fmt: skip

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = divergence(model, chosen)
        value.backward()
        return value

    optimizer.step(loss)  # pyright: ignore[reportArgumentType]  # the stub asks for a float
    return float(divergence(model, chosen).detach())


def trained(one: Arm, seed: int, restarts: int) -> dict[str, float]:
    """The best of the restarts, and how much it improves until the gradient is a tenth.

    ``restarts`` is the fraction of the restarts with the divergence of the best, up to 0.01 nats.
    """
    chosen = target_states(one.target, seed)
    models = [machine(chosen.shape[1], one.couplings, one.hidden, seed, k) for k in range(restarts)]
    reached = [descend(model, chosen, GRADIENT) for model in models]
    best = min(reached)
    later = descend(models[reached.index(best)], chosen, GRADIENT / 10)
    return {
        "KL": max(RESOLUTION, best),
        "error": abs(best - math.log(2)),
        "restarts": fmean(float(value < best + 0.01) for value in reached),
        "parameters": float(int(models[0].mask.sum()) // 2 + len(models[0].bias)),
        "change": best - later,
    }


def measure(seed: int, progress: ProgressCallback, quick: bool = False) -> Numbers:
    """All measures for each seed."""
    run_seeds = seeds(seed, 2 if quick else 5)
    arms: dict[str, dict[str, list[float]]] = {}
    for done, run_seed in enumerate(run_seeds):
        changes = list[float]()
        for position, (name, one) in enumerate(ARMS.items()):
            progress("machines", done * len(ARMS) + position, len(run_seeds) * len(ARMS))
            values = trained(one, run_seed, 1 if quick else RESTARTS)
            changes.append(values.pop("change"))
            for measured, value in values.items():
                arms.setdefault(name, {}).setdefault(measured, []).append(value)
        arms.setdefault(TRAINING, {}).setdefault("change", []).append(max(changes))
    return {"arms": arms}


# "Far more expressive": the divergence falls to a tenth.
_tenth = partial(Comparison, measure="KL", margin=10.0, lower=True, ratio=True)
ALL_PARITY = _tenth("4 hidden units, all pairs, lower the KL of parity to a tenth",
                    arm(PARITY, "all", 4), arm(PARITY, "all", 0))  # fmt: skip
ALL_RANDOM = _tenth("4 hidden units, all pairs, lower the KL of random states to a tenth",
                    arm(RANDOM, "all", 4), arm(RANDOM, "all", 0))  # fmt: skip
RESTRICTED = tuple(
    _tenth(f"8 hidden units, restricted, lower the KL of {target} to a tenth",
           arm(target, "restricted", 8), arm(target, "restricted", 0))
    for target in (PARITY, BARS, RANDOM)
)  # fmt: skip
NUMBER = _tenth("8 hidden units have a tenth of the KL of 1, restricted, random states",
                arm(RANDOM, "restricted", 8), arm(RANDOM, "restricted", 1))  # fmt: skip
NEEDED = Comparison("without hidden units, bars and stripes have a KL of at least 0.1", arm(BARS, "all", 0), 0.0, "KL",
                    0.1)  # fmt: skip
EQUAL = _tenth("2 hidden units in place of couplings of visible units lower the KL of random states to a tenth",
               arm(RANDOM, "restricted", 2), arm(RANDOM, "all", 0))  # fmt: skip
FIRST = Comparison("one hidden unit lowers the KL of parity, restricted", arm(PARITY, "restricted", 1),
                   arm(PARITY, "restricted", 0), "KL", 0.01, lower=True)  # fmt: skip
CRITERIA = Criteria(
    clauses=(ALL_PARITY, ALL_RANDOM, *RESTRICTED, NUMBER),
    gates=(
        Comparison("without hidden units, the KL of parity is log 2", arm(PARITY, "all", 0), 0.02, "error", 0.01,
                   lower=True),
        Comparison("random states have a KL without hidden units", arm(RANDOM, "all", 0), 0.0, "KL", 0.1),
        Comparison("training until the gradient is a tenth lowers no KL by 0.01", TRAINING, 0.02, "change", 0.01,
                   lower=True),
    ),
    limits=(NEEDED, EQUAL, FIRST),
)  # fmt: skip


def conclude(numbers: Numbers, judgment: Judgment) -> str:
    """Two divergences; then the limits."""
    before, after = (numbers["arms"][arm(RANDOM, "all", hidden)]["KL"] for hidden in (0, 4))
    lowered = f"at most {number(RESOLUTION)}" if max(after) <= RESOLUTION else number(fmean(after), 2)
    text = f"4 hidden units lower the KL divergence of random states from {number(fmean(before), 2)} to {lowered} nats."
    if judgment.supported(ALL_PARITY.clause):
        text += " They make parity possible, which couplings of pairs of visible units cannot represent."
    text += judgment.not_shown(*CRITERIA.clauses)
    limits = {
        NEEDED: "Bars and stripes need no hidden units, if all pairs are coupled.",
        EQUAL: "With equally many parameters, hidden units are not ten times as good as couplings of visible units.",
        FIRST: "In a restricted machine, one hidden unit does not help for parity.",
    }
    for limit, sentence in limits.items():
        text += f" {sentence}" if judgment.refuted(limit.clause) else judgment.not_shown(limit)
    return text


def table(numbers: Numbers) -> Table:
    """Divergence, parameters and successful restarts, by arm."""
    rows: Table = [
        (
            "target, couplings, hidden units",
            "parameters",
            f"KL in nats (at least {number(RESOLUTION)} is shown)",
            "restarts that reach it",
        )
    ]
    for name in ARMS:
        values = numbers["arms"][name]
        rows.append((name, number(values["parameters"][0]), mean_and_range(values["KL"]),
                     percent(fmean(values["restarts"]))))  # fmt: skip
    return rows


def plot(numbers: Numbers) -> Figure:
    """The divergence against the number of hidden units, for both kinds of couplings."""
    from danlu.experiments.harness.plots import legend_above, line, panels

    figure, both = panels(2, height=2.7, sharey=True)
    for axes, (couplings, counts) in zip(both, HIDDEN.items(), strict=True):
        for k, target in enumerate((PARITY, BARS, RANDOM)):
            columns = [numbers["arms"][arm(target, couplings, hidden)]["KL"] for hidden in counts]
            line(axes, counts, list(zip(*columns, strict=True)), k, target)
        axes.set(title=f"couplings: {couplings}", xlabel="hidden units", xticks=counts)
    both[0].set(ylabel="KL divergence in nats")
    legend_above(figure, both[0])
    return figure


EXPERIMENT = Experiment(
    measure=measure,
    criteria=CRITERIA,
    conclude=conclude,
    table=table,
    plot=plot,
    method=(
        f"Boltzmann machines with 0 to 8 hidden units are trained on the exact KL divergence from three distributions: "
        f"even parity of {BITS} units, {STATES} random states of {UNITS} units, and bars and stripes of {SIDE**2} "
        f"units. The best of {RESTARTS} restarts counts; training ends when no entry of the gradient is above "
        f"{number(GRADIENT)}."
    ),
    caption=(
        "The KL divergence D(target ‖ machine) of the trained machines, mean and range over seeds, against the number "
        "of hidden units. Left: couplings of all pairs. Right: only couplings of visible with hidden units."
    ),
)
