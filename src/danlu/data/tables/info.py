"""Properties of a table that a model depends on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from danlu.data.base.dataset import DataInfo


@dataclass(frozen=True)
class TableInfo(DataInfo):
    """Rows of numbers.

    Attributes:
        columns: names of the columns.
        shift: number that is subtracted from each column.
        scale: number by which each column is divided after the subtraction.
        fill: number that replaces missing numbers in each column; empty if missing numbers are refused.
    """

    kind: ClassVar[str] = "table"
    inputs: ClassVar[str] = "x"

    columns: tuple[str, ...] = ()
    shift: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    fill: tuple[float, ...] = ()

    def check(self) -> None:
        """Check values that come from a file.

        Raises:
            ValueError: if a value is not possible.
        """
        super().check()
        if len(self.shape) != 1:
            raise ValueError(f"rows need a shape of 1 size, got {list(self.shape)}")
        for name in ("columns", "shift", "scale", "fill"):
            if len(values := getattr(self, name)) not in (0, self.shape[0]):
                raise ValueError(f"{name} needs a value for each of the {self.shape[0]} columns, got {len(values)}")
        if not all(map(math.isfinite, (*self.shift, *self.scale, *self.fill))) or 0 in self.scale:
            raise ValueError("shift, scale and fill must be finite, and scale not 0")

    @property
    def scales(self) -> tuple[float, ...]:
        """Number by which each column of the file was divided."""
        return self.scale

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return self.columns

    @property
    def description(self) -> str:
        """A description of the examples for messages.

        >>> TableInfo((2,)).description
        'rows with 2 columns'
        """
        return f"rows with {self.format} columns"

    @property
    def units(self) -> str:
        """Names, shifts and scales of the columns. Standardized values alone do not show that a unit has changed.

        >>> TableInfo((1,), columns=("height",), shift=(1.7,), scale=(0.1,)).units
        'height 1.7 0.1'
        """
        numbers = zip(self.columns, self.shift, self.scale, strict=True) if self.shift else zip(self.columns)
        return "\n".join(" ".join(map(str, column)) for column in numbers)

    @property
    def density_note(self) -> str:
        """The unit of a probability density of rows, as a note on scores."""
        shifted = ", shifted and scaled as the training rows" if self.shift else ""
        return f"densities of rows{shifted}; a density can be above 1, and its logarithm above 0"
