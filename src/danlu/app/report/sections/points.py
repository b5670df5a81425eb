"""The section of a report with generated rows of a table."""

from __future__ import annotations

from typing import Any

import torch

from danlu.app.files.table_files import in_units
from danlu.app.report.section import Section, figure
from danlu.app.report.sections.model_views import samples
from danlu.data.base.dataset import DataInfo, Part, spread_over

MOST_POINTS = 1000


def point_sections(model: Any, part: Part, name: str, info: DataInfo) -> list[Section]:
    """Generated rows and rows of a part as points: the first two columns, in their own units.

    Args:
        model: in evaluation mode.
        part: the rows.
        name: of the part.
        info: of a row.
    """
    if len(info.shape) != 1 or info.shape[0] < 2:
        return []
    examples = spread_over(part, MOST_POINTS)[info.inputs].cpu()
    drawn = samples(model, len(examples), values=True)
    if drawn is None:
        return []
    first, second = (info.channel_names or tuple(f"column {number}" for number in range(info.shape[0])))[:2]
    caption = f"{len(examples):,} samples and {len(examples):,} examples of the {name} part"
    caption += f", in the first two of {info.shape[0]} columns." if info.shape[0] > 2 else "."
    data, made = (torch.as_tensor(in_units(info, x))[:, :2].float() for x in (examples, drawn))
    return [Section("Samples", caption, figure("points", data=data, made=made, names=(first, second)))]
