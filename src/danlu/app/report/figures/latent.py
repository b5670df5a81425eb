"""Figures of a generative model: image grids, maps of latents, latent units, points."""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib
from jaxtyping import Bool, Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, MaxNLocator
from torch import Tensor

from danlu.app.console.formatting import short
from danlu.app.files.image_grid import GAP, make_grid
from danlu.app.report.figures.style import BLUE, INK, QUIET, VERMILION, WIDTH, styled, tick

MOST_COLORS = 20
HEAD = 8
"""largest number of letters in the name of a column"""


@styled
def gallery(
    images: Float[Tensor, "n c h w"],
    columns: int,
    value_range: tuple[float, float] = (0.0, 1.0),
    rows: Sequence[str] = (),
    heads: Sequence[str] = (),
    height: float = 0.5,
) -> Figure:
    """A grid of images.

    Args:
        images: gray or colored.
        columns: number of images in a row.
        value_range: the values that are shown black and white.
        rows: names of the rows.
        heads: names of the columns; long names are shortened.
        height: height of an image in inches; less if the row is too wide.

    >>> figure = gallery(torch.zeros(4, 1, 8, 8), 2, rows=("a", "b"))
    >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
    ['a', 'b']
    """
    lines = math.ceil(len(images) / columns)
    width = height * images.shape[3] / images.shape[2]
    beside = 0.15 + 0.075 * max(map(len, rows), default=0)
    scale = min(1.0, (WIDTH - beside) / (columns * width))
    size = (beside + scale * columns * width, 0.12 + 0.2 * bool(heads) + scale * lines * height)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    _show_grid(axes, images, columns, value_range)
    pixels, names = axes.get_images()[0].get_size(), [short(head, HEAD) for head in heads]
    axes.set_yticks([_middle(pixels[0], lines, place) for place in range(len(rows))], rows)
    axes.set_xticks([_middle(pixels[1], columns, place) for place in range(len(heads))], names)
    return figure


def _show_grid(axes: Axes, images: Tensor, columns: int, value_range: tuple[float, float]) -> None:
    page = make_grid(images, columns, value_range).numpy()
    axes.imshow(page[..., 0] if page.shape[2] == 1 else page, cmap="gray", vmin=0, vmax=255, interpolation="none")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, top=False, labeltop=True, labelbottom=False)
    axes.set(xticks=[], yticks=[])


def _middle(length: int, count: int, place: int) -> float:
    """The middle of an image in a row of ``count`` images with ``length`` pixels."""
    step = (length - GAP) / count
    return GAP + place * step + (step - GAP) / 2 - 0.5


@styled
def latent_map(
    codes: Float[Tensor, "n 2"],
    names: tuple[str, str],
    labels: Int[Tensor, "n"] | None = None,
    class_names: Sequence[str] = (),
    grid: Float[Tensor, "k*k c h w"] | None = None,
    reach: float = 3.0,
    value_range: tuple[float, float] = (0.0, 1.0),
) -> Figure:
    """The latents of examples, colored by class; beside them, the decoded points of a square grid.

    Args:
        codes: two latent units of each example.
        names: names of the two units.
        labels: class of each example, if there are classes.
        class_names: names of the classes.
        grid: decoded latents, row by row from the top, if there are no other units.
        reach: the grid covers [-reach, reach] on both axes.
        value_range: the values that are shown black and white.

    >>> figure = latent_map(torch.zeros(3, 2), ("unit 0", "unit 1"), grid=torch.zeros(4, 1, 8, 8))
    >>> [axes.get_xlabel() for axes in figure.axes]
    ['unit 0', 'unit 0']
    """
    side = WIDTH / 2 if grid is not None else 3.8
    figure = Figure(figsize=(side * (1 + (grid is not None)), side), layout="constrained")
    panels = figure.subplots(1, 1 + (grid is not None), squeeze=False)[0]
    _scatter(panels[0], codes, labels, class_names)
    panels[0].set(xlabel=names[0], ylabel=names[1], aspect="equal", adjustable="box" if grid is not None else "datalim")
    if grid is not None:
        end = 1.05 * max(reach, float(codes.abs().max()))
        panels[0].set(xlim=(-end, end), ylim=(-end, end))
        across = math.isqrt(len(grid))
        _show_grid(panels[1], grid, across, value_range)
        high, wide = panels[1].get_images()[0].get_size()
        ends = [f"\N{MINUS SIGN}{reach:g}", "0", f"{reach:g}"]
        places = (0, across // 2, across - 1)
        panels[1].tick_params(labeltop=False, labelbottom=True)
        panels[1].set_xticks([_middle(wide, across, place) for place in places], ends)
        panels[1].set_yticks([_middle(high, across, place) for place in places], ends[::-1])
        panels[1].set(xlabel=names[0], ylabel=names[1])
    return figure


def _scatter(axes: Axes, points: Tensor, labels: Tensor | None, class_names: Sequence[str]) -> None:
    """Points, colored by class if there are few classes, with the name of each class at its median."""
    size = max(1.5, min(10.0, 6000 / max(1, len(points))))
    axes.xaxis.set_major_formatter(FuncFormatter(tick))
    axes.yaxis.set_major_formatter(FuncFormatter(tick))
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.grid()
    if labels is None or not 0 < len(class_names) <= MOST_COLORS:
        axes.scatter(points[:, 0].numpy(), points[:, 1].numpy(), s=size, color=BLUE, linewidths=0)
        return
    colors = matplotlib.colormaps["tab10" if len(class_names) <= 10 else "tab20"]
    groups = [(n, name, points[labels == n]) for n, name in enumerate(class_names) if bool((labels == n).any())]
    for number, _, mine in groups:
        axes.scatter(mine[:, 0].numpy(), mine[:, 1].numpy(), s=size, color=colors(number), linewidths=0)
    outline = [withStroke(linewidth=2.5, foreground="white")]
    for _, name, mine in groups:
        middle = tuple(mine.median(0).values.tolist())
        look = {"ha": "center", "va": "center", "fontsize": 9, "color": INK, "path_effects": outline}
        axes.annotate(short(name, 12), middle, **look)


@styled
def units(divergence: Float[Tensor, "d"], active: Bool[Tensor, "d"]) -> Figure:
    """The KL divergence of each latent unit, in descending order; active units in blue.

    Args:
        divergence: KL divergence from the prior, in nats, averaged over the examples.
        active: whether each unit is active.

    >>> figure = units(torch.tensor([0.0, 2.0]), torch.tensor([False, True]))
    >>> [label.get_text() for label in figure.axes[0].get_xticklabels()]
    ['1', '0']
    """
    order = divergence.argsort(descending=True, stable=True)
    values, on = divergence[order].tolist(), active[order].tolist()
    figure = Figure(figsize=(min(WIDTH, 1.6 + 0.32 * len(values)), 2.2), layout="constrained")
    axes = figure.add_subplot()
    axes.bar(range(len(values)), values, color=[BLUE if yes else QUIET for yes in on], width=0.75)
    named = range(len(values)) if len(values) <= 40 else range(0, len(values), max(1, len(values) // 20))
    axes.set_xticks(list(named), [str(int(order[place])) for place in named])
    axes.set(xlabel="unit", ylabel="nats")
    axes.grid(axis="y")
    axes.yaxis.set_major_formatter(FuncFormatter(tick))
    return figure


@styled
def points(data: Float[Tensor, "n 2"], made: Float[Tensor, "m 2"], names: tuple[str, str]) -> Figure:
    """Samples of a model over the examples of the data, in two dimensions.

    Args:
        data: the examples.
        made: the samples.
        names: names of the columns.

    >>> len(points(torch.zeros(3, 2), torch.ones(3, 2), ("x", "y")).axes)
    1
    """
    figure = Figure(figsize=(4.4, 3.4), layout="constrained")
    axes = figure.add_subplot()
    for x, color, label in ((data, BLUE, "data"), (made, VERMILION, "samples")):
        axes.scatter(x[:, 0].numpy(), x[:, 1].numpy(), s=7, color=color, alpha=0.6, linewidths=0, label=label)
    axes.set(xlabel=short(names[0], 30), ylabel=short(names[1], 30))
    axes.grid()
    axes.xaxis.set_major_formatter(FuncFormatter(tick))
    axes.yaxis.set_major_formatter(FuncFormatter(tick))
    figure.legend(loc="outside upper left", ncols=2, borderpad=0.2)
    return figure
