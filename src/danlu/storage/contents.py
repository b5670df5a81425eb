"""Digests of files and pages of a cache, which show whether their content is that which was written."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from danlu.storage.atomic import write_bytes, write_text
from danlu.storage.memory_map import file_identity


def file_digest(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def page_digest(page: dict[str, Any]) -> str:
    """The SHA-256 of the values of a JSON file, in hexadecimal; the order of the keys has no effect.

    >>> page_digest({"a": 1, "b": 2}) == page_digest({"b": 2, "a": 1})
    True
    """
    return hashlib.sha256(json.dumps(page, sort_keys=True).encode()).hexdigest()


def write_checked_page(path: Path, page: dict[str, Any]) -> None:
    """Write a JSON file with the digest of its values, which ``read_checked_page`` checks.

    Raises:
        OSError: if it cannot be written.
    """
    write_text(path, json.dumps({**page, "sha256": page_digest(page)}))


def read_checked_page(path: Path) -> dict[str, Any]:
    """Read a JSON file that ``write_checked_page`` wrote.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it is no such file, or a value was changed.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "page.json")
    ...     write_checked_page(path, {"count": 3})
    ...     read_checked_page(path)
    {'count': 3}
    """
    try:
        page = json.loads(path.read_text(encoding="utf-8"))
        is_same = page.pop("sha256") == page_digest(page)  # writing can need more calls than reading
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} has no digest") from error
    if not is_same:
        raise ValueError(f"{path} was changed")
    return page


def has_digest(path: Path, digest: str, remember: Path) -> bool:
    """Whether a file has this SHA-256.

    A large file is read only once: a positive result is stored with the identity of the file (device, inode, size,
    modification and change time). A copy has another identity, and so has a file that was changed, because programs
    cannot set the change time.

    Args:
        path: the file.
        digest: its SHA-256, in hexadecimal.
        remember: file in which the result is stored, in a folder that only this user can write.

    Raises:
        OSError: if the file cannot be read.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "a")
    ...     _ = path.write_bytes(b"content")
    ...     has_digest(path, file_digest(path), Path(folder, "verified")), has_digest(path, "0", Path(folder, "other"))
    (True, False)
    """
    line = _line(path, digest)
    with suppress(FileNotFoundError):
        if remember.read_bytes() == line:
            return True
    if file_digest(path) != digest:
        return False
    with suppress(OSError):  # then it is read again at the next start
        write_bytes(remember, line)
    return True


def remember_digest(path: Path, digest: str, remember: Path) -> None:
    """Store that a file, which this process has just written, has this SHA-256; see ``has_digest``.

    Raises:
        OSError: if it cannot be written.
    """
    write_bytes(remember, _line(path, digest))


def _line(path: Path, digest: str) -> bytes:
    return f"{digest} {file_identity(path)}".encode(errors="surrogateescape")
