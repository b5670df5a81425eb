"""Statistics of a data set of waveforms."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from danlu.data.base.dataset import PARTS, DataSet, Part
from danlu.data.survey.arrays import survey_arrays
from danlu.data.survey.result import Survey


def survey_waveforms(data: DataSet) -> Survey:
    """Statistics of the amplitude and of each class, repeated waveforms, and waveforms that are constant."""
    name = data.info.inputs
    parts = {part: _with_channel(data.part(part), name) for part in PARTS}
    survey = survey_arrays(replace(data, **parts), _constant_positions)
    x = data.train.fields[name]
    if silent := int((x.amin(1) == x.amax(1)).sum()):
        survey.problems.append(f"{silent:,} of {len(x):,} waveforms of the training part are constant")
    return survey


def _with_channel(part: Part, name: str) -> Part:
    """The same examples with the shape (1, length): a channel has one line of statistics."""
    return replace(part, fields={**part.fields, name: part.fields[name].unsqueeze(1)})


def _constant_positions(data: DataSet, constant: Tensor) -> list[str]:
    count = int(constant.sum())
    return [f"{count} of {constant.numel()} positions"] if count else []
