"""Statistics of a table."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from danlu.data.base.dataset import PARTS, DataSet
from danlu.data.survey.arrays import survey_arrays
from danlu.data.survey.result import Survey
from danlu.data.tables.info import TableInfo
from danlu.errors import few

_FEWEST = 20
"""number of rows below which no column is taken for a number of the rows"""
_FEWEST_CODES = 50
"""the same for codes, which are integers with equally many digits"""
_SHORTEST_CODE = 10_000
"""smallest integer that is taken for a code"""
_SURPRISING = 5
"""number of pairs of equal integers that are expected; if there is none, the integers are different on purpose"""
_ROUNDING = 2.0**-24
"""error of a stored float32 number, relative to it: half a unit in the last place"""
_ROUNDING_64 = 2.0**-50
"""error of the computations in float64, relative to the largest number"""


def survey_table(data: DataSet) -> Survey:
    """Statistics of each column and class, repeated rows, and columns that are constant, the target or no measurement.

    A column may number or identify the rows if it has at least 20 rows and is one of these:

    - integers that increase from row to row in each part, as a counter or sorted years;
    - equidistant values in any order, up to an eighth of a step, as hourly times;
    - different integers, so densely that at least 5 pairs would be equal if they were drawn at random: n² / (2 · range)
      is at least 5, where n is the number of rows;
    - different integers with equally many digits, at least five, in at least 50 rows, as customer numbers.

    Measured integers in a small table are often different, so the last two rules ask for more. A column can only be
    taken for integers if float32 resolves at least 20 of its standardized values to a quarter.
    """
    survey = survey_arrays(data, _constant_columns, problem="constant or nearly constant in the training part: {}")
    survey.problems.extend(_suspicious_columns(data))
    return survey


def _constant_columns(data: DataSet, is_constant: Tensor) -> list[str]:
    columns = is_constant if is_constant.ndim == 1 else is_constant.all(1)
    return [name for name, constant in zip(_names(data), columns.tolist(), strict=True) if constant]


def _names(data: DataSet) -> tuple[str, ...]:
    return data.info.channel_names or tuple(map(str, range(data.info.shape[0])))


def _suspicious_columns(data: DataSet) -> Iterator[str]:
    """Columns that are no measurements: row numbers, and columns from which the class follows."""
    names, advice = _names(data), "choose the inputs with table.columns"
    if targets := [name for name, equal in zip(names, _equal_to_target(data).tolist(), strict=True) if equal]:
        yield f"the class of every row follows from {few(targets)} alone, which may be a copy of the target; {advice}"
    if keys := [name for column, name in enumerate(names) if _identifies_rows(data, column)]:
        yield (
            f"{few(keys)} may number or identify the rows, because the values are different integers or equidistant; "
            f"if they are no measurements, {advice}"
        )


def _equal_to_target(data: DataSet) -> Bool[Tensor, "d"]:
    """The columns that have one value per class, another one for each class."""
    width, classes = data.info.shape[0], data.info.classes
    low = torch.full((classes, width), torch.inf)
    high = torch.full((classes, width), -torch.inf)
    for part in (data.part(name) for name in PARTS):
        if "label" in part.fields and len(part):
            index, x = part["label"][:, None].expand(-1, width), part["x"].float()
            low.scatter_reduce_(0, index, x, "amin")
            high.scatter_reduce_(0, index, x, "amax")
    occurs = low[:, 0] <= high[:, 0]
    low, high = low[occurs], high[occurs]
    if len(low) < 2:
        return torch.zeros(width, dtype=torch.bool)
    return (low == high).all(0) & (low.sort(0).values.diff(dim=0) > 0).all(0)


def _identifies_rows(data: DataSet, column: int) -> bool:
    """Whether a column may number or identify the rows; the rules are those of ``survey_table``."""
    stored = [data.part(name).fields["x"][:, column].double().numpy() for name in PARTS if len(data.part(name))]
    if len(stored[0]) < _FEWEST or not all(np.isfinite(part).all() for part in stored):
        return False
    shift, scale = _units(data, column)
    parts = [part * scale + shift for part in stored]
    values = np.concatenate(parts)
    error = _ROUNDING * scale * np.abs(np.concatenate(stored)) + _ROUNDING_64 * np.abs(values).max()
    if _equidistant(values, error):
        return True
    if not _integers(values, error):
        return False
    errors = np.split(error, np.cumsum([len(part) for part in parts])[:-1])
    if all(_increases(part, bound) for part, bound in zip(parts, errors, strict=True)):
        return True
    low, high, n = float(values.min().round()), float(values.max().round()), len(values)
    dense = n**2 >= 2 * _SURPRISING * (high - low)
    codes = n >= _FEWEST_CODES and low >= _SHORTEST_CODE and len(f"{low:.0f}") == len(f"{high:.0f}")
    if not (dense or codes):
        return False
    order = values.argsort()
    return _increases(values[order], error[order])


def _integers(values: Float64[np.ndarray, "n"], error: Float64[np.ndarray, "n"]) -> bool:
    """Whether enough values are known to a quarter, and these can be integers."""
    known = error < 0.25
    values, error = values[known], error[known]
    return len(values) >= _FEWEST and bool((np.abs(values - values.round()) <= error).all())


def _increases(values: Float64[np.ndarray, "n"], error: Float64[np.ndarray, "n"]) -> bool:
    """Whether integers, each known up to an error, can increase."""
    return bool((np.diff(values) >= 1 - error[1:] - error[:-1]).all())


def _equidistant(values: Float64[np.ndarray, "n"], error: Float64[np.ndarray, "n"]) -> bool:
    """Whether the sorted values can be equidistant, and are known so well that random values could not."""
    n, low, extent = len(values), values.min(), np.ptp(values)
    if extent <= 20 * np.sqrt(n) * error.max():  # n random values differ from equidistant ones by about extent / √n
        return False
    step = extent / (n - 1)
    tolerance = 2 * error.max() + step / 8  # the numbers of the file may be rounded
    below = int((values < low + extent / 2).sum())
    if abs(below - n / 2) > tolerance / step + 1:  # sorting takes longer
        return False
    return bool((np.abs(np.sort(values) - (low + step * np.arange(n))) <= tolerance).all())


def _units(data: DataSet, column: int) -> tuple[float, float]:
    """Shift and scale of a column."""
    info = data.info
    return (info.shift[column], info.scale[column]) if isinstance(info, TableInfo) and info.shift else (0.0, 1.0)
