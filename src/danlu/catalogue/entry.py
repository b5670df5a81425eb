"""One row of the catalogue."""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """One entry: its location (``module:attribute``), its family, a title, and the source."""

    target: str
    family: str
    title: str
    source: str


class DataEntry(NamedTuple):
    """The same of a data set, its kind (a key of ``data.kinds.KINDS``), and whether its kind's settings apply to it."""

    target: str
    family: str
    kind: str
    title: str
    source: str
    has_settings: bool = False
