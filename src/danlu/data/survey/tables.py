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
from danlu.data.tables.identifiers import KNOWN, identifies_rows, stored_error
from danlu.data.tables.info import TableInfo
from danlu.errors import few


def survey_table(data: DataSet) -> Survey:
    """Statistics of each column and class, repeated rows, and columns that are constant, the target or no measurement.

    The rules for columns that may number or identify the rows are those of ``identifiers.identifies_rows``, with the
    errors of the stored float32 numbers. For columns that float32 does not resolve, the numbers of the file decide, if
    the data set was read from a file.
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
    """Whether a column may number or identify the rows, according to the numbers of the file if float32 has too few
    digits for them."""
    stored = [data.part(name).fields["x"][:, column].double().numpy() for name in PARTS if len(data.part(name))]
    shift, scale = _units(data, column)
    parts = [part * scale + shift for part in stored]
    largest = max(float(np.abs(part).max()) for part in parts)
    errors = [stored_error(part, scale, largest) for part in stored]
    if data.identifiers is not None and max(float(error.max()) for error in errors) >= KNOWN:
        return _names(data)[column] in data.identifiers
    return identifies_rows(parts, errors)


def _units(data: DataSet, column: int) -> tuple[float, float]:
    """Shift and scale of a column."""
    info = data.info
    return (info.shift[column], info.scale[column]) if isinstance(info, TableInfo) and info.shift else (0.0, 1.0)
