"""The check that rows of a table have only two values."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from danlu.data.base.dataset import DataSet
from danlu.errors import UsageError


def check_row_values(
    x: Float[Tensor, "n columns"], data: DataSet, values: tuple[int, int], model: str, row: str
) -> None:
    """Check that all values of rows are one of two.

    Args:
        x: the rows.
        data: the data set.
        values: the two values.
        model: the model, for the message.
        row: name of a row, for the message; rows are counted in their part, from 0.

    Raises:
        UsageError: if a value is another one; the message has the first row and column.
    """
    wrong = (x != values[0]) & (x != values[1])
    if not wrong.any():
        return
    number, column = wrong.nonzero()[0].tolist()
    names = data.info.channel_names
    name = repr(names[column]) if names else str(column)
    hint = "; set table.standardize=False" if data.info.scales else ""
    where = f"{row} {number}, counted from 0 after the split,"
    raise UsageError(
        f"{data.name}: {where} has the value {float(x[number, column]):g} in column {name}; {model} takes rows of "
        f"{values[0]} and {values[1]}{hint}",
        settings=("table.standardize=False",) if hint else (),
    )
