"""Tables as inputs of a model: the rows of a file as the training rows were read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float64
from torch import Tensor

from danlu.data.base.dataset import DataInfo
from danlu.data.tables.csv_file import Block, ReadOptions
from danlu.data.tables.table import open_table, standardize
from danlu.errors import UsageError
from danlu.storage.access import no_progress

_NAMED = 8  # columns that an error names
_AT_ONCE = 4096

Some = tuple[list[str], Float[Tensor, "n d"] | None, str | None]
"""places of rows, and either the rows or why they cannot be used"""


class Rows:
    """The rows of a file for a model; ``read_rows`` makes one.

    Attributes:
        unused: columns of the file that the model does not use.
    """

    def __init__(self, path: Path, info: DataInfo, encoding: str):
        manner = ReadOptions(encoding, "--encoding latin-1", fixed=True)
        self._file, self._info = open_table(path.expanduser(), no_progress, manner), info
        self.unused = tuple(name for name in self._file.header if name not in info.columns)
        missing = [name for name in info.columns if name not in self._file.header]
        if missing:
            what = "there is no column" if len(missing) == 1 else "there are no columns"
            raise UsageError(
                f"{self._file.top}: {what} {_few(missing)}; this model takes the columns {_few(info.columns)}"
            )

    def __iter__(self) -> Iterator[Some]:
        for block in self._blocks():
            yield from self._inputs(block)

    def with_gaps(self) -> Iterator[tuple[list[str], Float64[np.ndarray, "n d"]]]:
        """Places of rows, and their numbers in the units of the file, NaN where one is missing."""
        for block in self._blocks():
            yield [self._file.at(int(place)) for place in block.places], block.numbers

    def _blocks(self) -> Iterator[Block]:
        count = 0
        for block in self._file.blocks(self._info.columns, None, {}):
            for start in range(0, len(block.places), _AT_ONCE):
                count += len(block.places[start : start + _AT_ONCE])
                yield Block(*(values[start : start + _AT_ONCE] for values in block))
        if not count:
            raise UsageError(f"{self._file.path} has no rows; the first line names the columns")

    def _inputs(self, block: Block) -> Iterator[Some]:
        """All at once if they can be used, else each alone, so that the others are still answered."""
        places = [self._file.at(int(place)) for place in block.places]
        if self._info.fill or not np.isnan(block.numbers).any():
            try:
                yield places, standardize(self._info, block.numbers), None
                return
            except UsageError as error:
                if len(places) == 1:
                    yield places, None, f"{places[0]}: {str(error).removeprefix('row 0, ')}"
                    return
        elif len(places) == 1:
            name = self._info.columns[int(np.isnan(block.numbers[0]).argmax())]
            yield (
                places,
                None,
                (
                    f"{places[0]}: the number in column {name!r} is missing; fill it in, or train the model with "
                    f"--table.missing mean"
                ),
            )
            return
        for row in range(len(places)):
            yield from self._inputs(Block(*(values[row : row + 1] for values in block)))


def read_rows(path: Path, info: DataInfo, encoding: str = "utf-8") -> Rows:
    r"""The rows of a table as a model wants them: its columns, standardized as the training rows were.

    Args:
        path: a CSV or Parquet file; its columns may be in any order, with others beside them.
        info: of the model: its columns, and their shift, scale and fill.
        encoding: how the text of a CSV file is written.

    Raises:
        UsageError: if the model takes no rows of a table, or the file lacks a column or is no table.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp(), "t.csv")
    >>> _ = file.write_text("width,name,length\n5,a,3\n6,b,\n")
    >>> rows = read_rows(file, DataInfo("table", (2,), columns=("length", "width")))
    >>> rows.unused, [(x, error is None) for _, x, error in rows]
    (('name',), [(tensor([[3., 5.]]), True), (None, False)])
    """
    if info.kind != "table":
        raise UsageError(f"this model takes {info.kind} of shape {info.shape}, not rows of a table")
    if not info.columns:
        raise UsageError("this model does not say what its columns are called; give it tensors: danlu.load(…)")
    return Rows(path, info, encoding)


def in_units(info: DataInfo, x: Float[Tensor, "n d"]) -> Float64[np.ndarray, "n d"]:
    """Rows as the file has them, from rows as a model has them: what ``standardize`` did is undone.

    >>> import torch
    >>> in_units(DataInfo("table", (2,), shift=(2.0, 5.0), scale=(0.5, 1.0)), torch.tensor([[2.0, 0.0]])).tolist()
    [[3.0, 5.0]]
    """
    values = x.detach().cpu().double().numpy()
    return values * np.array(info.scale) + np.array(info.shift) if info.shift else values


def _few(names: list[str] | tuple[str, ...]) -> str:
    return ", ".join(map(repr, names[:_NAMED])) + (", …" if len(names) > _NAMED else "")
