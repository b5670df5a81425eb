"""The rows of a file of a table: which columns are inputs, and rows with missing values."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from danlu.data.tables.fields import check_memory
from danlu.data.tables.open_file import open_table
from danlu.data.tables.row_names import RowNames, possible_row_names, refuse_unnamed_input
from danlu.data.tables.settings import Table
from danlu.data.tables.table_file import Block, ReadOptions, TableFile
from danlu.errors import UsageError, nearest, short
from danlu.storage.access import Access


@dataclass(frozen=True)
class Rows:
    """The rows of a file.

    Attributes:
        file: the file.
        columns: names of the columns of numbers.
        block: the rows that are used.
        names: names of the classes by their numbers in the block.
        left_out: number of rows with missing values that are left out.
        missing: number of missing numbers in the rows that are used.
        index: names of the columns that are left out, because they number or name the rows.
    """

    file: TableFile
    columns: tuple[str, ...]
    block: Block
    names: tuple[str, ...]
    left_out: int
    missing: int
    index: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.block.positions)

    def at(self, row: int) -> str:
        """Position of a row, for messages."""
        return self.file.at(int(self.block.positions[row]))


def read_rows(name: str, page: Table, columns: tuple[str, ...] | None, access: Access) -> Rows:
    """Read the rows of a file, with the columns of the training rows or, if None, those that the settings choose.

    Possible row names are left out and decided on while the rows are read. If one of them is an input after all, which
    is rare and mostly shows in the first block, the file is read again.

    Args:
        name: path of the file.
        page: how the file is read.
        columns: names of the columns of the training rows, or None.
        access: has the progress callback.

    Raises:
        UsageError: if the file is not valid, or has no usable rows.
    """
    file = open_table(Path(name).expanduser(), access.progress, ReadOptions(page.encoding))
    chosen = columns is not None or page.columns is not None
    names = () if chosen else possible_row_names(file, page.target)
    while True:
        index = () if chosen else (*file.index, *names)
        inputs, checks = _chosen(file, page, columns, index), {column: RowNames() for column in names}
        if not checks:
            _require_inputs(file, inputs, page, index)
        rows = _collect(file, inputs, page, checks)
        # after a failed check the rows were not read to the end, so the other columns are still undecided
        failed = {column for column, check in checks.items() if not check.possible}
        others = failed or {column for column, check in checks.items() if not check.identify_rows()}
        if not others:
            break
        refuse_unnamed_input(file, others)
        names = tuple(column for column in names if column not in others)
    _require_inputs(file, inputs, page, index)
    if not len(rows):
        left_out = f"; {rows.left_out} have missing values" if rows.left_out else ""
        raise UsageError(f"{name} has no usable rows{left_out}")
    return replace(rows, index=tuple(column for column in index if column != page.target))


def _collect(file: TableFile, columns: tuple[str, ...], page: Table, checks: dict[str, RowNames]) -> Rows:
    """The rows of a file; only the first ones if a check of row names fails on them."""
    classes: dict[str, int] = {}
    most = file.most_rows()
    check_memory(file, most, len(columns) + len(checks))
    kept = Block(np.empty(most, np.int64), np.empty((most, len(columns))), np.empty(most, np.int64))
    count, left_out, missing = 0, 0, 0
    for block in file.blocks(columns, page.target, classes, checks):
        if not all(check.possible for check in checks.values()):
            break
        complete = ~np.isnan(block.numbers).any(axis=1) & (block.classes >= 0)
        if page.missing == "drop":
            left_out += int((~complete).sum())
            block = Block(*(values[complete] for values in block))
        elif not complete.all():
            _refuse_missing(file, columns, block, page)
            missing += int(np.isnan(block.numbers).sum())
        for values, new in zip(kept, block, strict=True):
            values[count : count + len(new)] = new
        count += len(block.positions)
    block = Block(*(values[:count] for values in kept))
    return Rows(file, columns, block, tuple(classes), left_out, missing)


def _chosen(file: TableFile, page: Table, columns: tuple[str, ...] | None, index: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the columns of numbers, without those of ``index``; checks that the file has them and the target."""
    target = () if page.target is None else (page.target,)
    chosen, header = columns or page.columns, set(file.header)
    if chosen is None:
        left_out = {*target, *index}
        chosen = tuple(name for name in file.header if name not in left_out)
    for name in (*chosen, *target):
        if name not in header:
            raise UsageError(f"{file.top}: unknown column {short(repr(name))}; {nearest(name, file.header)}")
    for name, count in Counter(chosen).items():
        if count > 1:
            raise UsageError(
                f"table.columns contains {name!r} {count} times; name each column once", settings=("table.columns",)
            )
        if name in target:
            raise UsageError(
                f"{name!r} is the target, so it cannot be an input; remove it from table.columns",
                settings=("table.columns",),
            )
    return tuple(chosen)


def _require_inputs(file: TableFile, columns: tuple[str, ...], page: Table, index: tuple[str, ...]) -> None:
    """Raise UsageError if no columns are left besides the target and those of ``index``."""
    if not columns:
        others = " and ".join([*["the target"] * (page.target is not None), *["row numbers or names"] * bool(index)])
        raise UsageError(
            f"{file.top}: no columns{others and f' besides {others}'}; a table needs at least one numeric column"
        )


def _refuse_missing(file: TableFile, columns: tuple[str, ...], block: Block, page: Table) -> None:
    """Raise an error for the first missing value that is not allowed."""
    drop = "table.missing=drop leaves out such rows"
    for row in np.flatnonzero(block.classes < 0)[:1]:
        raise UsageError(
            f"{file.at(int(block.positions[row]))}: column {page.target!r}: missing class; {drop}",
            settings=("table.missing=drop",),
        )
    if page.missing == "refuse":
        for row, column in np.argwhere(np.isnan(block.numbers))[:1]:
            raise UsageError(
                f"{file.at(int(block.positions[row]))}: column {columns[column]!r}: missing number; {drop}, "
                f"table.missing=mean fills in the mean of the training rows",
                settings=("table.missing=drop", "table.missing=mean"),
            )
