"""Reports of runs whose figures are not drawn."""

from collections.abc import Iterator
from contextlib import contextmanager
from inspect import signature

import pytest

from danlu.app.report.section import FigureData
from danlu.catalogue.lookup import resolve


@contextmanager
def undrawn_reports() -> Iterator[None]:
    """Reports have an empty figure for each: to draw figures takes ten times as long as to train a small model.

    Every figure must have a function that draws it, and the arguments of the function.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("danlu.app.report.html_report.draw", _undrawn)
        yield


def _undrawn(data: FigureData) -> object:
    from matplotlib.figure import Figure

    from danlu.app.report.figures.all_figures import FIGURES

    signature(resolve(FIGURES[data.name])).bind(**data.values)
    return Figure()
