"""Pictures of a data set: some images of each class, points of the plane, histograms of columns."""

from __future__ import annotations

import math
from collections.abc import Sequence

from jaxtyping import Float, Int
from matplotlib.figure import Figure
from torch import Tensor

from danlu.app.report.figures.style import BLUE, INK, PLAYERS, QUIET, WIDTH, short, styled

MOST_CLASSES = 30
"""rows of images, and columns of a table, that a picture shows"""


@styled
def samples(
    images: Sequence[Float[Tensor, "n c h w"]], names: Sequence[str], value_range: tuple[float, float]
) -> Figure:
    """Some images of each class, a row each; a set without classes fills rows of ten.

    Args:
        images: of each class.
        names: of the classes.
        value_range: which values are black and white.
    """
    if len(images) == 1:
        images, names = images[0].split(10), [""] * 6
    images, names = images[:MOST_CLASSES], names[:MOST_CLASSES]
    low, high = value_range
    columns = max(1, *(len(of_class) for of_class in images))
    side = min(0.6, (WIDTH - 1) / columns)
    figure = Figure(figsize=(1.1 + side * columns, side * len(images) + 0.1), layout="constrained")
    grid = figure.subplots(len(images), columns, squeeze=False)
    for row, of_class in enumerate(images):
        pixels = ((of_class.cpu().float() - low) / (high - low)).clamp(0, 1).permute(0, 2, 3, 1).numpy()
        grid[row][0].text(-0.15, 0.5, short(names[row], 12), ha="right", va="center", color=INK,
                          transform=grid[row][0].transAxes)  # fmt: skip
        for axes in grid[row]:
            axes.set_axis_off()
        for axes, picture in zip(grid[row], pixels, strict=False):
            axes.imshow(picture.squeeze(-1) if picture.shape[-1] == 1 else picture,
                        cmap="gray", vmin=0, vmax=1, interpolation="none")  # fmt: skip
    return figure


@styled
def points(x: Float[Tensor, "n 2"], labels: Int[Tensor, "n"], columns: Sequence[str], names: Sequence[str]) -> Figure:
    """Points of the plane, colored by class."""
    figure = Figure(figsize=(WIDTH * 0.7, WIDTH * 0.7), layout="constrained")
    axes = figure.subplots()
    for label, name in enumerate(names):
        own = x[labels == label]
        color = PLAYERS[label % len(PLAYERS)]
        axes.scatter(own[:, 0], own[:, 1], s=2, color=color, label=short(name, 16), linewidths=0)
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_xlabel(columns[0])
    axes.set_ylabel(columns[1])
    if 1 < len(names) <= 10:
        axes.legend(markerscale=4, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


@styled
def histograms(x: Float[Tensor, "n d"], columns: Sequence[str]) -> Figure:
    """How the values of each column are spread."""
    count = min(len(columns), MOST_CLASSES)
    across = min(4, count)
    rows = math.ceil(count / across)
    figure = Figure(figsize=(WIDTH, 1.2 * rows + 0.2), layout="constrained")
    grid = figure.subplots(rows, across, squeeze=False).flatten()
    for place, axes in enumerate(grid):
        if place >= count:
            axes.remove()
            continue
        axes.hist(x[:, place].cpu().numpy(), bins=40, color=BLUE)
        axes.set_title(short(columns[place], 22))
        axes.set_yticks([])
        axes.tick_params(colors=QUIET)
    return figure
