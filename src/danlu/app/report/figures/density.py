"""The figure of a density in the plane."""

from __future__ import annotations

from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from torch import Tensor

from danlu.app.console.formatting import short
from danlu.app.report.figures.style import BLUE, QUIET, VERMILION, WIDTH, styled, tick


@styled
def density_map(
    density: Float[Tensor, "h w"],
    corners: Float[Tensor, "2 2"],
    data: Float[Tensor, "n 2"],
    names: tuple[str, str],
    grid: Float[Tensor, "lines steps 2"] | None = None,
) -> Figure:
    """A density in the plane with examples; beside it, a grid of latents as the model decodes it.

    Args:
        density: values on a rectangle; the first row has the lowest second coordinate.
        corners: corners of the rectangle with the lowest and with the highest coordinates.
        data: the examples.
        names: names of the columns.
        grid: decoded lines, half of them in each direction.

    >>> figure = density_map(torch.rand(4, 5), torch.tensor([[0.0, 0.0], [1.0, 1.0]]), torch.rand(3, 2), ("a", "b"))
    >>> [axes.get_xlabel() for axes in figure.axes]
    ['a']
    """
    panels = 1 + (grid is not None)
    figure = Figure(figsize=(WIDTH * panels / 2, 2.9), layout="constrained")
    axes = figure.subplots(1, panels, squeeze=False)[0]
    _panel(axes[0], corners, names)
    extent = (*corners[:, 0].tolist(), *corners[:, 1].tolist())
    axes[0].imshow(
        density.numpy(), origin="lower", extent=extent, cmap="Blues", aspect="auto", vmin=0, interpolation="bilinear"
    )
    axes[0].scatter(data[:, 0].numpy(), data[:, 1].numpy(), s=1.5, color=VERMILION, alpha=0.6, linewidths=0)
    if grid is not None:
        _panel(axes[1], corners, names)
        for line, color in zip(grid, [BLUE] * (len(grid) // 2) + [QUIET] * (len(grid) - len(grid) // 2), strict=True):
            axes[1].plot(line[:, 0].numpy(), line[:, 1].numpy(), color=color, linewidth=0.6)
    return figure


def _panel(axes: Axes, corners: Float[Tensor, "2 2"], names: tuple[str, str]) -> None:
    (left, bottom), (right, top) = corners.tolist()
    axes.set(xlim=(left, right), ylim=(bottom, top), xlabel=short(names[0], 30), ylabel=short(names[1], 30))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(tick))
        axis.set_major_locator(MaxNLocator(6))
