"""Table files as inputs of a model, read in the same way as the training rows; and generated rows as files."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float64
from torch import Tensor

from danlu.app.console.progress import Screen
from danlu.app.files.file_writer import FileWriter, Form, ImageGrid, npy
from danlu.app.files.inputs import Input, say_unused
from danlu.data.base.dataset import DataInfo
from danlu.data.tables.info import TableInfo
from danlu.data.tables.open_file import open_table, refuse_unused_encoding
from danlu.data.tables.table import standardize
from danlu.data.tables.table_file import Block, ReadOptions
from danlu.errors import UsageError
from danlu.storage.access import no_progress

_NAMED = 8  # maximal number of columns in an error message
_AT_ONCE = 4096

RowBatch = tuple[list[str], Float[Tensor, "n d"] | None, str | None]
"""names of rows (file and line), and the rows or an error"""


class Rows:
    """The rows of a file as inputs of a model; created by ``read_rows``.

    Attributes:
        file: the file.
        unused: columns of the file that the model does not use, for messages.
    """

    def __init__(self, path: Path, info: TableInfo, encoding: str):
        options = ReadOptions(encoding, "encoding", fixed=True)
        self.file, self._info = open_table(path.expanduser(), no_progress, options), info
        used, header = set(info.columns), set(self.file.header)
        unused = (name for name in self.file.header if name not in used)
        self.unused = tuple(
            "the first one, which has no name" if name == self.file.unnamed else name for name in unused
        )
        missing = [name for name in info.columns if name not in header]
        if missing:
            column = "column" if len(missing) == 1 else "columns"
            raise UsageError(
                f"{self.file.top}: missing {column} {_few(missing)}; the model needs the columns {_few(info.columns)}"
            )

    def __iter__(self) -> Iterator[RowBatch]:
        for block in self._blocks():
            yield from self._inputs(block)

    def with_gaps(self) -> Iterator[tuple[list[str], Float64[np.ndarray, "n d"]]]:
        """Names of rows (file and line), and their numbers in the units of the file; NaN if a number is missing."""
        for block in self._blocks():
            yield [self.file.at(int(place)) for place in block.positions], block.numbers

    def _blocks(self) -> Iterator[Block]:
        count = 0
        for block in self.file.blocks(self._info.columns, None, {}):
            for start in range(0, len(block.positions), _AT_ONCE):
                count += len(block.positions[start : start + _AT_ONCE])
                yield Block(*(values[start : start + _AT_ONCE] for values in block))
        if not count:
            raise UsageError(f"{self.file.path} has no rows below its first line, the names of the columns")

    def _inputs(self, block: Block) -> Iterator[RowBatch]:
        """All rows of a block at once if they are valid, else one by one, so that valid rows are still used."""
        names = [self.file.at(int(place)) for place in block.positions]
        if self._info.fill or not np.isnan(block.numbers).any():
            try:
                yield names, standardize(self._info, block.numbers), None
                return
            except UsageError as error:
                if len(names) == 1:
                    yield names, None, f"{names[0]}: {str(error).removeprefix('row 0, ')}"
                    return
        elif len(names) == 1:
            name = self._info.columns[int(np.isnan(block.numbers[0]).argmax())]
            yield (
                names,
                None,
                (
                    f"{names[0]}: the number in column {name!r} is missing; fill it in, or train a model with the "
                    f"setting table.missing=mean"
                ),
            )
            return
        for row in range(len(names)):
            yield from self._inputs(Block(*(values[row : row + 1] for values in block)))


def read_rows(path: Path, info: DataInfo, encoding: str = "utf-8") -> Rows:
    r"""Read the rows of a table as inputs of a model, standardized in the same way as the training rows.

    Args:
        path: a CSV or Parquet file; its columns may be in any order, other columns are ignored.
        info: the inputs of the model: columns, and their shift, scale and fill.
        encoding: text encoding of a CSV file.

    Raises:
        UsageError: if the inputs of the model are not rows of a table, or the file lacks a column or is not a table.

    >>> from danlu.data.tables.info import TableInfo
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp(), "t.csv")
    >>> _ = file.write_text("width,name,length\n5,a,3\n6,b,\n")
    >>> rows = read_rows(file, TableInfo((2,), columns=("length", "width")))
    >>> rows.unused, [(x, error is None) for _, x, error in rows]
    (('name',), [(tensor([[3., 5.]]), True), (None, False)])
    """
    if not isinstance(info, TableInfo):
        raise UsageError(f"this model takes {info.description}, not rows of a table")
    if not info.columns:
        raise UsageError("this model has no column names, so it cannot read tables; use it in Python: danlu.load(RUN)")
    return Rows(path, info, encoding)


def in_units(info: DataInfo, x: Float[Tensor, "n d"]) -> Float64[np.ndarray, "n d"]:
    """Convert rows from the values of a model to the units of the file, the inverse of ``standardize``.

    >>> from danlu.data.tables.info import TableInfo
    >>> import torch
    >>> in_units(TableInfo((2,), shift=(2.0, 5.0), scale=(0.5, 1.0)), torch.tensor([[2.0, 0.0]])).tolist()
    [[3.0, 5.0]]
    """
    values = x.detach().cpu().double().numpy()
    assert isinstance(info, TableInfo), "only a table has units"
    return values * np.array(info.scale) + np.array(info.shift) if info.shift else values


def _few(names: list[str] | tuple[str, ...]) -> str:
    return ", ".join(map(repr, names[:_NAMED])) + (", …" if len(names) > _NAMED else "")


def read_tables(
    files: Iterable[str | Path],
    info: DataInfo,
    invert: bool,
    encoding: str,
    screen: Screen,
    display: Callable[[str], str],
) -> Iterator[Input]:
    """The rows of files as inputs; arguments as in ``inputs.inputs_of``.

    Raises:
        UsageError: if a table is not valid.
    """
    for rows in _open_all(files, info, encoding, screen, display):
        for batch in rows:
            yield Input(*batch)


def read_tables_with_gaps(
    files: Iterable[str | Path], info: DataInfo, encoding: str, screen: Screen, display: Callable[[str], str]
) -> Iterator[tuple[Input, Float64[np.ndarray, "n d"]]]:
    """The rows of files with placeholders for missing numbers, and the numbers of the files, with NaN for missing ones.

    Raises:
        UsageError: if a table is not valid, or no number is missing.
    """
    assert isinstance(info, TableInfo), "only rows have missing numbers"
    with_placeholders = replace(info, fill=info.shift or (0.0,) * info.shape[0])
    complete = True
    for rows in _open_all(files, info, encoding, screen, display):
        for names, numbers in rows.with_gaps():
            complete = complete and not np.isnan(numbers).any()
            yield Input(names, standardize(with_placeholders, numbers)), numbers
    if complete:
        raise UsageError("nothing to fill in: no row has an empty field")


def _open_all(
    files: Iterable[str | Path], info: DataInfo, encoding: str, screen: Screen, display: Callable[[str], str]
) -> Iterator[Rows]:
    paths = list(map(Path, files))
    if encoding != ReadOptions().encoding:
        refuse_unused_encoding([read_rows(path, info, encoding).file for path in paths], encoding, "encoding")
    for path in paths:
        rows = read_rows(path, info, encoding)
        say_unused(screen, display(str(path)), rows.unused)
        yield rows


def _csv(info: DataInfo, x: Tensor, known: np.ndarray | None) -> str:
    """Rows below the names of their columns, with seven digits, the precision of float32."""
    text = io.StringIO()
    names = info.channel_names or [f"x{number}" for number in range(1, x.shape[1] + 1)]
    quoting = csv.QUOTE_ALL if any("\r" in name for name in names) else csv.QUOTE_MINIMAL  # which does not quote \r
    csv.writer(text, lineterminator="\n", quoting=quoting).writerow(names)
    writer, rows = csv.writer(text, lineterminator="\n"), in_units(info, x)
    known = np.full(rows.shape, np.nan) if known is None else known
    for computed, given in zip(rows, known, strict=True):
        writer.writerow([f"{a:.7g}" if np.isnan(b) else f"{b:.15g}" for a, b in zip(computed, given, strict=True)])
    return text.getvalue()


def _content(form: Form, x: Tensor, info: DataInfo, grid: ImageGrid | None, known: np.ndarray | None) -> bytes:
    return npy(in_units(info, x).astype(np.float32)) if form == "array" else _csv(info, x, known).encode()


WRITER = FileWriter(
    examples="rows of a table",
    forms={".csv": "table", ".npy": "array"},
    endings=".csv or .npy (an array)",
    writable=lambda info: True,
    content=_content,
    sampled_values=True,
)
