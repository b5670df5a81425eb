"""A figure for many small images: one pair of axes with inches as units.

Separate axes for each image take about ten times as long to create and draw.
"""

from __future__ import annotations

from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor


def image_page(width: float, height: float) -> tuple[Figure, Axes]:
    """An empty figure and its axes: x from 0 to the width, y from 0 at the top to the height, in inches.

    >>> figure, axes = image_page(6.0, 2.0)
    >>> [float(x) for x in (*axes.get_xlim(), *axes.get_ylim())]
    [0.0, 6.0, 2.0, 0.0]
    """
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    return figure, axes


def show_image(
    axes: Axes,
    image: Float[Tensor, "c h w"],
    value_range: tuple[float, float],
    left: float,
    top: float,
    width: float,
    height: float,
) -> None:
    """Show an image in a rectangle of an image page.

    Args:
        axes: axes of ``image_page``.
        image: with one channel (gray) or three (red, green, blue).
        value_range: the values that are shown black and white.
        left: x of the left edge in inches.
        top: y of the top edge in inches.
        width: width of the rectangle in inches.
        height: height of the rectangle in inches.

    Raises:
        ValueError: if the image does not have 1 or 3 channels.
    """
    if len(image) not in (1, 3):
        raise ValueError(f"an image must have 1 or 3 channels, got {len(image)}")
    low, high = value_range
    pixels = ((image.cpu().float() - low) / (high - low)).clamp(0, 1).permute(1, 2, 0).numpy()
    extent = (left, left + width, top + height, top)
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation="none", aspect="auto", extent=extent)
