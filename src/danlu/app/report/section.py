"""A section of the report as data: a title, a caption, and a figure, a table or a text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Scores = dict[str, dict[str, float]]
Table = list[tuple[str, ...]]


@dataclass(frozen=True)
class FigureData:
    """A figure that is not drawn yet.

    Attributes:
        name: key of ``danlu.app.report.figures.all_figures.FIGURES``, which draws it.
        values: arguments of the function that draws it.
    """

    name: str
    values: dict[str, Any]


def figure(name: str, **values: Any) -> FigureData:
    """The data of a figure.

    >>> figure("units", divergence=torch.ones(2), active=torch.ones(2, dtype=torch.bool)).name
    'units'
    """
    return FigureData(name, values)


@dataclass(frozen=True)
class Section:
    """A section of the report.

    Attributes:
        title: its heading.
        caption: what it shows, in a sentence or two.
        figure: data of a figure.
        table: rows of equal length; the first row has the names of the columns, and the first column the names of the
            rows.
        text: a text that is shown unchanged.
    """

    title: str
    caption: str
    figure: FigureData | None = None
    table: Table | None = None
    text: str | None = None
