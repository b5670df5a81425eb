"""Without activations any depth is one linear map (notes, 1.2.1).

Networks of 0 to 8 hidden layers learn to tell two moons apart, with ReLU and with the identity for activation. Of those
with the identity the weight matrices are multiplied together, and the one map that comes out is compared with the
network; and the rank of what the last hidden layer says of the test points is counted, which a linear map cannot raise
above the 2 dimensions that came in. Five seeds.
"""

from __future__ import annotations

from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from danlu.data.base.dataset import Part
from danlu.data.base.split import Split
from danlu.data.settings import DataSettings
from danlu.experiments.harness.experiment import Experiment, Numbers, Table, Tell, Verdict
from danlu.experiments.harness.trainers import classifying, error, from_seed, spread
from danlu.models.classify.mlp import MLP
from danlu.training.optimization import OptimizerSettings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DEPTHS = (0, 1, 2, 4, 8)
WIDTH = 16
DESCENT = OptimizerSettings(
    optimizer="adam", lr=1e-2, schedule="cosine"
)  # long enough for the flat network to converge
KINDS: tuple[Literal["identity", "relu"], ...] = ("identity", "relu")
AGREES = 1e-4  # relative difference that rounding in float32 explains
ALIKE = 0.02  # difference in test error by which a deep linear network may miss a flat one
HALF = 0.5  # of the linear error that a network with activations must at least save


def composed(network: MLP) -> tuple[Float[Tensor, "out in"], Float[Tensor, "out"]]:
    r"""The one affine map that the layers of a network make if its activations do nothing.

    .. math:: W = W_L \cdots W_1, \qquad b = W_L (\cdots (W_2 b_1 + b_2) \cdots) + b_L

    >>> network = MLP((2,), 3, hidden=(4, 4), activation="identity").double()
    >>> x, (weight, bias) = torch.randn(5, 2, dtype=torch.float64), composed(network)
    >>> torch.allclose(network(x), x @ weight.T + bias)
    True
    """
    layers = [part for part in network.modules() if isinstance(part, nn.Linear)]  # the head is registered last
    weight = torch.eye(layers[0].in_features, dtype=network.head.weight.dtype)
    bias = weight.new_zeros(layers[0].in_features)
    for layer in layers:
        weight, bias = layer.weight @ weight, layer.weight @ bias + layer.bias
    return weight.detach(), bias.detach()


def measure(seed: int, tell: Tell, quick: bool = False) -> Numbers:
    """Test error, distance from the composed map and rank, by kind, depth and seed; guesses on a grid."""
    seeds = range(seed, seed + (2 if quick else 5))
    depths, rounds = (DEPTHS[:3], 300) if quick else (DEPTHS, 1000)
    numbers: Numbers = {
        "depths": list(depths),
        "error": {k: [] for k in KINDS},
        "rank": {k: [] for k in KINDS},
        "distance": {k: [] for k in KINDS},
    }
    fields: Numbers = {}
    runs = len(KINDS) * len(seeds) * len(depths)
    for number, kind in enumerate(KINDS):
        for own in seeds:
            data = DataSettings(data="moons:2000", split=Split(seed=own)).load()
            rows: list[tuple[float, int, float]] = []
            for place, depth in enumerate(depths):
                tell("networks", (number * len(seeds) + own - seed) * len(depths) + place, runs)
                network = _learn(kind, depth, data.train, rounds, own)
                rows.append((error(network, data.test["x"], data.test["label"]), *_as_a_map(network, data.test["x"])))
                if own == seed and depth == depths[-1]:
                    fields[kind] = _field(network)
            for name, values in zip(("error", "rank", "distance"), zip(*rows, strict=True), strict=True):
                numbers[name][kind].append(list(values))
    points = DataSettings(data="moons:2000", split=Split(seed=seed)).load().test
    shown = {"x": points["x"].tolist(), "label": points["label"].tolist()}
    return {**numbers, "fields": fields, "points": shown}


def _learn(kind: Literal["identity", "relu"], depth: int, part: Part, rounds: int, seed: int) -> MLP:
    """One network, trained."""
    make = partial(MLP, (2,), 2, hidden=(WIDTH,) * depth, activation=kind)
    network = from_seed(make, seed)
    for _ in classifying(network, part, DESCENT, rounds, 128, seed):
        pass
    return cast(MLP, network)


@torch.no_grad()
def _as_a_map(network: MLP, x: Float[Tensor, "n 2"]) -> tuple[int, float]:
    """Rank of the last hidden layer about its mean, and the relative distance of the logits from the composed map."""
    hidden = network.body(x)
    weight, bias = composed(network)
    logits = network(x)
    distance = (logits - (x @ weight.T + bias)).norm() / logits.norm()
    return int(torch.linalg.matrix_rank((hidden - hidden.mean(0)).double(), rtol=1e-5)), float(distance)


@torch.no_grad()
def _field(network: MLP) -> list[list[float]]:
    """Probability of the second moon on a grid over the plane."""
    y, x = torch.meshgrid(torch.linspace(-1.1, 1.6, 55), torch.linspace(-1.6, 2.6, 85), indexing="ij")
    probability = network.classify(torch.stack([x, y], dim=-1).view(-1, 2))[:, 1]
    return [[round(p, 3) for p in row] for row in probability.view(x.shape).tolist()]


def judge(numbers: Numbers) -> Verdict:
    """Linear networks: equal to one map, of rank 2, no better than a flat one. With ReLU: half the error or less."""
    distance = max(max(run) for run in numbers["distance"]["identity"])
    rank = max(max(run) for run in numbers["rank"]["identity"])
    flat, deep = (
        [fmean(run[place] for run in numbers["error"]["identity"]) for place in range(len(numbers["depths"]))][slice_]
        for slice_ in (slice(0, 1), slice(1, None))
    )
    bent = min(fmean(run[place] for run in numbers["error"]["relu"]) for place in range(1, len(numbers["depths"])))
    reason = (
        f"Multiplied together, the layers differ from the network by {distance:.0e} of its output; the rank stays "
        f"{rank}; test error is {flat[0]:.1%} without hidden layers and {min(deep):.1%} to {max(deep):.1%} with; "
        f"ReLU brings it to {bent:.1%}."
    )
    if distance > AGREES or rank > 2:
        return Verdict("does not hold", reason)
    if max(abs(value - flat[0]) for value in deep) > ALIKE or bent > HALF * flat[0]:
        return Verdict("holds with limits", f"{reason} In what is learnt, depth or activation did otherwise than said.")
    return Verdict("holds", reason)


def table(numbers: Numbers) -> Table:
    """Error, rank and distance by number of hidden layers."""
    rows: Table = [("hidden layers", "error, linear", "error, ReLU", "rank, linear", "rank, ReLU", "from one map")]
    for place, depth in enumerate(numbers["depths"]):
        column = {
            (what, kind): [run[place] for run in numbers[what][kind]]
            for what in ("error", "rank", "distance")
            for kind in KINDS
        }
        rows.append(
            (
                str(depth),
                *(spread(column["error", kind]) for kind in KINDS),
                *(_from_to(column["rank", kind]) for kind in KINDS),
                f"{max(column['distance', 'identity']):.0e}",
            )
        )
    return rows


def _from_to(values: list[int]) -> str:
    return str(values[0]) if min(values) == max(values) else f"{min(values)}–{max(values)}"


def draw(numbers: Numbers) -> Figure:
    """What the deepest networks have learnt, and test error against depth."""
    from matplotlib.colors import LinearSegmentedColormap

    from danlu.experiments.harness.plots import colors, line, panels

    figure, (left, middle, right) = panels(3, height=2.3)
    blue, vermilion = colors()[:2]
    shades = LinearSegmentedColormap.from_list("moons", [blue, "white", vermilion])
    for axes, kind, title in ((left, "identity", "no activations"), (middle, "relu", "ReLU")):
        axes.imshow(
            numbers["fields"][kind],
            extent=(-1.6, 2.6, -1.1, 1.6),
            origin="lower",
            cmap=shades,
            vmin=0,
            vmax=1,
            alpha=0.35,
            aspect="auto",
            interpolation="bilinear",
        )
        for label, mark in enumerate("ox"):
            own = [p for p, lab in zip(numbers["points"]["x"], numbers["points"]["label"], strict=True) if lab == label]
            axes.scatter(*zip(*own, strict=True), s=5, marker=mark, color=colors()[label], linewidths=0.5)
        axes.set(title=f"{title}, {numbers['depths'][-1]} layers", xlabel="x", ylabel="y")
    for number, (kind, name) in enumerate(zip(KINDS, ("no activations", "ReLU"), strict=True)):
        runs = [[100 * value for value in run] for run in numbers["error"][kind]]
        line(right, numbers["depths"], runs, number, name)
    right.set(
        title="two moons", xlabel="hidden layers", ylabel="test error, %", xticks=numbers["depths"], ylim=(0, None)
    )
    right.legend(loc="center right")
    return figure


EXPERIMENT = Experiment(measure, judge, table, draw)
