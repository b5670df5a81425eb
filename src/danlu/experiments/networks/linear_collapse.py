"""Without activations a network of any depth is one linear map (notes, 1.2.1).

Networks of 0 to 8 hidden layers are trained to classify two moons, with ReLU and with the identity as activation. The
experiment multiplies the weight matrices of each network into one affine map and compares this map with the network. It
also computes the rank of the last hidden layer over the test points; a linear map cannot raise the rank above the 2
input dimensions. Five seeds.
"""

from __future__ import annotations

from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from danlu.data.base.dataset import Part
from danlu.data.base.split_settings import Split
from danlu.data.settings import DataSettings
from danlu.experiments.harness.experiment import JudgedExperiment, Numbers, ProgressCallback, Table, Verdict
from danlu.experiments.harness.trainers import classification_trainer, error, from_seed, spread
from danlu.models.classify.mlp import MLP
from danlu.training.optimization.settings import OptimizerSettings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DEPTHS = (0, 1, 2, 4, 8)
WIDTH = 16
DESCENT = OptimizerSettings(
    optimizer="adam", lr=1e-2, schedule="cosine"
)  # the network without hidden layers converges with it
KINDS: tuple[Literal["identity", "relu"], ...] = ("identity", "relu")
AGREES = 1e-4  # largest relative difference that float32 rounding explains
ALIKE = 0.02  # allowed difference in test error between deep linear networks and the one without hidden layers
HALF = 0.5  # ReLU must reduce the error of the linear network to this fraction or less


def composed(network: MLP) -> tuple[Float[Tensor, "out in"], Float[Tensor, "out"]]:
    r"""The affine map that the linear layers of a network compose to if its activations are the identity.

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


def measure(seed: int, progress: ProgressCallback, quick: bool = False) -> Numbers:
    """Test error, distance from the composed map and rank, by activation, depth and seed; predictions on a grid."""
    seeds = range(seed, seed + (2 if quick else 5))
    depths, rounds = (DEPTHS[:3], 150) if quick else (DEPTHS, 1000)
    numbers: Numbers = {
        "depths": list(depths),
        "error": {k: [] for k in KINDS},
        "rank": {k: [] for k in KINDS},
        "distance": {k: [] for k in KINDS},
    }
    grids: Numbers = {}
    runs = len(KINDS) * len(seeds) * len(depths)
    for number, kind in enumerate(KINDS):
        for run_seed in seeds:
            data = DataSettings(data="moons:2000", split=Split(seed=run_seed)).load()
            rows: list[tuple[float, int, float]] = []
            for index, depth in enumerate(depths):
                progress("networks", (number * len(seeds) + run_seed - seed) * len(depths) + index, runs)
                network = _learn(kind, depth, data.train, rounds, run_seed)
                rows.append((error(network, data.test["x"], data.test["label"]), *_as_a_map(network, data.test["x"])))
                if run_seed == seed and depth == depths[-1]:
                    grids[kind] = _prediction_grid(network)
            for name, values in zip(("error", "rank", "distance"), zip(*rows, strict=True), strict=True):
                numbers[name][kind].append(list(values))
    points = DataSettings(data="moons:2000", split=Split(seed=seed)).load().test
    test_points = {"x": points["x"].tolist(), "label": points["label"].tolist()}
    return {**numbers, "fields": grids, "points": test_points}


def _learn(kind: Literal["identity", "relu"], depth: int, part: Part, rounds: int, seed: int) -> MLP:
    """Train one network."""
    make = partial(MLP, (2,), 2, hidden=(WIDTH,) * depth, activation=kind)
    network = from_seed(make, seed)
    for _ in classification_trainer(network, part, DESCENT, rounds, 128, seed):
        pass
    return cast(MLP, network)


@torch.no_grad()
def _as_a_map(network: MLP, x: Float[Tensor, "n 2"]) -> tuple[int, float]:
    """Rank of the centered last hidden layer, and relative distance of the logits from the composed map."""
    hidden = network.body(x)
    weight, bias = composed(network)
    logits = network(x)
    distance = (logits - (x @ weight.T + bias)).norm() / logits.norm()
    return int(torch.linalg.matrix_rank((hidden - hidden.mean(0)).double(), rtol=1e-5)), float(distance)


@torch.no_grad()
def _prediction_grid(network: MLP) -> list[list[float]]:
    """Predicted probability of the second moon on a grid."""
    y, x = torch.meshgrid(torch.linspace(-1.1, 1.6, 55), torch.linspace(-1.6, 2.6, 85), indexing="ij")
    probability = network.classify(torch.stack([x, y], dim=-1).view(-1, 2))[:, 1]
    return [[round(p, 3) for p in row] for row in probability.view(x.shape).tolist()]


def verdict(numbers: Numbers) -> Verdict:
    """Holds if linear networks equal one map of rank 2 and do not gain from depth, and ReLU halves the error."""
    distance = max(max(run) for run in numbers["distance"]["identity"])
    rank = max(max(run) for run in numbers["rank"]["identity"])
    flat, deep = (
        [fmean(run[index] for run in numbers["error"]["identity"]) for index in range(len(numbers["depths"]))][slice_]
        for slice_ in (slice(0, 1), slice(1, None))
    )
    relu_error = min(
        fmean(run[index] for run in numbers["error"]["relu"]) for index in range(1, len(numbers["depths"]))
    )
    reason = (
        f"The composed map differs from the network by {distance:.0e} of its output; the rank stays {rank}. "
        f"Without activations the test error is {flat[0]:.1%} with no hidden layers and {min(deep):.1%} to "
        f"{max(deep):.1%} with hidden layers; ReLU reduces it to {relu_error:.1%}."
    )
    if distance > AGREES or rank > 2:
        return Verdict("does not hold", reason)
    if max(abs(value - flat[0]) for value in deep) > ALIKE or relu_error > HALF * flat[0]:
        return Verdict(
            "holds with limits", f"{reason} The effect of depth or activation on the test error is not as claimed."
        )
    return Verdict("holds", reason)


def table(numbers: Numbers) -> Table:
    """Error, rank and distance by number of hidden layers."""
    rows: Table = [
        ("hidden layers", "error, linear", "error, ReLU", "rank, linear", "rank, ReLU", "distance from one map")
    ]
    for index, depth in enumerate(numbers["depths"]):
        column = {
            (quantity, kind): [run[index] for run in numbers[quantity][kind]]
            for quantity in ("error", "rank", "distance")
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


def plot(numbers: Numbers) -> Figure:
    """Predictions of the deepest networks, and test error against depth."""
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
            points = [
                p for p, lab in zip(numbers["points"]["x"], numbers["points"]["label"], strict=True) if lab == label
            ]
            axes.scatter(*zip(*points, strict=True), s=5, marker=mark, color=colors()[label], linewidths=0.5)
        axes.set(title=f"{title}, {numbers['depths'][-1]} layers", xlabel="x", ylabel="y")
    for number, (kind, name) in enumerate(zip(KINDS, ("no activations", "ReLU"), strict=True)):
        runs = [[100 * value for value in run] for run in numbers["error"][kind]]
        line(right, numbers["depths"], runs, number, name)
    right.set(
        title="two moons", xlabel="hidden layers", ylabel="test error, %", xticks=numbers["depths"], ylim=(0, None)
    )
    right.legend(loc="center right")
    return figure


EXPERIMENT = JudgedExperiment(measure, verdict, table, plot)
