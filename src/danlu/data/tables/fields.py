"""Columns and fields of table files: names of columns, numbers, names of classes, and the memory of the rows."""

from __future__ import annotations

import numpy as np

from danlu.data.tables.table_file import Block, ReadOptions, TableFile
from danlu.errors import UsageError, few
from danlu.limits import COLUMNS, NAME_CHARACTERS
from danlu.storage.available_memory import available_memory

MISSING = frozenset(("", "na", "n/a", "nan", "null", "none", "?"))
"""fields that stand for a missing number, in lower case"""
LARGEST = float(np.finfo(np.float32).max)
_MAX_NAMES = 8


def check_memory(file: TableFile, rows: int, columns: int) -> None:
    """Check that the numbers fit in memory: a small Parquet file can repeat a number very often."""
    needed, free = 8 * rows * (columns + 2), available_memory()
    if needed > free:
        raise UsageError(
            f"{file.path}: {rows:,} rows of {columns:,} columns need {needed:,} bytes, and {free:,} bytes of memory "
            f"are available"
        )


def check_header(top: str, header: tuple[str, ...]) -> None:
    """Check that columns have distinct names of moderate length."""
    if len(header) > COLUMNS:
        raise UsageError(f"{top} has {len(header):,} columns, and at most {COLUMNS:,} are allowed")
    first: dict[str, int] = {}
    for k, name in enumerate(header):
        if not name:
            raise UsageError(f"{top}: column {k + 1} has no name; add a name, or remove the column from the file")
        check_name(f"{top}: the name of column {k + 1}", len(name))
        if first.setdefault(name, k) < k:
            raise UsageError(
                f"{top}: columns {first[name] + 1} and {k + 1} have the same name {name!r}; rename one of them"
            )


def refuse_row_of_numbers(top: str, header: tuple[str, ...]) -> None:
    """Refuse a first line that is a row of numbers.

    The names 0, 1, 2, … after an empty one are allowed, because pandas writes them for columns without names. So are
    words for missing numbers alone, such as NA and none: they may be names.
    """
    numbers = all(map(is_number, header)) and any(name.lower() not in MISSING for name in header)
    if numbers and header != ("", *map(str, range(len(header) - 1))):
        raise UsageError(f"{top} has only numbers; the first line of a table must have the names of the columns")


def check_name(what: str, characters: int) -> None:
    """Check the length of the name of a column or a class, which becomes part of messages and files."""
    if characters > NAME_CHARACTERS:
        raise UsageError(f"{what} has {characters:,} characters, and at most {NAME_CHARACTERS:,} are allowed")


def refuse_large(file: TableFile, columns: tuple[str, ...], block: Block) -> None:
    """Refuse numbers that float32 cannot represent."""
    for row, column in np.argwhere(np.abs(block.numbers) > LARGEST)[:1]:
        raise UsageError(
            f"{file.at(int(block.positions[row]))}: column {columns[column]!r}: {block.numbers[row, column]:g} exceeds "
            f"the range of float32, {LARGEST:.1e}"
        )


def is_plain(text: str) -> bool:
    """Whether numpy and Python parse the numbers of a text alike; only Python accepts 1_000 and non-ASCII digits."""
    return text.isascii() and "_" not in text


def number(cell: str) -> float:
    """The number in a field; NaN if it is missing. Raises ValueError for other text."""
    if cell.strip().lower() in MISSING:
        return np.nan
    if not is_plain(cell):
        raise ValueError(cell)
    return float(cell)


def is_number(cell: str) -> bool:
    try:
        number(cell)
    except ValueError:
        return False
    return True


def class_number(cell: str, classes: dict[str, int]) -> int:
    """The number of a class; -1 if it is missing."""
    cell = cell.strip()
    return classes.setdefault(cell, len(classes)) if cell else -1


def leave_out(name: str, others: list[str], has_target: bool, options: ReadOptions) -> tuple[str, tuple[str, ...]]:
    """Advice on a column that is not numeric, and the settings that it names."""
    if options.fixed:
        return "the model needs a number", ()
    if not others:
        return "a table needs at least one numeric column", ()
    advice = f"set table.columns to the numeric columns ({few(others, _MAX_NAMES)})"
    if has_target:
        return advice, ("table.columns",)
    return f"{advice}, or set table.target to {name!r}", ("table.columns", f"table.target={name}")
