"""Figures of energy-based models: energies during recalls, weights of hidden units."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
import torch
from jaxtyping import Float, Int
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from torch import Tensor

from danlu.app.files.image_grid import make_grid
from danlu.app.report.figures.style import PLAYERS, QUIET, WIDTH, styled, tick


@styled
def energy_descent(
    curves: Sequence[tuple[str, Int[Tensor, "points"], Float[Tensor, "points"]]], level: float, label: str
) -> Figure:
    """Energies against the number of updates.

    Args:
        curves: name, numbers of updates and energies of each recall.
        level: energy of the stored pattern.
        label: label of the horizontal axis.

    >>> import torch
    >>> figure = energy_descent([("10 %", torch.arange(3), torch.tensor([-1.0, -2.0, -3.0]))], -3.0, "updates")
    >>> len(figure.axes[0].lines)
    2
    """
    figure = Figure(figsize=(0.8 * WIDTH, 2.6), layout="constrained")
    axes = figure.add_subplot()
    axes.axhline(level, color=QUIET, linewidth=0.8, linestyle=(0, (4, 3)))
    for number, (name, updates, energies) in enumerate(curves):
        color = PLAYERS[number % len(PLAYERS)]
        axes.plot(updates, energies, color=color, label=name, linewidth=0.9, marker="o", markersize=1.6)
    axes.set(xlabel=label, ylabel="energy")
    axes.grid(axis="y")
    axes.xaxis.set_major_formatter(FuncFormatter(tick))
    axes.yaxis.set_major_formatter(FuncFormatter(tick))
    figure.legend(loc="outside right upper", title="noise", borderpad=0.2)
    return figure


COLORS = "RdBu_r"
"""the color map of weights: blue for negative ones, white for 0, red for positive ones"""


@styled
def filters(weights: Float[Tensor, "n c h w"], columns: int, height: float = 0.5) -> Figure:
    """Weights as images. Gray ones (one channel) have a color map that is symmetric about 0; those of three channels
    are red, green and blue, with a weight of 0 in the middle of the range.

    Args:
        weights: the weights of each hidden unit.
        columns: number of images in a row.
        height: height of an image in inches; less if the row is too wide.

    >>> figure = filters(torch.tensor([[[[-2.0, 1.0]]], [[[0.0, 0.5]]]]), columns=2)
    >>> [float(end) for end in figure.axes[1].get_ylim()]
    [-2.0, 2.0]
    """
    most = float(weights.abs().max()) or 1.0
    images = (weights / most + 1) / 2
    if weights.shape[1] == 1:
        images = torch.from_numpy(np.array(matplotlib.colormaps[COLORS](images[:, 0].numpy())[..., :3]))
        images = images.permute(0, 3, 1, 2).float()
    page = make_grid(images, columns).numpy()
    lines = -(-len(weights) // columns)
    scale = min(height, (WIDTH - 0.8) / (columns * weights.shape[3] / weights.shape[2]))
    wide = scale * columns * weights.shape[3] / weights.shape[2]
    figure = Figure(figsize=(wide + 0.8, scale * lines + 0.15), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(page, interpolation="none")
    axes.set_axis_off()
    colors = ScalarMappable(Normalize(-most, most), COLORS if weights.shape[1] == 1 else "gray")
    bar = figure.colorbar(colors, ax=axes, shrink=min(1.0, 2.0 / (scale * lines)), aspect=15, label="weight")
    bar.outline.set_visible(False)
    bar.ax.yaxis.set_major_formatter(FuncFormatter(tick))
    return figure
