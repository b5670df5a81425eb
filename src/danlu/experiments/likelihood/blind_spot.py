"""Stacked layers of PixelCNN have a blind spot, the gated form has none, and it does not matter much (notes, 2.1.2.6).

Line 633: even with many layers, a pixel does not depend on all pixels before it; this has no particularly large effect,
and Gated PixelCNN avoids it. Both receptive fields are computed from gradients in float64: the pixels of the image on
which the outputs at one pixel depend, for networks with random weights and 2 to 20 layers of 3×3 kernels. They are
compared with the geometry. An output of stacked masked convolutions moves right only by moving up, so after any number
of layers a pixel r rows above is seen up to r columns to the right. The two stacks of the gated form see a rectangle.

The effect is measured with networks that differ in nothing else: Gated PixelCNN, and the same network in which the
weights of the vertical stack for the right part of the pixel's own row are 0. Its receptive field is that of stacked
masked convolutions; PixelCNN itself has other units, too. Both have the same initial weights, batches and updates, and
are trained on the digits.

The receptive fields are a demonstration: mathematics decides. So is the limit, a hand-made case: images in which each
row is the row above, shifted to the left by two, so that a pixel copies one of its blind spot. Without a blind spot the
copies can be learned; with it, nothing better than one half is possible: log 2 = 0.69 nats per copy.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

from danlu.data.base.batch_stream import Shuffled
from danlu.data.base.dataset import DataInfo, Part
from danlu.data.datasets.digits import digits
from danlu.data.images.info import ImageInfo
from danlu.experiments.harness.criteria import Comparison, Criteria, Judgment
from danlu.experiments.harness.experiment import Experiment, Numbers, ProgressCallback, Table
from danlu.experiments.harness.parallel import run_each
from danlu.experiments.harness.seeds import seeds
from danlu.experiments.harness.trainers import from_seed
from danlu.experiments.harness.wording import mean_and_range, number, percent
from danlu.models.pixels.base import PixelModel
from danlu.models.pixels.gated import GatedPixelCNN
from danlu.models.pixels.pixelcnn import PixelCNN
from danlu.nn.masked.convolution import VerticalConv2d
from danlu.rng.keys import generator
from danlu.tasks.likelihood import Likelihood
from danlu.training.optimization.settings import OptimizerSettings
from danlu.training.trainer import Trainer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIDE = 15
ROW, COLUMN = SIDE - 1, SIDE // 2  # the pixel whose receptive field is computed
DEPTHS = (2, 4, 7, 10, 14, 20)  # layers; 14 reach every pixel of the image
CHANNELS = 8
LAYERS, WIDTH, ROUNDS, BATCH = 5, 8, 300, 32  # networks of digits
DESCENT = OptimizerSettings(lr=4e-3, schedule="cosine", grad_clip=1.0)
COPY_SHAPE, SHIFT = (1, 4, 8), 2  # images in which each row is the one above, shifted to the left
COPY_LAYERS, COPY_ROUNDS, COPY_IMAGES = 3, 200, 256
STACKED, GATED, BLINDED = "stacked", "gated", "gated with a blind spot"
ARMS, TRAINED = (STACKED, GATED, BLINDED), (GATED, BLINDED)
Field = list[list[bool]]
"""for each pixel of an image, whether the output depends on it"""


def network(arm: str, shape: tuple[int, ...], layers: int, channels: int, levels: int, seed: int) -> PixelModel:
    """A network of an arm with a number of layers of 3×3 convolutions."""
    kind = PixelCNN if arm == STACKED else GatedPixelCNN
    blocks = layers - 1 if arm == STACKED else layers  # the first layer of PixelCNN is not one of its blocks
    make = partial(kind, shape, levels=levels, layers=blocks, channels=channels, kernel=3, first_kernel=3)
    model = cast(PixelModel, from_seed(cast(Callable[[], PixelModel], make), seed))
    return with_blind_spot(model) if arm == BLINDED else model


class _LeftPart(nn.Module):
    """Weights of a vertical convolution with 0 for pixels to the right in the row of the output."""

    def forward(self, weight: Float[Tensor, "outputs inputs rows kernel"]) -> Tensor:
        mask = torch.ones_like(weight)
        mask[:, :, -1, weight.shape[-1] // 2 + 1 :] = 0
        return weight * mask


def with_blind_spot(model: PixelModel) -> PixelModel:
    """Give a Gated PixelCNN the receptive field of stacked masked convolutions: no step to the right without one up.

    The first layer of the vertical stack sees no pixel of the row of its output, and is not changed.
    """
    for layer in list(model.modules()):
        if isinstance(layer, VerticalConv2d) and not layer.first:
            parametrize.register_parametrization(layer, "weight", _LeftPart())
    return model


def receptive_field(model: PixelModel, seed: int, row: int = ROW, column: int = COLUMN) -> Field:
    """The pixels on which the outputs at a pixel depend: those with a gradient other than 0 for some random image."""
    model = model.double()
    x = torch.rand(4, *model.shape, generator=generator("images", seed), dtype=torch.float64).requires_grad_()
    outputs = model.compute_outputs(x, None)[..., row, column]
    weights = torch.rand(outputs.shape, generator=generator("outputs", seed), dtype=torch.float64)
    (gradient,) = torch.autograd.grad((weights * outputs).sum(), x)
    return (gradient != 0).flatten(0, 1).any(0).tolist()


def predicted_field(arm: str, layers: int, side: int = SIDE, row: int = ROW, column: int = COLUMN) -> Field:
    """The receptive field by geometry.

    >>> predicted_field("stacked", 2, side=3, row=2, column=0)
    [[True, True, True], [True, True, False], [False, False, False]]
    """

    def seen(up: int, right: int) -> bool:
        if not (0 <= up <= layers and -layers <= right <= layers) or (up == 0 and right >= 0):
            return False
        return right <= up or arm == GATED

    return [[seen(row - i, j - column) for j in range(side)] for i in range(side)]


def unseen(field: Field) -> int:
    """The number of pixels before the pixel on which it does not depend."""
    before = [(i, j) for i in range(SIDE) for j in range(SIDE) if (i, j) < (ROW, COLUMN)]
    return sum(not field[i][j] for i, j in before)


def measure_fields(arm: str, depths: tuple[int, ...], seed: int) -> tuple[list[int], int, Field]:
    """Unseen pixels at each depth, pixels that differ from the geometry at any depth, and the field of the deepest."""
    fields = [receptive_field(network(arm, (1, SIDE, SIDE), depth, CHANNELS, 2, seed), seed) for depth in depths]
    wrong = sum(
        a != b
        for depth, field in zip(depths, fields, strict=True)
        for found, expected in zip(field, predicted_field(arm, depth), strict=True)
        for a, b in zip(found, expected, strict=True)
    )
    return [unseen(field) for field in fields], wrong, fields[-1]


def train(model: PixelModel, part: Part, info: DataInfo, rounds: int, seed: int) -> PixelModel:
    """Maximum likelihood."""
    for _ in Trainer(Likelihood(model, info), DESCENT, Shuffled(part, BATCH, seed), rounds, seed):
        pass
    return model.eval()


def measure_likelihoods(arm: str, seed: int, rounds: int, copy_rounds: int) -> dict[str, float]:
    """Nats per test digit, and nats per copied pixel."""
    data = digits()
    model = network(arm, data.info.shape, LAYERS, WIDTH, 17, seed)
    train(model, data.train, data.info, rounds, seed)
    copier, (known, unknown) = network(arm, COPY_SHAPE, COPY_LAYERS, WIDTH, 2, seed), shifted_rows(seed).chunk(2)
    train(copier, Part({"image": known}), ImageInfo(COPY_SHAPE, levels=2), copy_rounds, seed)
    with torch.no_grad():
        nats, nats_of_rows = (-m.log_prob(x).mean() for m, x in ((model, data.test["image"]), (copier, unknown)))
    return {"nats": float(nats), "copy": nats_per_copy(float(nats_of_rows))}


def shifted_rows(seed: int) -> Float[Tensor, "n 1 h w"]:
    """Images of random black and white pixels in which each row is the row above, shifted to the left.

    The last pixels of each row, which have no source, are random, too. Half of the images are for training.
    """
    images = torch.randint(2, (2 * COPY_IMAGES, *COPY_SHAPE), generator=generator("rows", seed)).float()
    for row in range(1, COPY_SHAPE[1]):
        images[:, :, row, :-SHIFT] = images[:, :, row - 1, SHIFT:]
    return images


def nats_per_copy(nats: float) -> float:
    """What is left of the nats of an image for each copied pixel, without log 2 for each random pixel."""
    _, height, width = COPY_SHAPE
    copies = (height - 1) * (width - SHIFT)
    return (nats - (height * width - copies) * math.log(2)) / copies


def independent_pixels(train: Float[Tensor, "n 1 h w"], test: Float[Tensor, "m 1 h w"], levels: int) -> float:
    """Nats per test image with the frequencies of the levels at each pixel, with 0.1 added to each count."""
    counts = torch.stack([(train * (levels - 1)).round().flatten(1) == level for level in range(levels)]).sum(1) + 0.1
    log_p = (counts / counts.sum(0)).log()
    return -float(log_p.gather(0, (test * (levels - 1)).round().long().flatten(1)).sum(1).mean())


def measure(seed: int, progress: ProgressCallback, quick: bool = False) -> Numbers:
    """Receptive fields by arm, depth and seed; likelihoods by arm and seed."""
    run_seeds = seeds(seed, 2 if quick else 5)
    depths, rounds, copy_rounds = (DEPTHS[:3], 4, 3) if quick else (DEPTHS, ROUNDS, COPY_ROUNDS)
    runs = [(arm, run_seed, rounds, copy_rounds) for arm in TRAINED for run_seed in run_seeds]
    arms: dict[str, dict[str, list[float]]] = {arm: {} for arm in ARMS}
    for (arm, *_), values in zip(runs, run_each(measure_likelihoods, runs, progress, "networks"), strict=True):
        for name, value in values.items():
            arms[arm].setdefault(name, []).append(value)
    arms[BLINDED]["excess"] = [b / a - 1 for a, b in zip(*(arms[arm]["nats"] for arm in TRAINED), strict=True)]
    counts, fields = {}, {}
    for arm in ARMS:
        found = [measure_fields(arm, depths, run_seed) for run_seed in run_seeds]
        counts[arm], wrong, (fields[arm], *_) = zip(*found, strict=True)
        arms[arm] |= {"unseen": [pixels[-1] for pixels in counts[arm]], "wrong pixels": list(wrong)}
    data = digits()
    baseline = independent_pixels(data.train["image"], data.test["image"], 17)
    arms[BASELINE] = {"nats": [baseline] * len(run_seeds)}
    return {"arms": arms, "depths": list(depths), "unseen": counts, "fields": fields}


BASELINE = "independent pixels"
BLIND = Comparison(f"with {DEPTHS[-1]} stacked layers some earlier pixels are not seen", STACKED, 0.0, "unseen", 1.0)
NONE = Comparison("the gated form sees all earlier pixels", GATED, 1.0, "unseen", 1.0, lower=True)
# a twentieth of the whole negative log-likelihood
SMALL = Comparison(
    "on the digits the blind spot costs at most 5 % of the nats", BLINDED, 0.1, "excess", 0.05, lower=True
)
COPY_SMALL = Comparison(
    "where pixels copy those of their blind spot, it costs at most half of a copy's entropy",
    BLINDED, math.log(2), "copy", math.log(2) / 2, lower=True,
)  # fmt: skip
CRITERIA = Criteria(
    clauses=(BLIND, NONE, SMALL),
    gates=(
        *(
            Comparison(f"the receptive field is that of the geometry at every depth: {arm}", arm, 1.0, "wrong pixels",
                       1.0, lower=True)
            for arm in ARMS
        ),
        Comparison(
            "the networks need at least 10 % fewer nats than independent pixels", GATED, BASELINE, "nats", 1 / 0.9,
            lower=True, ratio=True,
        ),
        Comparison("without a blind spot copies are learned", GATED, math.log(2), "copy", 0.75 * math.log(2),
                   lower=True),
    ),
    limits=(COPY_SMALL,),
)  # fmt: skip


def conclude(numbers: Numbers, judgment: Judgment) -> str:
    """Unseen pixels; the cost on the digits and of a copied pixel."""
    arms = numbers["arms"]
    before = ROW * SIDE + COLUMN
    blind = number(fmean(arms[STACKED]["unseen"]))
    text = f"With {DEPTHS[-1]} stacked layers a pixel does not depend on {blind} of the {before} pixels before it."
    if judgment.supported(NONE.clause):
        text += " In the gated form it depends on all of them."
    excess = percent(fmean(arms[BLINDED]["excess"]), 1)
    text += f" On the digits the same network with a blind spot needs {excess} more nats."
    if judgment.refuted(COPY_SMALL.clause):
        text += " The effect depends on the data: a pixel that copies one of its blind spot is not learned."
        return text + judgment.not_shown(BLIND, NONE, SMALL)
    return text + judgment.not_shown(BLIND, NONE, SMALL, COPY_SMALL)


def table(numbers: Numbers) -> Table:
    """Unseen pixels by depth, and both likelihoods, by network."""
    depths = numbers["depths"]
    rows: Table = [("quantity", *ARMS)]
    for place, depth in enumerate(depths):
        cells = (mean_and_range([run[place] for run in numbers["unseen"][arm]]) for arm in ARMS)
        rows.append((f"earlier pixels not seen, {depth} layers", *cells))
    names = {"copy": "nats per copied pixel", "nats": "nats per test digit"}
    for name, words in names.items():
        rows.append((words, "", *(mean_and_range(numbers["arms"][arm][name], 4) for arm in TRAINED)))
    baseline = mean_and_range(numbers["arms"][BASELINE]["nats"], 4)
    rows.append(("the same, independent pixels", "", baseline, baseline))
    return rows


def plot(numbers: Numbers) -> Figure:
    """The fields of the deepest networks, unseen pixels against depth, and the costs."""
    from matplotlib.colors import ListedColormap

    from danlu.experiments.harness.plots import colors, legend_above, line, panels, secondary_color

    blue, red = colors()[:2]
    figure, (left, middle, right) = panels(3, height=2.5, width_ratios=(1, 1, 1.3))
    shades = ListedColormap(["white", blue, red, "black"])
    for axes, arm in ((left, STACKED), (middle, GATED)):
        field = numbers["fields"][arm]
        later = [[(i, j) >= (ROW, COLUMN) for j in range(SIDE)] for i in range(SIDE)]
        image = [[0 if later[i][j] else 1 if field[i][j] else 2 for j in range(SIDE)] for i in range(SIDE)]
        image[ROW][COLUMN] = 3
        axes.imshow(image, cmap=shades, vmin=0, vmax=3, alpha=0.75, interpolation="none")
        axes.set(title=f"{arm}, {numbers['depths'][-1]} layers", xticks=[], yticks=[])
        axes.spines[:].set(visible=True, color=secondary_color())
    names = {blue: "seen", red: "not seen", "black": "the pixel"}
    for color, name in names.items():
        left.plot([], [], "s", color=color, alpha=0.75, markersize=5, label=name)
    legend_above(figure, left)
    for k, arm in enumerate((STACKED, GATED)):
        line(right, numbers["depths"], numbers["unseen"][arm], 1 - k, arm)
    right.set(title="earlier pixels not seen", xlabel="layers", ylabel="pixels", ylim=(0, None))
    right.legend(loc="upper right")
    return figure


EXPERIMENT = Experiment(
    measure=measure,
    criteria=CRITERIA,
    conclude=conclude,
    table=table,
    plot=plot,
    method=(
        "The pixels on which an output depends are computed from gradients, for 2 to 20 layers of 3×3 kernels, and "
        "compared with the geometry. A Gated PixelCNN and the same network with a blind spot are trained on the "
        "digits, and on images in which a pixel copies one of its blind spot; fields and copies are demonstrations."
    ),
    caption=(
        "Left and middle: the pixels on which the black pixel depends (blue), and earlier pixels on which it does not "
        "(red), with stacked masked convolutions and in the gated form. Right: their number against the number of "
        "layers; few layers do not reach the borders of the image, and the blind spot remains with any number."
    ),
)
