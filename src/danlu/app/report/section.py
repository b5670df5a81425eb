"""What a section of the report holds: a title, a caption, and a figure, a table or a text."""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib.figure import Figure

Scores = dict[str, dict[str, float]]
Table = list[tuple[str, ...]]


@dataclass(frozen=True)
class Section:
    """A part of the report.

    Attributes:
        title: its heading.
        caption: what is to be seen, in a sentence or two.
        figure: a picture, if there is one.
        table: rows of one length, if there are any; the first holds the names of the columns, and the first column
            the names of the rows.
        text: to stand as it is.
    """

    title: str
    caption: str
    figure: Figure | None = None
    table: Table | None = None
    text: str | None = None
