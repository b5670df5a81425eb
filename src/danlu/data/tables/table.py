"""Tables of the user's own: rows of numbers in a file, with or without a class."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float64, Int, Int64
from numpy.typing import ArrayLike
from torch import Tensor

from danlu.data.base.dataset import DataInfo, DataSet, Part
from danlu.data.base.split import Split, check_parts, part_fractions, refuse_unused_fraction, stratified_split
from danlu.data.tables.csv_file import Block, CSVTable, Progress, ReadOptions, TableFile
from danlu.data.tables.info import TableInfo
from danlu.data.tables.parquet_file import ParquetTable
from danlu.data.tables.settings import Table
from danlu.errors import UsageError, nearest
from danlu.storage.access import Access
from danlu.storage.disk import looks_like

FEWEST_ROWS = 3
_ROWS_AT_ONCE = 1 << 13
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")


def read_table(
    argument: str = "", table: Table = Table(), split: Split = Split(), access: Access | None = None
) -> DataSet:
    r"""The rows of a CSV or Parquet file: ``x`` is (n, columns), ``label`` (n,) if there is a target.

    The first line of a CSV file names its columns; commas, semicolons or tabs part its fields; its text is UTF-8 unless
    ``table.encoding`` says otherwise. A field that is empty or says NA, N/A, NaN, null, none or ? is a missing
    number; a class is missing where its field is empty. The values of the target become labels in sorted order, by
    value if all are integers. Where ``table`` names no file for validation or test, rows are parted by their
    shares, every class alike. Shift and scale are those of the training rows, as are the means that missing numbers
    become with ``table.missing="mean"``; ``standardize`` treats further rows alike.

    Args:
        argument: path of the file, relative to the current folder.
        table: how to read it.
        split: shares and seed of the parts that have no file of their own.
        access: is told of progress.

    Raises:
        UsageError: if a file is not as it should be; the message has its path and line.

    >>> import tempfile, pathlib
    >>> file = pathlib.Path(tempfile.mkdtemp(), "flowers.csv")
    >>> _ = file.write_text("length,width,kind\n" + "1,5,rose\n3,5,tulip\n" * 10)
    >>> data = read_table(str(file), Table(target="kind"))
    >>> data.info.class_names, data.info.columns, data.info.shift
    (('rose', 'tulip'), ('length', 'width'), (2.0, 5.0))
    >>> data.train["x"][0], data.train["label"][0]
    (tensor([1., 0.]), tensor(1))
    """
    access = access or Access()
    if not argument:
        raise UsageError("after table comes the path of a file, as in table:measurements.csv")
    if table.validation_file is not None:
        refuse_unused_fraction(split, "validation", "--table.validation-file has its rows")
    if table.test_file is not None:
        refuse_unused_fraction(split, "test", "--table.test-file has its rows")
    rows = _read(argument, table, None, access)
    if len(rows) < FEWEST_ROWS:
        raise UsageError(f"{argument} has {len(rows)} rows that can be used, and a table needs at least {FEWEST_ROWS}")
    kinds = _kinds(rows, table.target)
    parts = _split(rows, kinds, split, table)
    for k, name in ((1, table.validation_file), (2, table.test_file)):
        if name is not None:
            parts[k] = _all(_read(name, table, rows.columns, access), kinds)
    info = _fit(parts, kinds, table)
    train, validation, test = (_part(some, info) for some in parts)
    ends = [part["x"].aminmax() for part in (train, validation, test) if len(part)]
    info = replace(info, range=(min(low.item() for low, _ in ends), max(high.item() for _, high in ends)))
    return DataSet(f"table:{Path(argument).name}", info, train, validation, test, _notes(parts, table))


def standardize(info: DataInfo, rows: Tensor | ArrayLike) -> Float[Tensor, "n d"]:
    """Rows as a model wants them that was trained on a table: filled, shifted and scaled as the training rows were.

    Args:
        info: of the table.
        rows: (n, d), numbers of the columns ``info.columns`` in that order and in the units of the file.

    Returns:
        A tensor of float32 on the CPU.

    Raises:
        UsageError: if the model takes no rows of a table, these have other columns, a number is infinite, or one is
            missing (NaN) and the model was not trained with ``missing="mean"``.

    >>> info = TableInfo((2,), columns=("length", "width"), shift=(2.0, 5.0), scale=(0.5, 1.0))
    >>> standardize(info, [[3.0, 5.0]])
    tensor([[2., 0.]])
    """
    if not isinstance(info, TableInfo):
        raise UsageError(f"this model takes {info.kind} of shape {info.shape}, not rows of a table")
    values = rows.detach().cpu().double().numpy() if isinstance(rows, Tensor) else np.asarray(rows, dtype=np.float64)
    if values.ndim != 2 or values.shape[1:] != info.shape:
        raise UsageError(
            f"rows of shape {tuple(values.shape)} do not fit; this model takes (n, {info.shape[0]}), "
            f"with the columns {', '.join(info.columns)}"
        )
    if info.fill:
        values = np.where(np.isnan(values), np.array(info.fill), values)
    scaled = _scaled(info, values)
    for row, column in np.argwhere(~np.isfinite(scaled))[:1]:
        raise UsageError(f"row {row}, column {info.columns[column]!r}: {values[row, column]} cannot be used")
    return torch.from_numpy(scaled)


@dataclass(frozen=True)
class _Rows:
    """What was read of a file.

    Attributes:
        file: where from.
        columns: names of the columns of numbers.
        block: the rows that were kept.
        names: the classes by their numbers in the block.
        left_out: how many rows with gaps were not kept.
        gaps: how many numbers are missing in those that were.
    """

    file: TableFile
    columns: tuple[str, ...]
    block: Block
    names: tuple[str, ...]
    left_out: int
    gaps: int

    def __len__(self) -> int:
        return len(self.block.places)

    def at(self, row: int) -> str:
        """The place of a row, in words."""
        return self.file.at(int(self.block.places[row]))


@dataclass(frozen=True)
class _Some:
    """The rows of one part, and their labels if there are classes."""

    rows: _Rows
    index: Int64[np.ndarray, "n"]
    labels: Int[Tensor, "n"] | None


def _read(name: str, page: Table, columns: tuple[str, ...] | None, access: Access) -> _Rows:
    """The rows of a file; its columns are chosen by the page, or are those of the training rows."""
    file = open_table(Path(name).expanduser(), access.progress, ReadOptions(page.encoding))
    columns = _chosen(file, page, columns)
    classes: dict[str, int] = {}
    most = file.most_rows()
    kept = Block(np.empty(most, np.int64), np.empty((most, len(columns))), np.empty(most, np.int64))
    count, left_out, gaps = 0, 0, 0
    for block in file.blocks(columns, page.target, classes):
        whole = ~np.isnan(block.numbers).any(axis=1) & (block.classes >= 0)
        if page.missing == "drop":
            left_out += int((~whole).sum())
            block = Block(*(values[whole] for values in block))
        elif not whole.all():
            _refuse_gap(file, columns, block, page)
            gaps += int(np.isnan(block.numbers).sum())
        for values, new in zip(kept, block, strict=True):
            values[count : count + len(new)] = new
        count += len(block.places)
    if not count:
        raise UsageError(f"{name} has no rows that can be used" + (f"; {left_out} have gaps" if left_out else ""))
    return _Rows(file, columns, Block(*(values[:count] for values in kept)), tuple(classes), left_out, gaps)


def _chosen(file: TableFile, page: Table, columns: tuple[str, ...] | None) -> tuple[str, ...]:
    """The columns of numbers, all of which the file has."""
    target = () if page.target is None else (page.target,)
    chosen = columns or page.columns
    if chosen is None:
        chosen = tuple(name for name in file.header if name not in target)
    for name in (*chosen, *target):
        if name not in file.header:
            raise UsageError(f"{file.top}: there is no column {name!r}; {nearest(name, file.header)}")
    for name, count in Counter(chosen).items():
        if count > 1:
            raise UsageError(f"--table.columns names {name!r} {count} times; name each column once")
        if name in target:
            raise UsageError(f"{name!r} is the target, which a model shall guess; take it out of --table.columns")
    if not chosen:
        raise UsageError(f"{file.top}: no column of numbers is left; a table needs at least one beside its target")
    return tuple(chosen)


def _refuse_gap(file: TableFile, columns: tuple[str, ...], block: Block, page: Table) -> None:
    """Name the first gap that may not be there."""
    drop = "--table.missing drop leaves such rows out"
    for row in np.flatnonzero(block.classes < 0)[:1]:
        raise UsageError(f"{file.at(int(block.places[row]))}: column {page.target!r} names no class; {drop}")
    if page.missing == "refuse":
        for row, column in np.argwhere(np.isnan(block.numbers))[:1]:
            raise UsageError(
                f"{file.at(int(block.places[row]))}: the number in column {columns[column]!r} is missing; {drop}, "
                f"--table.missing mean fills in the mean of the training rows"
            )


def _kinds(rows: _Rows, target: str | None) -> tuple[str, ...]:
    """The classes that occur, in the order of their labels; none without a target."""
    if target is None:
        return ()
    names = [rows.names[number] for number in np.unique(rows.block.classes)]
    what = f"{rows.file.path}: column {target!r}"
    if len(names) == 1:
        raise UsageError(
            f"{what} names one class, {names[0]!r}, in all {len(rows)} rows; there is nothing to tell apart"
        )
    if len(names) == len(rows):
        raise UsageError(f"{what} is different in each of the {len(rows)} rows; a target names classes, not numbers")
    if all(map(_INTEGER.fullmatch, names)):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def _all(rows: _Rows, kinds: tuple[str, ...]) -> _Some:
    """All rows of a file, as a part."""
    index = np.arange(len(rows))
    if not kinds:
        return _Some(rows, index, None)
    label_of = {name: label for label, name in enumerate(kinds)}
    labels = np.array([label_of.get(name, -1) for name in rows.names])[rows.block.classes]
    for row in np.flatnonzero(labels < 0)[:1]:
        name = rows.names[rows.block.classes[row]]
        raise UsageError(f"{rows.at(int(row))}: no training row has the class {name!r}; {nearest(name, kinds)}")
    return _Some(rows, index, torch.from_numpy(labels))


def _split(rows: _Rows, kinds: tuple[str, ...], split: Split, page: Table) -> list[_Some]:
    """The parts of one file: train, validation, test; a part that has a file of its own gets nothing."""
    _, validation, test = part_fractions(split)
    validation, test = (0.0 if page.validation_file else validation), (0.0 if page.test_file else test)
    labels = _all(rows, kinds).labels
    strata = torch.zeros(len(rows), dtype=torch.int64) if labels is None else labels
    shares = 1 - validation - test, validation, test
    cuts = stratified_split(strata, shares, split.seed)
    parts = [_Some(rows, cut.numpy(), None if labels is None else labels[cut]) for cut in cuts]
    check_parts(str(rows.file.path), (len(cut) for cut in cuts), shares)
    for label, name in enumerate(kinds):
        if not (parts[0].labels == label).any():
            count = int((labels == label).sum())
            raise UsageError(
                f"{rows.file.path}: the class {name!r} has {count} of {len(rows)} rows, and training gets none; "
                f"add rows of it, or lower --split.validation and --split.test"
            )
    return parts


def _fit(parts: list[_Some], kinds: tuple[str, ...], page: Table) -> TableInfo:
    """What the training rows decide; gaps in any part are filled with their means."""
    train, columns = parts[0], parts[0].rows.columns
    fill: tuple[float, ...] = ()
    if page.missing == "mean":
        fill = tuple(_mean(train, column) for column in range(len(columns)))
        for numbers in {id(part.rows): part.rows.block.numbers for part in parts}.values():
            for column, mean in zip(numbers.T, fill, strict=True):
                column[np.isnan(column)] = mean
    fitted = (
        [_shift_and_scale(column[train.index]) for column in train.rows.block.numbers.T] if page.standardize else []
    )
    shift, scale = (tuple(values) for values in zip(*fitted, strict=True)) if fitted else ((), ())
    return TableInfo((len(columns),), len(kinds), kinds, columns=columns, shift=shift, scale=scale, fill=fill)


def _mean(train: _Some, column: int) -> float:
    values = train.rows.block.numbers[train.index, column]
    values = values[~np.isnan(values)]
    if not len(values):
        name = train.rows.columns[column]
        raise UsageError(f"{train.rows.file.path}: column {name!r} has no number in the training rows; leave it out")
    return float(values.mean())


def _shift_and_scale(values: Float64[np.ndarray, "n"]) -> tuple[float, float]:
    """Mean and deviation; of values that are all equal, the value and 1."""
    if values.min() == values.max():
        return float(values[0]), 1.0
    shift = values.mean()
    away = values - shift
    reach = np.abs(away).max()  # squares of very small numbers would be 0
    return float(shift), float(reach * np.sqrt(np.square(away / reach).mean())) or 1.0


def _scaled(info: TableInfo, values: Float64[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    with np.errstate(over="ignore", invalid="ignore"):
        if info.shift:
            values = (values - np.array(info.shift)) / np.array(info.scale)
        return values.astype(np.float32)


def _part(some: _Some, info: TableInfo) -> Part:
    """The tensors of a part."""
    tensor = torch.empty(len(some.index), *info.shape)
    x = tensor.numpy()
    for start in range(0, len(x), _ROWS_AT_ONCE):
        index = some.index[start : start + _ROWS_AT_ONCE]
        x[start : start + len(index)] = _scaled(info, some.rows.block.numbers[index])
    for row, column in np.argwhere(~np.isfinite(x))[:1]:
        raise UsageError(
            f"{some.rows.at(int(some.index[row]))}: the number in column {info.columns[column]!r} is so far from those "
            f"of the training rows that float32 cannot hold it when it is standardized"
        )
    if some.labels is None:
        return Part({"x": tensor})
    return Part({"x": tensor, "label": some.labels})


def _notes(parts: list[_Some], page: Table) -> tuple[str, ...]:
    """What was done about gaps, in each file."""
    notes = []
    for rows in {id(part.rows): part.rows for part in parts}.values():
        name = rows.file.path.name
        if rows.left_out:
            notes.append(f"{_counted(rows.left_out, 'row')} of {name} with missing numbers or classes left out")
        if rows.gaps:
            notes.append(
                f"{_counted(rows.gaps, 'missing number')} of {name} filled in with the mean of the training rows"
            )
    return tuple(notes)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


_UNPACK = "unpack it first"
_FOREIGN = {
    "a gzip archive": _UNPACK,
    "a bzip2 archive": _UNPACK,
    "an xz archive": _UNPACK,
    "a ZIP archive": f"{_UNPACK}, or save it as CSV if it is a spreadsheet",
    "text in UTF-16": "save the table as CSV in UTF-8",
    "a web page": "get the file that the page shows or links to",
    "a pointer to a large file that was not fetched": "fetch the file with git lfs pull",
}
"""what a file is rather than a table, and what can be done"""


def open_table(path: Path, progress: Progress, options: ReadOptions) -> TableFile:
    """A table in a file, of which the header has been read.

    Args:
        path: the file.
        progress: is told of progress.
        options: how it is read.

    Raises:
        UsageError: if there is no such file, or it is no table.
    """
    if not path.is_file():
        what = "is a folder, not a table" if path.is_dir() else "is not a file" if path.exists() else "does not exist"
        raise UsageError(f"{path} {what}; give the path of a CSV or Parquet file, relative to the current folder")
    try:
        with path.open("rb") as file:
            start = file.read(200)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    if (kind := looks_like(start)) in _FOREIGN:
        raise UsageError(f"{path} is {kind}; {_FOREIGN[kind]}")
    return ParquetTable(path, progress, options) if start.startswith(b"PAR1") else CSVTable(path, progress, options)
