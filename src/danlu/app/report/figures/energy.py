"""The figure of energies during recalls."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float, Int
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from torch import Tensor

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
