"""Sync files to the disk, absolute paths, and recognition of file types."""

from __future__ import annotations

import os
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from pathlib import Path

from danlu.errors import UsageError
from danlu.limits import HEADER_BYTES


def sync(path: Path) -> None:
    """Write a file or folder to the disk, so that it survives a power failure."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def absolute_path(path: str | Path) -> Path:
    """The absolute path, which must be valid UTF-8, because recipe files contain it.

    Raises:
        UsageError: if the path is not UTF-8.

    >>> absolute_path("/data/../photos")
    PosixPath('/photos')
    """
    absolute = Path(path).expanduser().resolve()
    name = str(absolute).encode(errors="backslashreplace").decode()
    if name != str(absolute):
        raise UsageError(
            f"{name}: the path is not valid UTF-8, so it cannot be stored in a recipe file; rename the file or folder "
            f"(each \\udc… is a byte that is not UTF-8)"
        )
    return absolute


def looks_like(start: bytes) -> str | None:
    r"""The type of a file, determined from its first bytes, or None if it is not recognized.

    >>> looks_like(b"\n<!DOCTYPE html><html>"), looks_like(b"a,b"), looks_like(b"\0"), looks_like(b"a\0,\0")
    ('a web page', 'text', None, 'text in UTF-16')
    """
    utf_16 = start.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) or _in_pairs(start[:4]) or _in_pairs(start[3::-1])
    start = start[:200].lstrip()
    types = {
        "a gzip archive": start.startswith(b"\x1f\x8b"),
        "a bzip2 archive": start.startswith(b"BZh") and start[4:10] == b"1AY&SY",
        "an xz archive": start.startswith(b"\xfd7zXZ\0"),
        "a ZIP archive": start.startswith(b"PK\x03\x04"),
        "text in UTF-16": utf_16,
        "a web page": start.lower().startswith((b"<!doctype html", b"<html")),
        "a Git LFS pointer": start.startswith(b"version https://git-lfs"),
        "text": bool(start) and all(32 <= byte < 127 or byte in b"\t\r\n" for byte in start),
    }
    return next((name for name, matches in types.items() if matches), None)


def _in_pairs(start: bytes) -> bool:
    """Whether four bytes are two ASCII letters, each followed by NUL."""
    return len(start) == 4 and start[1] == start[3] == 0 and bytes((start[0], start[2])).decode("latin-1").isprintable()


def check_header(start: bytes) -> None:
    """Check the size of the header of a safetensors file.

    Args:
        start: the file, or its first 8 bytes, which are the size of the header.

    Raises:
        ValueError: if the header is too large.
    """
    if (size := int.from_bytes(start[:8], "little")) > HEADER_BYTES:
        raise ValueError(f"its header has {size:,} bytes, and at most {HEADER_BYTES:,} are allowed")


def diagnose_weights(content: bytes) -> str:
    """The problem of a file that should contain weights, determined from its content, as a predicate.

    >>> diagnose_weights(b"<!DOCTYPE html><html>")
    'is not a weights file; it looks like a web page'
    """
    if not content:
        return "is empty"
    # a safetensors file begins with the length of its header, which can be any bytes, and then has the header
    if content[:2] == b"PK" or (content[:1] == b"\x80" and content[8:9] != b"{"):
        return "is a pickle file, which can run arbitrary code; use a safetensors file"
    kind = looks_like(content)
    return f"is not a weights file; it looks like {kind}" if kind else "is damaged"
