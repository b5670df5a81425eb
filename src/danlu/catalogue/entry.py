"""Entries of the catalogue."""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """One entry: its location (``module:attribute``), its family, a title, and the source."""

    target: str
    family: str
    title: str
    source: str


class DataEntry(NamedTuple):
    """One data set: as ``Entry``, with its kind, a key of ``data.kinds.KINDS``.

    ``page`` is the name of the page of settings that its loader takes; empty if it takes none.
    """

    target: str
    family: str
    kind: str
    title: str
    source: str
    page: str = ""
