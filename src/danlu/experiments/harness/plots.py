"""What the figures of the experiments share. They are drawn in the style of matplotlib that is in force."""

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

MARKERS = "os^Dv"
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def panels(columns: int, height: float = 2.4, rows: int = 1, **places: Any) -> tuple[Figure, list[Axes]]:
    """A figure as wide as the style says, and its panels in reading order.

    Args:
        columns: how many beside each other.
        height: of one row, in inches.
        rows: how many below each other.
        places: what else ``Figure.subplots`` takes.
    """
    figure = Figure(figsize=(rcParams["figure.figsize"][0], height * rows), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False, **places).flatten())


def colors() -> list[str]:
    """The colors of the style, in order."""
    return rcParams["axes.prop_cycle"].by_key()["color"]


def quiet() -> str:
    """The style's color for what is beside the point."""
    return rcParams["axes.labelcolor"]


def line(
    axes: Axes, x: Sequence[float], runs: Sequence[Sequence[float | None]], number: int, label: str, **style: Any
) -> None:
    """The mean over runs as a line, and from the smallest to the largest as a band.

    Args:
        axes: where.
        x: places.
        runs: of each seed the values at these places.
        number: which color and marker.
        label: for the legend.
        style: what else ``Axes.plot`` takes.
    """
    columns = list(zip(*runs, strict=True))
    color = colors()[number]
    look = {"marker": MARKERS[number] if len(x) <= 20 else None, "markersize": 3, **style}
    axes.fill_between(x, [min(v) for v in columns], [max(v) for v in columns], color=color, alpha=0.2, linewidth=0)
    axes.plot(x, [fmean(v) for v in columns], color=color, label=label, **look)
    axes.grid(True, axis="y")


def logarithmic(axis: Axis, ticks: Sequence[float] | None = None) -> None:
    """A logarithmic axis with decades, or with ticks at these values."""
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})  # type: ignore[attr-defined]
    axis.set_major_locator(LogLocator(numticks=7))
    if axis.axis_name == "y":  # type: ignore[attr-defined]
        axis.axes.grid(True, axis="y")
    if ticks is not None:
        axis.set_ticks(list(ticks))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(FuncFormatter(decade))


def decade(value: float, place: int | None = None) -> str:
    """A number at a logarithmic axis.

    >>> [decade(value) for value in (1e-6, 0.01, 1, 400, 1e5)]
    ['10⁻⁶', '0.01', '1', '400', '10⁵']
    """
    if 1e-2 <= value < 1e4:
        return f"{value:g}"
    return f"10{str(round(math.log10(value))).translate(_RAISED)}"


def tiled(axes: Axes, pictures: Any, columns: int) -> None:
    """Pictures in rows on one sheet, with a white line around each.

    Args:
        axes: where.
        pictures: (n, h, w) gray or (n, 3, h, w) colored, from 0 to 1; n is a multiple of the columns.
        columns: how many beside each other.
    """
    shown = np.asarray(pictures, dtype=float)
    shown = np.pad(shown, [(0, 0)] * (shown.ndim - 2) + [(1, 1), (1, 1)], constant_values=1.0)
    shown = shown[:, None] if shown.ndim == 3 else shown
    n, channels, height, width = shown.shape
    sheet = shown.reshape(n // columns, columns, channels, height, width).transpose(0, 3, 1, 4, 2)
    sheet = sheet.reshape(n // columns * height, columns * width, channels).clip(0, 1)
    axes.imshow(sheet if channels == 3 else sheet[..., 0], cmap="gray", vmin=0, vmax=1)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def key_above(figure: Figure, axes: Axes, columns: int = 5) -> None:
    """One legend for all panels, above them."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=min(columns, len(labels)), borderpad=0.2)
