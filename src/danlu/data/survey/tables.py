"""Statistics of a table."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from danlu.data.base.dataset import PARTS, DataSet
from danlu.data.survey.arrays import survey_arrays
from danlu.data.survey.result import Survey
from danlu.data.tables.info import TableInfo
from danlu.errors import few

_FEWEST = 20
"""number of rows below which a column is not taken for a row number"""
_FIRST = 1000
"""number of rows with which a column is checked first, because sorting takes longer"""
_ROUNDING = 4 * float(torch.finfo(torch.float32).eps)
"""error of a float32 number, relative to the largest number of its column"""


def survey_table(data: DataSet) -> Survey:
    """Statistics of each column and class, repeated rows, and columns that are constant, row numbers or the target."""
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
    if counters := [name for column, name in enumerate(names) if _numbers_rows(data, column)]:
        yield f"{few(counters)} may be a row number, which is no measurement; {advice}"


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


def _numbers_rows(data: DataSet, column: int) -> bool:
    """Whether a column has integers that increase from row to row in each part, or equidistant values overall."""
    stored = [data.part(name).fields["x"][:, column].double().numpy() for name in PARTS if len(data.part(name))]
    largest = max(float(np.abs(part).max()) for part in stored)
    if len(stored[0]) < _FEWEST or not np.isfinite(largest):
        return False
    shift, scale = _units(data, column)
    parts, error = [part * scale + shift for part in stored], _ROUNDING * largest * scale
    values = np.concatenate(parts)
    integers = error < 0.1 and bool((np.abs(values - values.round()) <= error).all())
    if integers and all((np.diff(part) > 0.5).all() for part in parts):
        return True
    low, step = values.min(), np.ptp(values) / (len(values) - 1)
    if step <= 4 * error or (np.abs((values[:_FIRST] - low) % step - step / 2) < step / 2 - 4 * error).any():
        return False
    return bool((np.abs(np.diff(np.sort(values)) - step) <= 4 * error).all())


def _units(data: DataSet, column: int) -> tuple[float, float]:
    """Shift and scale of a column."""
    info = data.info
    return (info.shift[column], info.scale[column]) if isinstance(info, TableInfo) and info.shift else (0.0, 1.0)
