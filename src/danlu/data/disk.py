"""What every file needs that must survive a crash, whoever writes it; and what a file looks like that is another."""

from __future__ import annotations

import os
from pathlib import Path


def sync(path: Path) -> None:
    """Bring a file or a folder to the disk, so that it survives a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def looks_like(start: bytes) -> str | None:
    r"""What a file is that should be something else, from its first bytes, if it can be told.

    >>> looks_like(b"\n<!DOCTYPE html><html>"), looks_like(b"a,b"), looks_like(b"\0")
    ('a web page', 'text', None)
    """
    start = start[:200].lstrip()
    kinds = {
        "a web page": start.lower().startswith((b"<!doctype html", b"<html")),
        "a pointer to a large file that was not fetched": start.startswith(b"version https://git-lfs"),
        "text": bool(start) and all(32 <= byte < 127 or byte in b"\t\r\n" for byte in start),
    }
    return next((kind for kind, fits in kinds.items() if fits), None)
