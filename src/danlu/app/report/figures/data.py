"""Figures of a data set: images of each class, points in two dimensions, histograms of columns."""

from __future__ import annotations

import math
from collections.abc import Sequence

from jaxtyping import Float, Int
from matplotlib.figure import Figure
from torch import Tensor

from danlu.app.console.formatting import short
from danlu.app.report.figures.image_page import image_page, show_image
from danlu.app.report.figures.style import BLUE, INK, PLAYERS, QUIET, WIDTH, styled

MOST_CLASSES = 30
"""largest number of rows of images, and of columns of a table, in a figure"""


@styled
def samples(
    images: Sequence[Float[Tensor, "n c h w"]], names: Sequence[str], value_range: tuple[float, float]
) -> Figure:
    """Images of each class, one row per class; without classes, rows of 10 images.

    Args:
        images: images of each class.
        names: names of the classes.
        value_range: the values that are shown black and white.

    Raises:
        ValueError: if the images do not have 1 or 3 channels.
    """
    if len(images) == 1:
        images, names = images[0].split(10), [""] * 6
    images, names = images[:MOST_CLASSES], names[:MOST_CLASSES]
    columns = max(1, *(len(of_class) for of_class in images))
    step, gap, beside = min(0.6, (WIDTH - 1) / columns), 0.04, 1.0
    figure, axes = image_page(beside + step * columns, step * len(images))
    for row, of_class in enumerate(images):
        top = row * step
        axes.text(beside - 0.08, top + (step - gap) / 2, short(names[row], 12), ha="right", va="center", color=INK)
        for column, image in enumerate(of_class):
            width, height = _fit(image, step - gap)
            show_image(axes, image, value_range, beside + column * step, top, width, height)
    return figure


def _fit(image: Float[Tensor, "c h w"], side: float) -> tuple[float, float]:
    """Width and height of an image that fits into a square."""
    longest = max(image.shape[1:])
    return side * image.shape[2] / longest, side * image.shape[1] / longest


@styled
def points(x: Float[Tensor, "n 2"], labels: Int[Tensor, "n"], columns: Sequence[str], names: Sequence[str]) -> Figure:
    """Points in two dimensions, colored by class."""
    figure = Figure(figsize=(WIDTH * 0.7, WIDTH * 0.7), layout="constrained")
    axes = figure.subplots()
    dots = []
    for label in range(len(names)):
        own = x[labels == label]
        color = PLAYERS[label % len(PLAYERS)]
        dots.append(axes.scatter(own[:, 0], own[:, 1], s=2, color=color, linewidths=0))
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_xlabel(short(columns[0], 30))
    axes.set_ylabel(short(columns[1], 30))
    if 1 < len(names) <= 10:
        legend = axes.legend(
            dots, map(str, range(len(dots))), markerscale=4, loc="center left", bbox_to_anchor=(1, 0.5)
        )
        for text, name in zip(legend.get_texts(), names, strict=True):  # a label that starts with _ would be left out
            text.set_text(short(name, 16))
    return figure


@styled
def histograms(x: Float[Tensor, "n d"], columns: Sequence[str]) -> Figure:
    """A histogram of each column."""
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
