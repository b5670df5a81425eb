"""The content of an exported file."""

from __future__ import annotations

from typing import NamedTuple


class Content(NamedTuple):
    """The content of an exported file.

    Attributes:
        data: the bytes.
        verb: what it computes, or None.
        difference: largest difference from the model's own outputs; None if it was not compared.
    """

    data: bytes
    verb: str | None = None
    difference: float | None = None
