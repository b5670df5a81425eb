"""The interface of table files: a header, and the rows in blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64, Int64

Progress = Callable[[str, int, int | None], None]

TextReceiver = Callable[[Mapping[str, int]], None]
"""receives the different texts of a column in a block, with the number of rows that have each; "" if it is missing"""


NO_RECEIVERS: Mapping[str, TextReceiver] = MappingProxyType({})


class Block(NamedTuple):
    """A block of rows of a table.

    Attributes:
        positions: line number or row number of each row in the file; ``TableFile.at`` converts it to text.
        numbers: the requested columns; NaN for a missing number.
        classes: class number of each row, in the order of first occurrence; -1 if missing, 0 without a target.
    """

    positions: Int64[np.ndarray, "n"]
    numbers: Float64[np.ndarray, "n d"]
    classes: Int64[np.ndarray, "n"]


class ReadOptions(NamedTuple):
    """How a table is read, and what its error messages suggest.

    Attributes:
        encoding: text encoding of a CSV file.
        encoding_setting: name of the setting of the encoding, for error messages.
        fixed: whether a trained model determines the columns, so none can be left out.
    """

    encoding: str = "utf-8"
    encoding_setting: str = "table.encoding"
    fixed: bool = False


@runtime_checkable
class TableFile(Protocol):
    """A table file whose header has been read."""

    path: Path
    header: tuple[str, ...]
    """names of the columns"""
    has_encoding: bool
    """whether the encoding of ``ReadOptions`` applies to the file"""
    index: tuple[str, ...]
    """columns that number or name the rows, according to the file, and are no measurements"""
    unnamed: str | None
    """the name in ``header`` of a first column that has no name in the file; None if it has one"""

    @property
    def top(self) -> str:
        """Position of the header, for messages."""
        ...

    def at(self, position: int) -> str:
        """Position of a row, for messages."""
        ...

    def most_rows(self) -> int:
        """An upper bound of the number of rows."""
        ...

    def blocks(
        self,
        columns: tuple[str, ...],
        target: str | None,
        classes: dict[str, int],
        receivers: Mapping[str, TextReceiver] = NO_RECEIVERS,
    ) -> Iterator[Block]:
        """The rows in order.

        Args:
            columns: names of the columns of numbers.
            target: name of the column with the class.
            classes: number of each class; new classes are added with the next numbers.
            receivers: for the name of each further column that is read as text: called for each block, before it is
                returned.

        Raises:
            UsageError: if the file is not valid, or a field is not a number.
        """
        ...
