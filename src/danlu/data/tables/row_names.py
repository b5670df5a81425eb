"""Columns that number or name the rows of a table. They have no name of their own and are no measurements."""

from __future__ import annotations

import re

import numpy as np

from danlu.data.tables.fields import MISSING, number
from danlu.data.tables.table_file import TableFile
from danlu.errors import UsageError

_UNNAMED = "Unnamed: 0"
"""name of a first column without a name, as in pandas, which writes the row numbers there"""
_ANY_UNNAMED = re.compile(rf"{_UNNAMED}(\.[0-9]+)?")
_MOST = 8
"""number of columns that are tried, because each is read separately"""


def name_of_unnamed(header: tuple[str, ...]) -> str:
    """A name for a first column without a name that no other column has, in the manner of pandas.

    >>> name_of_unnamed(("", "length")), name_of_unnamed(("", "Unnamed: 0", "length"))
    ('Unnamed: 0', 'Unnamed: 0.1')
    """
    names, name, count = set(header), _UNNAMED, 0
    while name in names:
        count += 1
        name = f"{_UNNAMED}.{count}"
    return name


def is_unnamed(name: str) -> bool:
    """Whether a name was made for a column without a name, by ``name_of_unnamed`` or by pandas.

    >>> is_unnamed("Unnamed: 0.1"), is_unnamed("length")
    (True, False)
    """
    return _ANY_UNNAMED.fullmatch(name) is not None


def columns_of_row_names(file: TableFile, target: str | None) -> tuple[str, ...]:
    """The first columns of a file that number or name its rows.

    These are a first column without a name, and the columns after it to which pandas gave a name because they had
    none: ``Unnamed: 0``, ``Unnamed: 0.1``, …. Their values are different integers or different texts; missing values
    are not compared. A column that pandas named, and that has other values, is a column like any other.

    Args:
        file: the file.
        target: name of the column with the class.

    Raises:
        UsageError: if the first column has no name, and other values.
    """
    columns = []
    for name in file.header[:_MOST]:
        if name == target or not is_unnamed(name):
            break
        if _identifies_rows(file, name):
            columns.append(name)
        elif name == file.unnamed:
            raise UsageError(
                f"{file.top}: column 1 has no name and does not number or name the rows: its values are not different "
                f"integers or texts; add a name, remove the column from the file, or choose the inputs with "
                f"table.columns",
                settings=("table.columns",),
            )
    return tuple(columns)


def _identifies_rows(file: TableFile, name: str) -> bool:
    """Whether the values of a column are different integers or texts."""
    texts: dict[str, int] = {}
    hashes, rows = [np.empty(0, np.int64)], 0
    for block in file.blocks((), name, texts):
        counts = np.bincount(block.classes + 1, minlength=len(texts) + 1)[1:].tolist()
        values = [(text, count) for text, count in zip(texts, counts, strict=True) if text.lower() not in MISSING]
        if any(count > 1 or _is_fraction(text) for text, count in values):
            return False
        hashes.append(np.array([hash(text) for text, count in values if count], np.int64))
        rows += len(block.classes)
        texts.clear()  # hashes of 8 bytes a row are kept, not the texts
    distinct = np.concatenate(hashes)
    return len(np.unique(distinct)) == len(distinct) and (len(distinct) > 0 or rows == 0)


def _is_fraction(text: str) -> bool:
    """Whether a text is a number that is not an integer."""
    if text.isdigit():
        return False
    try:
        return not number(text).is_integer()
    except ValueError:
        return False
