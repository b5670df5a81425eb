"""One row of the catalogue."""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """One entry: its location (``module:attribute``), its family, a title, and the source."""

    target: str
    family: str
    title: str
    source: str
