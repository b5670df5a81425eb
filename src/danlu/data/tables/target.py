"""Whether the target of a table is a class or a number."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from danlu.data.tables.fields import is_number, number

MOST_CLASSES = 20
"""integers with more different values than this, and fewer than ``ROWS_PER_CLASS`` rows for each, are numbers"""
ROWS_PER_CLASS = 20
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}(\.0*)?")


def is_numeric(names: Sequence[str], rows: int) -> bool:
    """Whether a target with these different values is a number rather than a class.

    Missing numbers do not count. It is if all other values are numbers, and at least one has a fraction; or if there
    are more than 20 different integers, with fewer than 20 rows for each on average; or if each row has another
    integer.

    Args:
        names: the different values, as in the file.
        rows: number of rows.

    >>> is_numeric(("0", "1", "2"), 150), is_numeric(("0.5", "1.75"), 150), is_numeric(("a", "1.5"), 150)
    (False, True, False)
    >>> [is_numeric([str(k) for k in range(214)], rows) for rows in (442, 60_000)]
    [True, False]
    """
    if not all(map(is_number, names)):
        return False
    names = [name for name in names if not math.isnan(number(name))]
    if not names or not all(math.isfinite(number(name)) for name in names):
        return False
    if not all(map(_INTEGER.fullmatch, names)):
        return True
    many = len(names) > MOST_CLASSES and rows < ROWS_PER_CLASS * len(names)
    return many or len(names) == rows
