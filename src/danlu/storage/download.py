"""Download a file of known content from a list of mirrors; an interrupted download is resumed."""

from __future__ import annotations

import hashlib
import http.client
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BufferedRandom, BufferedReader
from pathlib import Path

from danlu.errors import RunError
from danlu.storage.atomic import replacing
from danlu.storage.plain_files import check_parents

Progress = Callable[[str, int, int | None], None]

ATTEMPTS = 3
"""attempts per mirror"""
TIMEOUT = 30.0
"""seconds without data after which a connection is closed"""
_BLOCK = 1 << 18


@dataclass(frozen=True)
class File:
    """A file of known content.

    Attributes:
        name: file name.
        size: size in bytes.
        sha256: SHA-256 of the content, in hexadecimal.
    """

    name: str
    size: int
    sha256: str


def fetch(
    file: File, mirrors: Sequence[str], folder: Path, progress: Progress, timeout: float = TIMEOUT, pause: float = 1.0
) -> Path:
    """Download a file into a folder; an interrupted download is resumed.

    Args:
        file: the file.
        mirrors: URLs of folders that contain the file, in the order in which they are tried.
        folder: destination; it is created if needed.
        progress: progress callback, called with the number of bytes.
        timeout: seconds without data after which a connection is closed.
        pause: seconds before the second attempt; the pause doubles with each further attempt.

    Raises:
        RunError: if no mirror delivers the file; the message has the error of each.
        UsageError: if the path of the folder leads through a link of another user; see ``check_parents``.
    """
    final = folder / file.name
    try:
        check_parents(final)
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(final) as part:
            _try_mirrors(file, mirrors, part, progress, timeout, pause)
    except OSError as error:
        raise RunError(f"cannot write {final} ({file.size:,} bytes): {error.strerror or error}") from error
    return final


def _try_mirrors(
    file: File, mirrors: Sequence[str], part: BufferedRandom, progress: Progress, timeout: float, pause: float
) -> None:
    """Download a file into an open one, from the first mirror that delivers it."""
    errors: list[str] = []
    for mirror in mirrors:
        address, problem = f"{mirror.rstrip('/')}/{file.name}", None
        for number in range(ATTEMPTS):
            if number:
                time.sleep(pause * 2 ** (number - 1))
            problem = _download(address, file, part, progress, timeout)
            if problem is None:
                return
        errors.append(f"  {address}: {problem}")
    raise RunError(
        f"{file.name} could not be downloaded:\n" + "\n".join(errors) + "\n"
        "Try again later, or download the file yourself and set data_dir to its folder",
        settings=("data_dir",),
    )


def _download(address: str, file: File, part: BufferedRandom, progress: Progress, timeout: float) -> str | None:
    """One attempt, which resumes the previous one. Returns the error message, or None."""
    received = part.seek(0, os.SEEK_END)
    request = urllib.request.Request(address, headers={"Range": f"bytes={received}-"} if received else {})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            if received and response.status != http.client.PARTIAL_CONTENT:
                received = 0  # the server sends the whole file again
                part.truncate(part.seek(0))
            while received < file.size + 1 and (block := response.read(_BLOCK)):
                part.write(block)
                received += len(block)
                progress(file.name, received, file.size)
    except urllib.error.HTTPError as error:
        part.truncate(part.seek(0))
        return f"{error.code} {error.reason}"
    except TimeoutError:
        return f"no data for {timeout:g} seconds"
    except (urllib.error.URLError, http.client.HTTPException, ConnectionError) as error:
        return str(getattr(error, "reason", None) or error or type(error).__name__)
    if received < file.size:
        return f"connection closed after {received:,} of {file.size:,} bytes"
    problem = _differs(part, file)
    if problem:
        part.truncate(part.seek(0))  # it is not known which bytes are wrong
    return problem


def mismatch(path: Path, file: File) -> str | None:
    """How a file differs from its expected size and checksum, or None if it does not differ.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as f:
    ...     mismatch(Path(f.name), File("f", 1, ""))
    '0 bytes, expected 1'
    """
    with path.open("rb") as content:
        return _differs(content, file)


def _differs(content: BufferedReader | BufferedRandom, file: File) -> str | None:
    if (size := content.seek(0, os.SEEK_END)) != file.size:
        return f"{size:,} bytes, expected {file.size:,}"
    content.seek(0)
    digest = hashlib.file_digest(content, "sha256").hexdigest()
    return None if digest == file.sha256 else f"SHA-256 {digest[:12]}…, expected {file.sha256[:12]}…"
