"""A 3×3 kernel detects vertical lines, and max pooling keeps the detected lines (notes, 1.2.2).

The kernel of the notes has 1 in its middle column and −1 in the two others. The experiment computes its response to
all 2⁹ binary patches and to patches of random gray values. It then applies the convolution to images, some of which
contain a line, and predicts a line if the largest response in the whole map is 3. A search over all 3×3 patches gives
the true answer.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from danlu.experiments.harness.criteria import Comparison, Criteria, Judgment
from danlu.experiments.harness.experiment import Experiment, Numbers, ProgressCallback, Table
from danlu.experiments.harness.wording import number
from danlu.models.classify.cnn import convolution
from danlu.rng.keys import generator

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KERNEL = ((-1.0, 1.0, -1.0), (-1.0, 1.0, -1.0), (-1.0, 1.0, -1.0))
LINE = ((0.0, 1.0, 0.0), (0.0, 1.0, 0.0), (0.0, 1.0, 0.0))
LINE_RESPONSE = 3.0
SIDE = 12
DENSITY = 0.3  # fraction of pixels that are 1 in the random images


def detector(side: int, pool: int = 1, kernel: tuple[tuple[float, ...], ...] = KERNEL) -> nn.Module:
    """danlu's convolution with the kernel of the notes as weights and a bias of 0, and optional max pooling.

    >>> with torch.no_grad():
    ...     detector(3)(torch.tensor(LINE)[None, None]).item()
    3.0
    """
    block, _ = convolution(
        1, 1, (side, side), kernel=3, stride=1, padding=0, pool=pool, activation="identity", norm=None
    )
    layer = next(part for part in block.modules() if isinstance(part, nn.Conv2d))
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(kernel))
        nn.init.zeros_(cast(torch.Tensor, layer.bias))
    return block


def all_patches() -> Float[Tensor, "512 1 3 3"]:
    """All 512 patches of 3×3 pixels, each pixel 0 or 1."""
    return torch.tensor(list(product((0.0, 1.0), repeat=9))).view(-1, 1, 3, 3)


def has_line(images: Float[Tensor, "n 1 h w"]) -> Bool[Tensor, "n"]:
    """Whether any 3×3 patch of an image equals the line."""
    patches = images.unfold(2, 3, 1).unfold(3, 3, 1)
    return (patches == torch.tensor(LINE)).flatten(4).all(4).flatten(1).any(1)


@torch.no_grad()
def measure(seed: int, progress: ProgressCallback, quick: bool = False) -> Numbers:
    """Responses to all binary patches and to gray patches; answers on images; one image with its maps."""
    count = 200 if quick else 4000
    patches = all_patches()
    responses = detector(3)(patches).flatten()
    is_line = has_line(patches)
    source = generator("pictures", seed)
    gray = detector(3)(torch.rand(10_000, 1, 3, 3, generator=source)).flatten()
    images = (torch.rand(count, 1, SIDE, SIDE, generator=source) < DENSITY).float()
    half = count // 2
    images[:half] = _with_a_line(images[:half], source)
    right = (detector(SIDE, pool=SIDE - 2)(images).flatten() == LINE_RESPONSE) == has_line(images)
    example = _example()
    arms = {
        "line": {"response": [float(responses[is_line].min())]},
        "other patches": {"response": [float(responses[~is_line].max())]},
        "gray patches": {"response": [float(gray.max())]},
        "largest response": {"wrong images": [float(count - right.sum())]},
    }
    return {
        "arms": arms,
        "patches": {"line": responses[is_line].tolist(), "others": responses[~is_line].tolist()},
        "largest on gray patches": float(gray.max()),
        "pictures": count,
        "with a line": int(has_line(images).sum()),
        "right after pooling the whole map": int(right.sum()),
        "shown": {
            "picture": example[0, 0].tolist(),
            "map": detector(SIDE)(example)[0, 0].tolist(),
            "pooled": detector(SIDE, pool=2)(example)[0, 0].tolist(),
        },
    }


def _with_a_line(images: Float[Tensor, "n 1 h w"], source: torch.Generator) -> Float[Tensor, "n 1 h w"]:
    """Draw one line, with a background of 0 on both sides, at a random position in each image."""
    for image in images:
        row, column = torch.randint(SIDE - 2, (2,), generator=source).tolist()
        image[0, row : row + 3, column : column + 3] = torch.tensor(LINE)
    return images


def _example() -> Float[Tensor, "1 1 12 12"]:
    """An image with a long vertical line and four other shapes: a bar, a dash, a diagonal and a faint line."""
    image = torch.zeros(1, 1, SIDE, SIDE)
    image[0, 0, 1:6, 2] = 1  # long
    image[0, 0, 1:5, 5:7] = 1  # two pixels wide
    image[0, 0, 8, 1:5] = 1  # horizontal
    for step in range(4):
        image[0, 0, 7 + step, 7 + step] = 1  # diagonal
    image[0, 0, 1:4, 9] = 0.6  # faint
    return image


BINARY = Comparison(  # responses to binary patches are whole numbers
    "the line gives a larger response than each of the other 511 patches", "line", "other patches", "response", 1.0
)
GRAY = Comparison(  # any smaller response is told apart from 3
    "the line gives a larger response than 10,000 gray patches", "line", "gray patches", "response", 1e-3
)
POOLED = Comparison(
    "the largest response tells for every image whether it has a line",
    "largest response", 1.0, "wrong images", 1.0, lower=True,
)  # fmt: skip
CRITERIA = Criteria(clauses=(BINARY, GRAY, POOLED))


def conclude(numbers: Numbers, judgment: Judgment) -> str:
    """The responses; the images."""
    line, other, gray = (numbers["arms"][name]["response"][0] for name in ("line", "other patches", "gray patches"))
    if judgment.supported(BINARY.clause):
        text = f"Of the 512 patches only the line gives {line:g}; the next largest response is {other:g}."
    else:
        text = f"The response to the line is {line:g}, and the largest response to any other patch is {other:g}."
    if not judgment.supported(GRAY.clause):
        text += f" A gray patch gives {number(gray)}."
    wrong, images = numbers["arms"]["largest response"]["wrong images"][0], numbers["pictures"]
    if judgment.supported(POOLED.clause):
        text += (
            f" After max pooling over the whole map the prediction is correct for all {images:,} images. (A response "
            "of 3 requires line pixels of 1 on a background of 0; a faint line gives less.)"
        )
    else:
        text += f" After max pooling over the whole map the prediction is wrong for {wrong:,.0f} of {images:,} images."
    return text


def table(numbers: Numbers) -> Table:
    """The responses and the number of correct predictions."""
    other_responses = numbers["patches"]["others"]
    return [
        ("quantity", "value"),
        ("response to the line", f"{max(numbers['patches']['line']):g}"),
        ("largest response to the other 511 patches", f"{max(other_responses):g}"),
        ("largest response to 10,000 gray patches", f"{numbers['largest on gray patches']:.2f}"),
        ("images, with and without a line", f"{numbers['pictures']:,}"),
        ("correct predictions after max pooling", f"{numbers['right after pooling the whole map']:,}"),
    ]


def plot(numbers: Numbers) -> Figure:
    """An image, its response map and its pooled map; the number of patches with each response."""
    from danlu.experiments.harness.plots import colors, panels, secondary_color

    figure, (image, response_map, pooled, bars) = panels(4, height=2.0)
    for axes, name, title in (
        (image, "picture", "image"),
        (response_map, "map", "response"),
        (pooled, "pooled", "max pooling 2×2"),
    ):
        values = numbers["shown"][name]
        axes.imshow(values, cmap="Greys", vmin=0, vmax=1 if name == "picture" else LINE_RESPONSE, interpolation="none")
        axes.set(title=title, xticks=[], yticks=[])
        axes.spines[:].set(visible=True, color=secondary_color())
        for row, line in enumerate(values if name != "picture" else []):
            for column, value in enumerate(line):
                if value == LINE_RESPONSE:
                    axes.text(column, row, "3", color="white", ha="center", va="center", fontsize=6, weight="bold")
    other_responses = numbers["patches"]["others"]
    levels = sorted({*other_responses, LINE_RESPONSE})
    counts = [other_responses.count(response) for response in levels]
    bars.bar(
        levels, counts, color=[secondary_color() if response < LINE_RESPONSE else colors()[1] for response in levels]
    )
    bars.bar([LINE_RESPONSE], [len(numbers["patches"]["line"])], color=colors()[0])
    bars.annotate(
        "the line:\n1 patch",
        (LINE_RESPONSE, 1),
        (LINE_RESPONSE + 0.6, 98),
        ha="right",
        color=colors()[0],
        fontsize=7,
        arrowprops={"arrowstyle": "-", "color": colors()[0], "linewidth": 0.6},
    )
    bars.set(title="all 512 patches", xlabel="response", ylabel="patches", xticks=[-6, -3, 0, 3])
    return figure


EXPERIMENT = Experiment(
    measure=measure,
    criteria=CRITERIA,
    conclude=conclude,
    table=table,
    plot=plot,
    method=(
        "The kernel of the notes is applied to all 512 patches of 3×3 black and white pixels and to gray patches. It "
        "is then applied to images with and without a line, and the largest response decides whether there is one."
    ),
    caption=(
        "From left to right: an image with a vertical line, a wide bar, a horizontal line, a diagonal and a faint "
        "line; the responses of the kernel, which are 3 only on the line (white: 0 or less); the same after max "
        "pooling; and the number of patches, of all 512, with each response."
    ),
    demonstration=True,
)
