"""A 3×3 kernel finds vertical lines, and max pooling keeps the answer (notes, 1.2.2).

The kernel of the notes has 1 in its middle column and −1 beside it. On all 2⁹ patches of ink and paper its response is
looked up one by one, then on patches of random grays; then the convolution runs over pictures of which some have a line
in them, and the largest response of the whole map is asked whether there is one. A search through every 3×3 patch says
what is right.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from danlu.experiments.harness.experiment import Experiment, Numbers, Table, Tell, Verdict
from danlu.models.classify.cnn import convolution
from danlu.rng.keys import generator

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KERNEL = ((-1.0, 1.0, -1.0), (-1.0, 1.0, -1.0), (-1.0, 1.0, -1.0))
LINE = ((0.0, 1.0, 0.0), (0.0, 1.0, 0.0), (0.0, 1.0, 0.0))
FOUND = 3.0
SIDE = 12
INK = 0.3  # share of dark pixels in the random pictures


def detector(side: int, pool: int = 1, kernel: tuple[tuple[float, ...], ...] = KERNEL) -> nn.Module:
    """danlu's convolution, and pooling if asked for, with the notes' kernel for weights and a bias of 0.

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
    """Every patch of 3×3 pixels that are ink (1) or paper (0)."""
    return torch.tensor(list(product((0.0, 1.0), repeat=9))).view(-1, 1, 3, 3)


def has_line(pictures: Float[Tensor, "n 1 h w"]) -> Bool[Tensor, "n"]:
    """Whether a patch somewhere in a picture is the line, found by comparing every one with it."""
    patches = pictures.unfold(2, 3, 1).unfold(3, 3, 1)
    return (patches == torch.tensor(LINE)).flatten(4).all(4).flatten(1).any(1)


@torch.no_grad()
def measure(seed: int, tell: Tell, quick: bool = False) -> Numbers:
    """Responses to all patches and to gray ones; answers on pictures; one picture with its maps."""
    count = 200 if quick else 4000
    patches = all_patches()
    responses = detector(3)(patches).flatten()
    is_line = has_line(patches)
    source = generator("pictures", seed)
    gray = detector(3)(torch.rand(10_000, 1, 3, 3, generator=source)).flatten()
    pictures = (torch.rand(count, 1, SIDE, SIDE, generator=source) < INK).float()
    half = count // 2
    pictures[:half] = _with_a_line(pictures[:half], source)
    right = (detector(SIDE, pool=SIDE - 2)(pictures).flatten() == FOUND) == has_line(pictures)
    shown = _shown()
    return {
        "patches": {"line": responses[is_line].tolist(), "others": responses[~is_line].tolist()},
        "largest on gray patches": float(gray.max()),
        "pictures": count,
        "with a line": int(has_line(pictures).sum()),
        "right after pooling the whole map": int(right.sum()),
        "shown": {
            "picture": shown[0, 0].tolist(),
            "map": detector(SIDE)(shown)[0, 0].tolist(),
            "pooled": detector(SIDE, pool=2)(shown)[0, 0].tolist(),
        },
    }


def _with_a_line(pictures: Float[Tensor, "n 1 h w"], source: torch.Generator) -> Float[Tensor, "n 1 h w"]:
    """The pictures, each with a line on paper somewhere in it."""
    for picture in pictures:
        row, column = torch.randint(SIDE - 2, (2,), generator=source).tolist()
        picture[0, row : row + 3, column : column + 3] = torch.tensor(LINE)
    return pictures


def _shown() -> Float[Tensor, "1 1 12 12"]:
    """A picture with a long line, and with what is no vertical line: a bar, a dash, a diagonal, a faint line."""
    picture = torch.zeros(1, 1, SIDE, SIDE)
    picture[0, 0, 1:6, 2] = 1  # long
    picture[0, 0, 1:5, 5:7] = 1  # two pixels wide
    picture[0, 0, 8, 1:5] = 1  # lies
    for step in range(4):
        picture[0, 0, 7 + step, 7 + step] = 1  # slants
    picture[0, 0, 1:4, 9] = 0.6  # faint
    return picture


def judge(numbers: Numbers) -> Verdict:
    """3 exactly on the line; less on each of the 511 other patches; right on every picture."""
    line, others = numbers["patches"]["line"], numbers["patches"]["others"]
    exact = line == [FOUND]
    below = max(others) < FOUND and numbers["largest on gray patches"] < FOUND
    answers, pictures = numbers["right after pooling the whole map"], numbers["pictures"]
    if not (exact and below):
        return Verdict(
            "does not hold",
            f"The response to the line is {line}, the largest to anything else "
            f"{max([*others, numbers['largest on gray patches']]):g}: 3 does not mean a line.",
        )
    if answers < pictures:
        return Verdict("holds with limits", f"Pooling gives the wrong answer on {pictures - answers} of {pictures}.")
    return Verdict(
        "holds",
        f"Of the 512 patches one gives 3, the line; the next best gives {max(others):g}. After max pooling over the "
        f"whole map the answer is right on all {pictures:,} pictures, {numbers['with a line']:,} of them with a line. "
        f"(3 wants full ink on clean paper: a faint line answers less.)",
    )


def table(numbers: Numbers) -> Table:
    """The responses, and the answers."""
    others = numbers["patches"]["others"]
    return [
        ("what", "value"),
        ("response to the line", f"{max(numbers['patches']['line']):g}"),
        ("largest response to the other 511 patches", f"{max(others):g}"),
        ("largest response to 10,000 gray patches", f"{numbers['largest on gray patches']:.2f}"),
        ("pictures of which some have a line", f"{numbers['pictures']:,}"),
        ("right answers after max pooling", f"{numbers['right after pooling the whole map']:,}"),
    ]


def draw(numbers: Numbers) -> Figure:
    """A picture, its response map and what pooling leaves; how often each response comes among all patches."""
    from danlu.experiments.harness.plots import colors, panels, quiet

    figure, (picture, map_, pooled, bars) = panels(4, height=2.0)
    for axes, name, title in (
        (picture, "picture", "picture"),
        (map_, "map", "response, from 0"),
        (pooled, "pooled", "max pooling 2×2"),
    ):
        values = numbers["shown"][name]
        axes.imshow(values, cmap="Greys", vmin=0, vmax=1 if name == "picture" else FOUND, interpolation="none")
        axes.set(title=title, xticks=[], yticks=[])
        axes.spines[:].set(visible=True, color=quiet())
        for row, line in enumerate(values if name != "picture" else []):
            for column, value in enumerate(line):
                if value == FOUND:
                    axes.text(column, row, "3", color="white", ha="center", va="center", fontsize=6, weight="bold")
    others = numbers["patches"]["others"]
    places = sorted({*others, FOUND})
    counts = [others.count(place) for place in places]
    bars.bar(places, counts, color=[quiet() if place < FOUND else colors()[1] for place in places])
    bars.bar([FOUND], [len(numbers["patches"]["line"])], color=colors()[0])
    bars.annotate(
        "the line:\n1 patch",
        (FOUND, 1),
        (FOUND + 0.6, 98),
        ha="right",
        color=colors()[0],
        fontsize=7,
        arrowprops={"arrowstyle": "-", "color": colors()[0], "linewidth": 0.6},
    )
    bars.set(title="all 512 patches", xlabel="response", ylabel="patches", xticks=[-6, -3, 0, 3])
    return figure


EXPERIMENT = Experiment(measure, judge, table, draw)
