"""Generation of pixels in raster order: row by row, from left to right, and in a pixel color by color."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from jaxtyping import Bool, Float
from torch import Tensor

from danlu.models.pixels.outputs import PixelOutput


@runtime_checkable
class Conditionals(Protocol):
    """The outputs of a network for one pixel after the other. Every pixel is visited, in raster order."""

    def start_row(self, row: int) -> None:
        """Begin a row, after all rows above."""
        ...

    def outputs(self, column: int, group: int) -> Float[Tensor, "n units"]:
        """The outputs of a color group at a pixel of the row, after all earlier pixels and colors."""
        ...

    def write(self, column: int, color: int, values: Float[Tensor, "n"]) -> None:
        """Tell the values of a color of a pixel of the row."""
        ...

    def write_row(self, values: Float[Tensor, "n colors w"]) -> None:
        """Tell the values of all pixels of the row at once, in place of visiting each."""
        ...


class WholeImages:
    """The outputs at a pixel by a pass of the network over whole images: slow, and right without further thought.

    Args:
        network: function from images of values from -1 to 1 to outputs (n, groups, units, h, w).
        y: images, which are overwritten.
    """

    def __init__(self, network: Callable[[Tensor], Tensor], y: Float[Tensor, "n colors h w"]):
        self.network, self.y, self.row = network, y, 0

    def start_row(self, row: int) -> None:
        self.row = row

    def outputs(self, column: int, group: int) -> Float[Tensor, "n units"]:
        return self.network(self.y)[:, group, :, self.row, column]

    def write(self, column: int, color: int, values: Float[Tensor, "n"]) -> None:
        self.y[:, color, self.row, column] = values

    def write_row(self, values: Float[Tensor, "n colors w"]) -> None:
        self.y[:, :, self.row] = values


def fill(
    conditionals: Conditionals,
    output: PixelOutput,
    y: Float[Tensor, "n colors h w"],
    known: Bool[Tensor, "n colors h w"] | None,
    noise: Float[Tensor, "h w colors draws n"],
    temperature: float,
) -> None:
    """Draw missing values in raster order, each given all earlier ones.

    Args:
        conditionals: the network.
        output: the distribution.
        y: values from -1 to 1; missing ones are overwritten.
        known: true for given values; None: none is given.
        noise: random numbers.
        temperature: temperature of the distribution.
    """
    _, _, height, width = y.shape
    missing = _missing_pixels(known, height, width)
    last = max((place for place, is_missing in missing.items() if is_missing), default=None)
    if last is None:
        return
    for row in range(last[0] + 1):
        conditionals.start_row(row)
        if not any(missing[row, column] for column in range(width)):
            conditionals.write_row(y[:, :, row])
            continue
        for column in range(last[1] + 1 if row == last[0] else width):
            given = None if known is None else known[:, :, row, column]
            _fill_pixel(conditionals, output, column, y[:, :, row, column], given, noise[row, column], temperature)


def _missing_pixels(known: Tensor | None, height: int, width: int) -> dict[tuple[int, int], bool]:
    """For each row and column, whether a value of the pixel is missing in any image."""
    if known is None:
        flags = [[True] * width] * height
    else:
        flags = (~known).any(1).any(0).tolist()
    return {(row, column): flags[row][column] for row in range(height) for column in range(width)}


def _fill_pixel(
    conditionals: Conditionals,
    output: PixelOutput,
    column: int,
    y: Float[Tensor, "n colors"],
    known: Bool[Tensor, "n colors"] | None,
    noise: Float[Tensor, "colors draws n"],
    temperature: float,
) -> None:
    """Draw the missing values of a pixel, a view of the images."""
    for group in range(output.groups):
        outputs = conditionals.outputs(column, group)
        for color in (group,) if output.groups > 1 else range(output.colors):
            values = output.draw(outputs, y[:, :color], noise[color], temperature)
            y[:, color] = values if known is None else values.where(~known[:, color], y[:, color])
            conditionals.write(column, color, y[:, color])
