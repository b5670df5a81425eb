"""Helper functions for the figures of the experiments. Figures use the current matplotlib style."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Any

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from danlu.experiments.harness.wording import power_of_ten

MARKERS = "os^Dv"


def panels(columns: int, height: float = 2.4, rows: int = 1, **options: Any) -> tuple[Figure, list[Axes]]:
    """A figure with the width of the current style, and its axes in reading order.

    Args:
        columns: number of columns.
        height: height of one row, in inches.
        rows: number of rows.
        options: further arguments of ``Figure.subplots``.
    """
    figure = Figure(figsize=(rcParams["figure.figsize"][0], height * rows), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False, **options).flatten())


def colors() -> list[str]:
    """The colors of the current style, in order."""
    return rcParams["axes.prop_cycle"].by_key()["color"]


def secondary_color() -> str:
    """The color of the current style for secondary elements."""
    return rcParams["axes.labelcolor"]


def line(
    axes: Axes, x: Sequence[float], runs: Sequence[Sequence[float | None]], number: int, label: str, **style: Any
) -> None:
    """Plot the mean over runs as a line, and the range from minimum to maximum as a band.

    Args:
        axes: the axes to draw on.
        x: the x values.
        runs: the y values of each run.
        number: index of color and marker.
        label: label in the legend.
        style: further arguments of ``Axes.plot``.
    """
    columns = list(zip(*runs, strict=True))
    color = colors()[number]
    defaults = {"marker": MARKERS[number] if len(x) <= 20 else None, "markersize": 3, **style}
    axes.fill_between(x, [min(v) for v in columns], [max(v) for v in columns], color=color, alpha=0.2, linewidth=0)
    axes.plot(x, [fmean(v) for v in columns], color=color, label=label, **defaults)
    axes.grid(True, axis="y")


def logarithmic(axis: Axis, ticks: Sequence[float] | None = None) -> None:
    """Make an axis logarithmic, with ticks at decades or at the given values."""
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})  # type: ignore[attr-defined]
    axis.set_major_locator(LogLocator(numticks=7))
    if axis.axis_name == "y":  # type: ignore[attr-defined]
        axis.axes.grid(True, axis="y")
    if ticks is not None:
        axis.set_ticks(list(ticks))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(FuncFormatter(decade))


def decade(value: float, _position: int | None = None) -> str:
    """Format a tick of a logarithmic axis.

    >>> [decade(value) for value in (1e-6, 0.01, 1, 400, 1e5)]
    ['10⁻⁶', '0.01', '1', '400', '10⁵']
    """
    if 1e-2 <= value < 1e4:
        return f"{value:g}"
    return power_of_ten(round(math.log10(value)))


def image_grid(axes: Axes, batch: Any, columns: int) -> None:
    """Show images in a grid, with a white line around each.

    Args:
        axes: the axes to draw on.
        batch: images (n, h, w) in gray or (n, 3, h, w) in color, from 0 to 1; n is a multiple of columns.
        columns: number of columns of the grid.
    """
    images = np.asarray(batch, dtype=float)
    images = np.pad(images, [(0, 0)] * (images.ndim - 2) + [(1, 1), (1, 1)], constant_values=1.0)
    images = images[:, None] if images.ndim == 3 else images
    n, channels, height, width = images.shape
    tiles = images.reshape(n // columns, columns, channels, height, width).transpose(0, 3, 1, 4, 2)
    tiles = tiles.reshape(n // columns * height, columns * width, channels).clip(0, 1)
    axes.imshow(tiles if channels == 3 else tiles[..., 0], cmap="gray", vmin=0, vmax=1)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def legend_above(figure: Figure, axes: Axes, columns: int = 5, **options: Any) -> None:
    """Put one legend for all panels above them, with further options of ``Figure.legend``."""
    handles, labels = axes.get_legend_handles_labels()
    ncols = min(columns, len(labels))
    figure.legend(handles, labels, loc="outside upper left", ncols=ncols, borderpad=0.2, **options)
