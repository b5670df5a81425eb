"""Statistics of a table."""

from __future__ import annotations

from torch import Tensor

from danlu.data.base.dataset import DataSet
from danlu.data.survey.arrays import survey_arrays
from danlu.data.survey.result import Survey


def survey_table(data: DataSet) -> Survey:
    """Statistics of each column and class, repeated rows, and the columns that hardly vary."""
    return survey_arrays(data, _constant_columns, problem="hardly varying in the training part: {}")


def _constant_columns(data: DataSet, still: Tensor) -> list[str]:
    fixed = still if still.ndim == 1 else still.all(1)
    names = data.info.channel_names or tuple(str(number) for number in range(len(fixed)))
    return [name for name, constant in zip(names, fixed.tolist(), strict=True) if constant]
