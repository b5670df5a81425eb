"""States and gradients explode with a spectral radius above 1 and vanish below 1 (notes, 3.2.3).

A recurrent layer of 64 units has a random matrix W, scaled to spectral radii from 0.8 to 3. The experiment measures the
norm of the state, from an initial state of length 1 without inputs, and the gradient of the last state with respect to
earlier inputs, as the geometric mean over 16 directions and input sequences. The linear case is the same layer with
states so small that tanh is the identity in float64; the tanh cases have weak and strong inputs. The notes write the
gradient as Wᵗ times a product of slopes; these factors do not commute, and the product of diag(f') W is decisive
(Pascanu et al., "On the difficulty of training recurrent neural networks", 2013, equation 5). Two constructed matrices
test whether the radius determines more than the long-term behavior of a linear network: a chain whose eigenvalues all
have modulus 0.9, and a pair of units with radius 0.9 that cancel each other, one of which is saturated.
"""

from __future__ import annotations

import math
from statistics import fmean
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from danlu.experiments.harness.criteria import Comparison, Criteria, Judgment
from danlu.experiments.harness.experiment import Experiment, Numbers, ProgressCallback, Table
from danlu.experiments.harness.seeds import seeds
from danlu.experiments.harness.wording import mean_and_range, number
from danlu.nn.recurrent.init import scale_radius
from danlu.nn.recurrent.layer import Recurrent
from danlu.rng.keys import generator

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RADII = (0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.2, 1.5, 2.0, 3.0)
BELOW, ABOVE = (0.8, 0.9, 0.95), (1.05, 1.1, 1.2)  # radii for the verdict
WIDTH, STEPS, ROWS = 64, 100, 16
BEFORE = 100  # steps until a layer that starts at zero is stationary
INPUTS = {"linear": 1e-100, "tanh, weak inputs": 0.1, "tanh, strong inputs": 1.0}  # standard deviation of each input
LINEAR, *TANH = INPUTS
MANY = 10.0  # growth by this factor is explosion, decrease by this factor is vanishing
SMALL = 0.9  # spectral radius of the constructed matrices
HELD = 40  # steps for the pair; rounding errors become visible beyond


def layer(weight: Float[Tensor, "width width"]) -> Recurrent:
    """A recurrent layer with the given matrix; each unit has its own input."""
    results = Recurrent(len(weight), len(weight), kind="rnn", bias=False).double()
    with torch.no_grad():
        results.get_parameter("weight_hh_l0").copy_(weight)
        results.get_parameter("weight_ih_l0").copy_(torch.eye(len(weight)))
    return results


def gradients(
    weight: Float[Tensor, "width width"],
    x: Float[Tensor, "n t width"],
    towards: Float[Tensor, "n width"],
    start: Float[Tensor, "n width"] | None = None,
) -> list[float]:
    """Norms of the gradient of the last state, projected on one direction per row, by input lag 0, 1, 2, …"""
    x = x.clone().requires_grad_()
    outputs, _ = layer(weight)(x, None if start is None else start[:, None, None])
    (by_input,) = torch.autograd.grad((outputs[:, -1] * towards).sum(), x)
    return by_input.norm(dim=2).log().mean(0).exp().flip(0).tolist()


@torch.no_grad()
def states(weight: Float[Tensor, "width width"], start: Float[Tensor, "n width"], steps: int) -> list[float]:
    """Norm of the state after 0, 1, 2, … steps without inputs, relative to the initial norm."""
    outputs, _ = layer(weight)(start.new_zeros(len(start), steps, len(weight)), start[:, None, None])
    lengths = torch.cat([start[:, None], outputs], 1).norm(dim=2)
    return (lengths / lengths[:, :1]).log().mean(0).exp().tolist()


def chain(radius: float = SMALL, units: int = 8, gain: float = 2.0) -> Float[Tensor, "units units"]:
    """Each unit feeds the next with a gain, and the last feeds the first so weakly that all eigenvalues are small."""
    weight = torch.diag(torch.full((units - 1,), gain, dtype=torch.float64), -1)
    weight[0, -1] = radius**units / gain ** (units - 1)
    return weight


def held_pair(radius: float = SMALL, gain: float = 2.0, at: float = 0.9) -> tuple[Tensor, Tensor, Tensor]:
    """Two units that cancel each other, and inputs that saturate the second unit.

    Returns:
        The matrix, the fixed state, and the input that keeps it fixed.
    """
    other = math.hypot(gain, radius)
    weight = torch.tensor([[gain, -other], [other, -gain]], dtype=torch.float64)
    state = torch.tensor([0.0, at], dtype=torch.float64)
    return weight, state, torch.atanh(state) - weight @ state


def measure(seed: int, progress: ProgressCallback, quick: bool = False) -> Numbers:
    """State and gradient norms by radius and seed, and gradients of the constructed matrices."""
    run_seeds = seeds(seed, 2 if quick else 5)
    radii = [r for r in RADII if r in (0.8, 1.0, 1.2, 3.0)] if quick else list(RADII)
    grown: Numbers = {name: {str(r): [] for r in radii} for name in INPUTS}
    lengths: Numbers = {name: {str(r): [] for r in radii} for name in ("linear", "tanh")}
    for index, run_seed in enumerate(run_seeds):
        matrix_generator = generator("recurrent matrices", run_seed)
        raw, x, towards, start = (
            torch.randn(shape, dtype=torch.float64, generator=matrix_generator)
            for shape in ((WIDTH, WIDTH), (ROWS, BEFORE + STEPS, WIDTH), (ROWS, WIDTH), (ROWS, WIDTH))
        )
        start = start / start.norm(dim=1, keepdim=True)
        for done, radius in enumerate(radii):
            progress("radii", index * len(radii) + done, len(run_seeds) * len(radii))
            weight = raw.clone()
            scale_radius(weight, radius)
            for name, deviation in INPUTS.items():
                grown[name][str(radius)].append(gradients(weight, deviation * x, towards)[: STEPS + 1])
            for name, scale in (("linear", INPUTS[LINEAR]), ("tanh", 1.0)):
                lengths[name][str(radius)].append(states(weight, scale * start, STEPS))
    numbers: Numbers = {"radii": radii, "gradients": grown, "states": lengths}
    constructed = [_constructed(run_seed) for run_seed in run_seeds]
    return {"arms": _arms(numbers, constructed), **numbers, "constructed": constructed}


def _arms(numbers: Numbers, constructed: list[Numbers]) -> Numbers:
    """For each seed the weakest growth above radius 1, and the strongest below and at 1; both tanh cases together."""
    below, above = ([str(r) for r in radii if r in numbers["radii"]] for radii in (BELOW, ABOVE))
    kinds = {
        "linear": [numbers["gradients"][LINEAR]],
        "linear state": [numbers["states"]["linear"]],
        "tanh": [numbers["gradients"][name] for name in TANH],
    }
    arms: Numbers = {}
    for kind, results in kinds.items():
        low = zip(*([_growth(run) for run in one[r]] for one in results for r in below), strict=True)
        high = zip(*([_growth(run) for run in one[r]] for one in results for r in above), strict=True)
        at_1 = zip(*([_growth(run) for run in one["1.0"]] for one in results), strict=True)
        arms[kind] = {
            "growth below 1": list(map(max, low)),
            "growth at 1": list(map(max, at_1)),
            "growth above 1": list(map(min, high)),
        }
    arms["chain"] = {"largest growth": [max(c["chain"]["gradient"]) / c["chain"]["gradient"][0] for c in constructed]}
    arms["pair"] = {"growth": [_growth(c["pair"]["gradient"]) for c in constructed]}
    return arms


def _growth(run: list[float]) -> float:
    return run[-1] / run[0]


def _constructed(seed: int) -> Numbers:
    """Gradients of the linear chain and of the pair, with their radii and largest singular values."""
    matrix_generator = generator("directions", seed)
    links, (pair, state, holding) = chain(), held_pair()
    results: Numbers = {}
    for name, weight, x, start in (
        (
            "chain",
            links,
            INPUTS[LINEAR] * torch.randn(ROWS, STEPS + 1, len(links), generator=matrix_generator).double(),
            None,
        ),
        ("pair", pair, holding.expand(ROWS, HELD + 1, 2), state.expand(ROWS, 2)),
    ):
        towards = torch.randn(ROWS, len(weight), dtype=torch.float64, generator=matrix_generator)
        results[name] = {
            "radius": float(torch.linalg.eigvals(weight).abs().max()),
            "norm": float(torch.linalg.matrix_norm(weight, 2)),
            "gradient": gradients(weight, x, towards, start),
        }
    return results


def factors(numbers: Numbers, name: str, radius: float) -> list[float]:
    """Growth factor of each seed's gradient over all steps."""
    return [_growth(run) for run in numbers["gradients"][name][str(radius)]]


def rate(run: list[float]) -> float:
    """Growth per step over the second half of the steps."""
    half = len(run) // 2
    return (run[-1] / run[half]) ** (1 / (len(run) - 1 - half))


def explodes_from(numbers: Numbers, name: str) -> float | None:
    """The smallest radius at which the gradients of all seeds explode."""
    return next((r for r in numbers["radii"] if min(factors(numbers, name, r)) >= MANY), None)


def _explodes(arm: str, clause: str) -> Comparison:
    return Comparison(clause, arm, 1.0, "growth above 1", MANY, ratio=True)


def _vanishes(arm: str, clause: str) -> Comparison:
    return Comparison(clause, arm, 1.0, "growth below 1", MANY, lower=True, ratio=True)


LINEAR_CLAUSES = (
    _explodes("linear state", "the state of a linear layer explodes above radius 1"),
    _vanishes("linear state", "the state of a linear layer vanishes below radius 1"),
    _explodes("linear", "the gradient of a linear layer explodes above radius 1"),
    _vanishes("linear", "the gradient of a linear layer vanishes below radius 1"),
)
TANH_VANISHES = _vanishes("tanh", "the gradient of a tanh layer vanishes below radius 1")
TANH_EXPLODES = _explodes("tanh", "the gradient of a tanh layer explodes above radius 1")
TANH_AT_1 = Comparison(
    "the gradient of a tanh layer vanishes at radius 1, too", "tanh", 1.0, "growth at 1", MANY, lower=True, ratio=True
)
CHAIN = Comparison(
    "no gradient of a linear layer grows 10-fold below radius 1",
    "chain", MANY, "largest growth", 1.01, lower=True, ratio=True,
)  # fmt: skip
PAIR = Comparison(
    "no gradient of a tanh layer explodes below radius 1", "pair", MANY, "growth", 1.01, lower=True, ratio=True
)
CRITERIA = Criteria(clauses=(*LINEAR_CLAUSES, TANH_VANISHES, TANH_AT_1, TANH_EXPLODES), limits=(CHAIN, PAIR))


def conclude(numbers: Numbers, judgment: Judgment) -> str:
    """Linear layers; tanh layers; the constructed matrices."""
    arms = numbers["arms"]
    if all(judgment.supported(one.clause) for one in LINEAR_CLAUSES):
        low, high = max(arms["linear"]["growth below 1"]), min(arms["linear"]["growth above 1"])
        text = (
            f"In a linear layer the radius decides: over {STEPS} steps the gradient grows at least "
            f"{number(high, 2)}-fold above radius 1, and at most {number(low, 2)}-fold below."
        )
    else:
        text = "Not even in a linear layer does the radius decide."
    if not judgment.supported(TANH_VANISHES.clause):
        text += " With tanh it does not vanish below radius 1."
    if not judgment.supported(TANH_AT_1.clause):
        text += f" At radius 1 it does not vanish with tanh (× {mean_and_range(arms['tanh']['growth at 1'], 2)})."
    if not judgment.supported(TANH_EXPLODES.clause):
        begins = [explodes_from(numbers, name) for name in TANH]
        radii = " and ".join("at no tested radius" if r is None else f"from {r:g}" for r in begins)
        text += (
            f" With tanh a radius above 1 is not sufficient: all gradients explode {radii} (weak and strong inputs), "
            "because the slopes of tanh are below 1."
        )
    if not judgment.supported(CHAIN.clause):
        text += (
            f" The radius determines only long-term growth: the gradient of a chain of radius {SMALL} first grows "
            f"{mean_and_range(arms['chain']['largest growth'], 2)}-fold."
        )
    if not judgment.supported(PAIR.clause):
        text += (
            f" Nor is a radius above 1 necessary: two tanh units of radius {SMALL}, one of them saturated, have "
            f"gradients that grow {mean_and_range(arms['pair']['growth'], 2)}-fold in {HELD} steps; a largest singular "
            "value below 1 would exclude this."
        )
    return text


def table(numbers: Numbers) -> Table:
    """Growth of gradients and states over all steps."""
    rows: Table = [("radius", *(f"gradient, {name}" for name in INPUTS), "state, linear", "state, tanh")]
    for radius in numbers["radii"]:
        grown = (mean_and_range(factors(numbers, name, radius), 2) for name in INPUTS)
        ends = ([run[-1] for run in numbers["states"][name][str(radius)]] for name in ("linear", "tanh"))
        lengths = (mean_and_range(values, 2) for values in ends)
        rows.append((f"{radius:g}", *grown, *lengths))
    return rows


def plot(numbers: Numbers) -> Figure:
    """Gradients by lag, linear and tanh, and growth per step by radius."""
    from matplotlib.colors import LinearSegmentedColormap, to_hex

    from danlu.experiments.harness.plots import MARKERS, colors, legend_above, logarithmic, panels, secondary_color

    figure, (left, middle, right) = panels(3, height=2.7)
    shown = [r for r in (0.8, 0.9, 1.0, 1.1, 1.2) if r in numbers["radii"]]
    ramp = LinearSegmentedColormap.from_list("radii", [colors()[0], "#8a8a8a", colors()[1]])
    shades = {radius: to_hex(ramp(index / max(1, len(shown) - 1))) for index, radius in enumerate(shown)}
    for axes, name in ((left, LINEAR), (middle, TANH[0])):
        for index, radius in enumerate(shown):
            runs = [[value / run[0] for value in run] for run in numbers["gradients"][name][str(radius)]]
            mean = [math.exp(fmean(map(math.log, column))) for column in zip(*runs, strict=True)]
            style = {"marker": MARKERS[index], "markersize": 3, "markevery": 20, "color": shades[radius]}
            axes.plot(mean, label=f"radius {radius:g}", **style)
        logarithmic(axes.yaxis)
        axes.set(title=name, xlabel="steps back", xlim=(0, STEPS))
    chained = numbers["constructed"][0]["chain"]["gradient"]
    look = {"color": secondary_color(), "linestyle": (0, (3, 2)), "linewidth": 0.9}
    left.plot([value / chained[0] for value in chained], label=f"a chain of radius {SMALL}", **look)
    left.set_ylabel("gradient, relative to lag 0")
    middle.set_ylim(left.get_ylim())
    right.axhline(1, color=secondary_color(), linewidth=0.7, linestyle=(0, (3, 2)))
    radii = numbers["radii"]
    for index, name in enumerate(INPUTS):
        rates = [fmean(rate(run) for run in numbers["gradients"][name][str(r)]) for r in radii]
        right.plot(radii, rates, MARKERS[index] + "-", color=colors()[index], markersize=3, label=name)
    room = 1.45 * max(radii)  # for the legend
    right.set(title="growth per step", xlabel="spectral radius", ylim=(0, room))
    right.legend(loc="upper left", borderpad=0.1, fontsize=7)
    legend_above(figure, left, columns=3)
    return figure


EXPERIMENT = Experiment(
    measure=measure,
    criteria=CRITERIA,
    conclude=conclude,
    table=table,
    plot=plot,
    method=(
        "A recurrent layer has a random matrix that is scaled to several spectral radii; the gradient of its last "
        f"state with respect to inputs up to {STEPS} steps back is measured, without an activation and with tanh. Two "
        "constructed matrices of radius 0.9 test whether the radius alone decides."
    ),
    caption=(
        "Left and middle: the gradient against the number of steps back, linear and with tanh and weak inputs, for "
        "five radii; logarithmic axes, means over seeds. Right: growth of the gradient per step against the radius; "
        "above the dashed line it explodes, below it vanishes."
    ),
)
