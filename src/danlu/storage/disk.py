"""What every file needs that must survive a crash, whoever writes it; paths that can be written down; and what a file
looks like that is another."""

from __future__ import annotations

import os
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from pathlib import Path

from danlu.errors import UsageError


def sync(path: Path) -> None:
    """Bring a file or a folder to the disk, so that it survives a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def absolute_path(path: str | Path) -> Path:
    """A path from the root on, which recipes and runs can name: they are UTF-8, and the name of a file is any bytes.

    Raises:
        UsageError: if it is not UTF-8.

    >>> absolute_path("/data/../photos")
    PosixPath('/photos')
    """
    whole = Path(path).expanduser().resolve()
    name = str(whole).encode(errors="backslashreplace").decode()
    if name != str(whole):
        raise UsageError(
            f"{name}: this path is not UTF-8, as the recipe of a run is, which names it; rename the file or folder "
            f"(each \\udc… stands for a byte that is not UTF-8)"
        )
    return whole


def looks_like(start: bytes) -> str | None:
    r"""What a file is that should be something else, from its first bytes, if it can be told.

    >>> looks_like(b"\n<!DOCTYPE html><html>"), looks_like(b"a,b"), looks_like(b"\0"), looks_like(b"a\0,\0")
    ('a web page', 'text', None, 'text in UTF-16')
    """
    utf_16 = start.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) or _in_pairs(start[:4]) or _in_pairs(start[3::-1])
    start = start[:200].lstrip()
    kinds = {
        "a gzip archive": start.startswith(b"\x1f\x8b"),
        "a bzip2 archive": start.startswith(b"BZh") and start[4:10] == b"1AY&SY",
        "an xz archive": start.startswith(b"\xfd7zXZ\0"),
        "a ZIP archive": start.startswith(b"PK\x03\x04"),
        "text in UTF-16": utf_16,
        "a web page": start.lower().startswith((b"<!doctype html", b"<html")),
        "a pointer to a large file that was not fetched": start.startswith(b"version https://git-lfs"),
        "text": bool(start) and all(32 <= byte < 127 or byte in b"\t\r\n" for byte in start),
    }
    return next((kind for kind, fits in kinds.items() if fits), None)


def _in_pairs(start: bytes) -> bool:
    """Whether four bytes are two letters of ASCII, each with a NUL after it."""
    return len(start) == 4 and start[1] == start[3] == 0 and bytes((start[0], start[2])).decode("latin-1").isprintable()


def diagnose_weights(content: bytes) -> str:
    """What is wrong with a file that should hold weights, from its content.

    >>> diagnose_weights(b"<!DOCTYPE html><html>")
    'is not weights but looks like a web page'
    """
    if not content:
        return "is not weights but looks like nothing, for it is empty"
    # safetensors begin with the length of their header, whose bytes can be any, and then the header
    if content[:2] == b"PK" or (content[:1] == b"\x80" and content[8:9] != b"{"):
        return "is not weights but looks like a pickle, which could run code; ask for safetensors"
    kind = looks_like(content)
    return f"is not weights but looks like {kind}" if kind else "is damaged"
