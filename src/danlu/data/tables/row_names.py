"""Columns that number or name the rows of a table. They have no name of their own and are no measurements."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from itertools import takewhile

import numpy as np

from danlu.data.tables.fields import MISSING, number
from danlu.data.tables.table_file import TableFile
from danlu.errors import UsageError

_UNNAMED = "Unnamed: 0"
"""name of a first column without a name, as in pandas, which writes the row numbers there"""
_ANY_UNNAMED = re.compile(rf"{_UNNAMED}(\.[0-9]+)?")
_MOST = 8
"""number of columns that are tried"""
_LONGEST_MISSING = max(map(len, MISSING))


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


def possible_row_names(file: TableFile, target: str | None) -> tuple[str, ...]:
    """The first columns of a file that number or name its rows if their values do, see ``RowNames``.

    These are a first column without a name, and the columns after it to which pandas gave a name because they had
    none: ``Unnamed: 0``, ``Unnamed: 0.1``, ….

    Args:
        file: the file.
        target: name of the column with the class.
    """
    return tuple(takewhile(lambda name: name != target and is_unnamed(name), file.header[:_MOST]))


def refuse_unnamed_input(file: TableFile, names: Collection[str]) -> None:
    """Refuse a file whose first column has no name and is one of these, which neither number nor name the rows.

    A column that pandas named is one like any other.

    Raises:
        UsageError: if it is.
    """
    if file.unnamed in names:
        raise UsageError(
            f"{file.top}: column 1 has no name and does not number or name the rows: its values are not different "
            f"integers or texts; add a name, remove the column from the file, or choose the inputs with "
            f"table.columns",
            settings=("table.columns",),
        )


class RowNames:
    """Decides, while a file is read, whether the values of a column are different integers or texts.

    Missing values are not compared.

    >>> names = RowNames()
    >>> names({"7": 1, "8": 1, "": 3})
    >>> names.identify_rows()
    True
    >>> names({"7": 1})
    >>> names.identify_rows()
    False
    """

    def __init__(self) -> None:
        self.possible = True  # until a block has a fraction, or a value twice
        self._hashes, self._rows = [np.empty(0, np.int64)], 0

    def __call__(self, counts: Mapping[str, int]) -> None:
        """Add the values of a block, as a ``TextReceiver``."""
        rows = sum(counts.values())
        missing = {text for text in counts if len(text) <= _LONGEST_MISSING and text.lower() in MISSING}
        texts = [text for text in counts if text not in missing] if missing else [*counts]
        repeats = len(texts) < rows - sum(counts[text] for text in missing)
        if repeats or (not all(map(str.isdigit, texts)) and any(map(_is_fraction, texts))):
            self.possible = False
        # hashes of 8 bytes a row are kept, not the texts
        self._hashes.append(np.fromiter(map(hash, texts), np.int64, len(texts)))
        self._rows += rows

    def identify_rows(self) -> bool:
        """Whether the values of all blocks number or name the rows."""
        if not self.possible:
            return False
        hashes = np.sort(np.concatenate(self._hashes))  # np.unique takes 10 times as long
        return bool((hashes[1:] > hashes[:-1]).all()) and (len(hashes) > 0 or self._rows == 0)


def _is_fraction(text: str) -> bool:
    """Whether a text is a number that is not an integer."""
    if text.isdigit():
        return False
    try:
        return not number(text).is_integer()
    except ValueError:
        return False
