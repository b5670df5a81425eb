"""Statistics of a table."""

from __future__ import annotations

from torch import Tensor

from danlu.data.base.dataset import DataSet
from danlu.data.survey.arrays import survey_arrays
from danlu.data.survey.result import Survey


def survey_table(data: DataSet) -> Survey:
    """Statistics of each column and class, repeated rows, and constant columns."""
    return survey_arrays(data, _constant_columns, problem="constant or nearly constant in the training part: {}")


def _constant_columns(data: DataSet, is_constant: Tensor) -> list[str]:
    columns = is_constant if is_constant.ndim == 1 else is_constant.all(1)
    names = data.info.channel_names or tuple(str(number) for number in range(len(columns)))
    return [name for name, constant in zip(names, columns.tolist(), strict=True) if constant]
