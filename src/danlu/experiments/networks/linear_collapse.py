"""Without activations a network of any depth is one linear map, which is not enough (notes, 1.2.1).

Networks of 0 to 8 hidden layers are trained to classify two moons, with ReLU and with the identity as activation. The
experiment multiplies the weight matrices of each network into one affine map and compares this map with the network. It
also computes the rank of the last hidden layer over the test points; a linear map cannot raise the rank above the 2
input dimensions. That a linear function is not enough is shown by the test errors: all networks have the same data,
rounds and optimizer.
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
from danlu.experiments.harness.criteria import Comparison, Criteria, Judgment
from danlu.experiments.harness.experiment import Experiment, Numbers, ProgressCallback, Table
from danlu.experiments.harness.parallel import run_each
from danlu.experiments.harness.seeds import seeds
from danlu.experiments.harness.trainers import classification_trainer, error, from_seed
from danlu.experiments.harness.wording import mean_and_range, number, percent
from danlu.models.classify.mlp import MLP
from danlu.training.optimization.settings import OptimizerSettings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DEPTHS = (0, 1, 3, 8)
WIDTH = 16
DESCENT = OptimizerSettings(
    optimizer="adam", lr=1e-2, schedule="cosine"
)  # the network without hidden layers converges with it
Kind = Literal["identity", "relu"]
KINDS: tuple[Kind, ...] = ("identity", "relu")
AGREES = 1e-4  # largest relative difference that float32 rounding explains
LINEAR, RELU = KINDS
ROUNDS = 1000


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
    run_seeds = seeds(seed, 2 if quick else 5)
    depths, rounds = (DEPTHS[:3], 150) if quick else (DEPTHS, ROUNDS)
    numbers: Numbers = {
        "depths": list(depths),
        "error": {k: [] for k in KINDS},
        "rank": {k: [] for k in KINDS},
        "distance": {k: [] for k in KINDS},
    }
    grids: Numbers = {}
    runs: list[tuple[Kind, int, tuple[int, ...], int]] = [
        (kind, run_seed, depths, rounds) for kind in KINDS for run_seed in run_seeds
    ]
    for (kind, run_seed, *_), (rows, grid) in zip(runs, run_each(measure_depths, runs, progress), strict=True):
        for name, values in zip(("error", "rank", "distance"), zip(*rows, strict=True), strict=True):
            numbers[name][kind].append(list(values))
        if run_seed == run_seeds[0]:
            grids[kind] = grid
    points = DataSettings(data="moons:2000", split=Split(seed=run_seeds[0])).load().test
    test_points = {"x": points["x"].tolist(), "label": points["label"].tolist()}
    arms = {
        kind: {
            "error": [fmean(run[1:]) for run in numbers["error"][kind]],
            "gain from depth": [run[0] - fmean(run[1:]) for run in numbers["error"][kind]],
            "distance": [max(run[1:]) for run in numbers["distance"][kind]],
            "rank": [max(run) for run in numbers["rank"][kind]],
        }
        for kind in KINDS
    }
    return {"arms": arms, **numbers, "fields": grids, "points": test_points}


def measure_depths(
    kind: Kind, seed: int, depths: tuple[int, ...], rounds: int
) -> tuple[list[tuple[float, int, float]], list[list[float]]]:
    """Error, rank and distance of the networks of one kind, by depth, and the predictions of the deepest on a grid."""
    data = DataSettings(data="moons:2000", split=Split(seed=seed)).load()
    networks = [_learn(kind, depth, data.train, rounds, seed) for depth in depths]
    x, label = data.test["x"], data.test["label"]
    return [(error(one, x, label), *_as_a_map(one, x)) for one in networks], _prediction_grid(networks[-1])


def _learn(kind: Kind, depth: int, part: Part, rounds: int, seed: int) -> MLP:
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


SAME_MAP = Comparison(
    "a network without activations is the composed map, up to rounding",
    LINEAR, AGREES, "distance", 1.01, lower=True, ratio=True,
)  # fmt: skip
RANK = Comparison("its last layer has at most rank 2", LINEAR, 3.0, "rank", 1.0, lower=True)
NO_GAIN = Comparison(  # two in 100 points
    "depth without activations lowers the error by at most 2 %", LINEAR, 0.04, "gain from depth", 0.02, lower=True
)
NOT_ENOUGH = Comparison(  # one in 20 points more
    "with ReLU the error is lower by at least 5 %", RELU, LINEAR, "error", 0.05, lower=True
)
CRITERIA = Criteria(
    clauses=(SAME_MAP, RANK, NO_GAIN, NOT_ENOUGH),
    gates=(Comparison("networks with ReLU learn the moons", RELU, 0.1, "error", 0.05, lower=True),),
)


def conclude(numbers: Numbers, judgment: Judgment) -> str:
    """The composed map; the errors; what is not shown."""
    arms = numbers["arms"]
    flat = fmean(run[0] for run in numbers["error"][LINEAR])
    text = (
        f"Without activations a network of up to {numbers['depths'][-1]} hidden layers differs from one linear map by "
        f"{number(max(arms[LINEAR]['distance']), 1)} of its output."
    )
    errors = {kind: percent(fmean(arms[kind]["error"]), 1) for kind in KINDS}
    text += (
        f" Its test error is {percent(flat, 1)} with no hidden layers and {errors[LINEAR]} with hidden layers; with "
        f"ReLU it is {errors[RELU]}."
    )
    return text + judgment.not_shown(SAME_MAP, RANK, NO_GAIN, NOT_ENOUGH)


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
                *(mean_and_range(column["error", kind]) for kind in KINDS),
                *(mean_and_range(column["rank", kind]) for kind in KINDS),
                number(max(column["distance", LINEAR]), 1),
            )
        )
    return rows


def plot(numbers: Numbers) -> Figure:
    """Predictions of the deepest networks, and test error against depth."""
    from matplotlib.colors import LinearSegmentedColormap

    from danlu.experiments.harness.plots import colors, legend_above, line, panels

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
        axes.set(title=f"{title},\n{numbers['depths'][-1]} layers", xlabel="x", ylabel="y")
    for k, (kind, name) in enumerate(zip(KINDS, ("no activations", "ReLU"), strict=True)):
        runs = [[100 * value for value in run] for run in numbers["error"][kind]]
        line(right, numbers["depths"], runs, k, name)
    right.set(
        title="two moons", xlabel="hidden layers", ylabel="test error, %", xticks=numbers["depths"], ylim=(0, None)
    )
    legend_above(figure, right)
    return figure


EXPERIMENT = Experiment(
    measure=measure,
    criteria=CRITERIA,
    conclude=conclude,
    table=table,
    plot=plot,
    method=(
        "Networks of 0 to 8 hidden layers are trained to separate two moons, with ReLU and without activations. The "
        "weights of each network are multiplied into one linear map, which is compared with the network."
    ),
    caption=(
        "Left and middle: the class that the deepest network predicts at each point (color) and the test points, "
        "without activations and with ReLU. Right: test error against the number of hidden layers; lines are means "
        "over seeds, bands the range. Without activations the border is a straight line at any depth."
    ),
)
