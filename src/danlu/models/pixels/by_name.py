"""The distributions of the colors of a pixel by name."""

from __future__ import annotations

from collections.abc import Sequence

from danlu.models.pixels.logistic import LogisticOutput
from danlu.models.pixels.outputs import AffineOutput, BinaryOutput, CategoricalOutput, Output, PixelOutput

_OUTPUTS: dict[str, type[PixelOutput]] = {
    "binary": BinaryOutput,
    "categorical": CategoricalOutput,
    "affine": AffineOutput,
}


def pixel_output(name: Output, colors: int, levels: int, range: Sequence[float], components: int) -> PixelOutput:
    """The distribution with a name; "auto" is binary for images of 2 levels, else categorical.

    Args:
        name: the name.
        colors: number of colors.
        levels: number of levels of a color.
        range: lowest and highest level.
        components: number of components of a mixture.

    Raises:
        ValueError: if the name is unknown, or the distribution does not fit the number of levels.

    >>> type(pixel_output("auto", 1, 2, (0.0, 1.0), 10)).__name__
    'BinaryOutput'
    """
    if name == "auto":
        name = "binary" if levels == 2 else "categorical"
    if name == "logistic":
        return LogisticOutput(colors, levels, range, components)
    if name not in _OUTPUTS:
        raise ValueError(f"output={name!r} is unknown; choose one of auto, {', '.join(_OUTPUTS)}, logistic")
    return _OUTPUTS[name](colors, levels, range)
