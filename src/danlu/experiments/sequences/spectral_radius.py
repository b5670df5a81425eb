"""Gradients explode with a spectral radius above 1 and vanish below 1 (notes, 3.2.3).

A recurrent layer of 64 units has a random matrix W, scaled to spectral radii from 0.8 to 3. The experiment measures the
norm of the state, from an initial state of length 1 without inputs, and the gradient of the last state with respect to
earlier inputs, as the geometric mean over 16 directions and input sequences. The linear case is the same layer with
states so small that tanh is the identity in float64; the tanh cases have weak and strong inputs. The notes write the
gradient as Wᵗ times a product of slopes; these factors do not commute, and the product of diag(f') W is decisive
(Pascanu et al., "On the difficulty of training recurrent neural networks", 2013, equation 5). Two constructed matrices
test whether the radius determines more than the long-term behavior of a linear network: a chain whose eigenvalues all
have modulus 0.9, and a pair of units with radius 0.9 that cancel each other, one of which is saturated. Three seeds.
"""

from __future__ import annotations

import math
from statistics import fmean
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from danlu.experiments.harness.experiment import JudgedExperiment, Numbers, ProgressCallback, Table, Verdict
from danlu.nn.recurrent.init import scale_radius
from danlu.nn.recurrent.layer import Recurrent
from danlu.rng.keys import generator

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RADII = (0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.2, 1.5, 2.0, 3.0)
CLAIMED = (0.8, 1.2)  # radii for the verdict
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
    seeds = range(seed, seed + (1 if quick else 3))
    radii = [r for r in RADII if r in (0.8, 1.0, 1.2, 3.0)] if quick else list(RADII)
    grown: Numbers = {name: {str(r): [] for r in radii} for name in INPUTS}
    lengths: Numbers = {name: {str(r): [] for r in radii} for name in ("linear", "tanh")}
    norms: list[float] = []
    for index, run_seed in enumerate(seeds):
        matrix_generator = generator("recurrent matrices", run_seed)
        raw, x, towards, start = (
            torch.randn(shape, dtype=torch.float64, generator=matrix_generator)
            for shape in ((WIDTH, WIDTH), (ROWS, BEFORE + STEPS, WIDTH), (ROWS, WIDTH), (ROWS, WIDTH))
        )
        start = start / start.norm(dim=1, keepdim=True)
        for done, radius in enumerate(radii):
            progress("radii", index * len(radii) + done, len(seeds) * len(radii))
            weight = raw.clone()
            scale_radius(weight, radius)
            norms += [float(torch.linalg.matrix_norm(weight, 2)) / radius] if not done else []
            for name, deviation in INPUTS.items():
                grown[name][str(radius)].append(gradients(weight, deviation * x, towards)[: STEPS + 1])
            for name, scale in (("linear", INPUTS[LINEAR]), ("tanh", 1.0)):
                lengths[name][str(radius)].append(states(weight, scale * start, STEPS))
    return {"radii": radii, "gradients": grown, "states": lengths, "norm over radius": norms, **_constructed(seed)}


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
    return [run[-1] / run[0] for run in numbers["gradients"][name][str(radius)]]


def rate(run: list[float]) -> float:
    """Growth per step over the second half of the steps."""
    half = len(run) // 2
    return (run[-1] / run[half]) ** (1 / (len(run) - 1 - half))


def right(numbers: Numbers, name: str) -> tuple[bool, bool]:
    """Whether all gradients vanish at the radius below 1, and explode at the radius above 1."""
    low, high = CLAIMED
    below = [r for r in numbers["radii"] if low <= r < 1]
    above = [r for r in numbers["radii"] if 1 < r <= high]
    return (
        all(factor <= 1 / MANY for r in below for factor in factors(numbers, name, r)),
        all(factor >= MANY for r in above for factor in factors(numbers, name, r)),
    )


def explodes_from(numbers: Numbers, name: str) -> float | None:
    """The smallest radius at which the gradients of all seeds explode."""
    return next((r for r in numbers["radii"] if min(factors(numbers, name, r)) >= MANY), None)


def verdict(numbers: Numbers) -> Verdict:
    """Evaluate linear and tanh layers separately, and whether the radius alone decides."""
    linear, tanh = right(numbers, LINEAR), [right(numbers, name) for name in TANH]
    top = CLAIMED[1]
    growth_text = "; ".join(f"{name} × {_range(factors(numbers, name, top))}" for name in INPUTS)
    rate_error = max(abs(rate(run) - r) for r in numbers["radii"] for run in numbers["gradients"][LINEAR][str(r)])
    reason = (
        f"The gradient of a linear layer grows per step by the radius, within {rate_error:.3f}. Growth over {STEPS} "
        f"steps at radius {top:g}: {growth_text}."
    )
    if not all(linear) or not all(vanishes for vanishes, _ in tanh):
        return Verdict("does not hold", reason)
    limits = []
    if not all(explodes for _, explodes in tanh):
        begins = [explodes_from(numbers, name) for name in TANH]
        radii = " and ".join("none" if r is None else f"{r:g}" for r in begins)
        limits.append(
            f"With tanh a radius above 1 is not sufficient: explosion begins at {radii} (weak and strong inputs); at "
            f"radius 1 the gradient shrinks to {_range([f for name in TANH for f in factors(numbers, name, 1.0)])} of "
            "its size"
        )
    limits += _limits_of_the_radius(numbers)
    return Verdict("holds with limits" if limits else "holds", reason + "".join(f" {limit}." for limit in limits))


def _limits_of_the_radius(numbers: Numbers) -> list[str]:
    """Limits of the radius as a criterion."""
    chained, pair = numbers["chain"], numbers["pair"]
    peak = max(chained["gradient"]) / chained["gradient"][0]
    growth = pair["gradient"][-1] / pair["gradient"][0]
    results = []
    if peak >= MANY:
        results.append(
            f"The radius determines only long-term growth: a chain of radius {chained['radius']:.2g} first grows "
            f"{peak:.0f}-fold"
        )
    if growth >= MANY:
        results.append(
            f"A radius above 1 is not necessary either: two tanh units of radius {pair['radius']:.2g}, one of them "
            f"saturated, have gradients that grow {growth:.0e}-fold in {HELD} steps; a largest singular value below 1 "
            "would exclude this"
        )
    return results


def _range(values: list[float]) -> str:
    low, high = f"{min(values):.0e}", f"{max(values):.0e}"
    return low if low == high else f"{low} to {high}"


def table(numbers: Numbers) -> Table:
    """Growth of gradients and states over all steps."""
    rows: Table = [("radius", *(f"gradient, {name}" for name in INPUTS), "state, linear", "state, tanh")]
    for radius in numbers["radii"]:
        grown = (_range(factors(numbers, name, radius)) for name in INPUTS)
        lengths = (_range([run[-1] for run in numbers["states"][name][str(radius)]]) for name in ("linear", "tanh"))
        rows.append((f"{radius:g}", *grown, *lengths))
    return rows


def plot(numbers: Numbers) -> Figure:
    """Gradients by lag, linear and tanh, and growth per step by radius."""
    from matplotlib.colors import LinearSegmentedColormap, to_hex

    from danlu.experiments.harness.plots import MARKERS, colors, logarithmic, panels, secondary_color

    figure, (left, middle, right) = panels(3, height=2.7)
    shown = [r for r in (0.8, 0.9, 1.0, 1.1, 1.2) if r in numbers["radii"]]
    ramp = LinearSegmentedColormap.from_list("radii", [colors()[0], "#8a8a8a", colors()[1]])
    shades = {radius: to_hex(ramp(index / max(1, len(shown) - 1))) for index, radius in enumerate(shown)}
    for axes, name in ((left, LINEAR), (middle, TANH[0])):
        labeled = 0.0
        for radius in shown:
            runs = [[value / run[0] for value in run] for run in numbers["gradients"][name][str(radius)]]
            mean = [math.exp(fmean(map(math.log, column))) for column in zip(*runs, strict=True)]
            axes.plot(mean, color=shades[radius])
            if mean[-1] > 10 * labeled:
                at, labeled = (len(mean), mean[-1]), mean[-1]
                axes.annotate(f"{radius:g}", at, va="center", fontsize=7, color=shades[radius], annotation_clip=False)
        logarithmic(axes.yaxis)
        axes.set(title=name, xlabel="steps back", xlim=(0, STEPS), ylim=(1e-13, 1e9))
    chained = numbers["chain"]["gradient"]
    left.plot([value / chained[0] for value in chained], color=secondary_color(), linestyle=(0, (3, 2)), linewidth=0.9)
    left.annotate(f"dashed: a chain\nof radius {SMALL}", (2, 4e5), fontsize=7, color=secondary_color())
    left.set_ylabel("gradient, relative to lag 0")
    right.axhline(1, color=secondary_color(), linewidth=0.7, linestyle=(0, (3, 2)))
    radii = numbers["radii"]
    for number, name in enumerate(INPUTS):
        rates = [fmean(rate(run) for run in numbers["gradients"][name][str(r)]) for r in radii]
        right.plot(radii, rates, MARKERS[number] + "-", color=colors()[number], markersize=3, label=name)
    right.set(title="growth per step", xlabel="spectral radius", xlim=(0.7, 2.1), ylim=(0, 2.1))
    right.set_yticks([0, 0.5, 1, 1.5, 2])
    right.legend(loc="lower right", borderpad=0.1, fontsize=7)
    return figure


EXPERIMENT = JudgedExperiment(measure, verdict, table, plot)
