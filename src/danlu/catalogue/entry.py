"""One row of the catalogue."""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """Where a thing lives (``module:attribute``), its family, what it is, and its source."""

    target: str
    family: str
    title: str
    source: str
