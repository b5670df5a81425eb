"""Fetching a file of known content: from the first mirror that delivers it whole, however often it breaks off."""

from __future__ import annotations

import hashlib
import http.client
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from danlu.errors import RunError

Progress = Callable[[str, int, int | None], None]

TRIES = 3
"""times that a mirror is asked before the next one is"""
SILENCE = 30.0
"""seconds without a byte after which a mirror is given up for the moment"""
_BLOCK = 1 << 18


@dataclass(frozen=True)
class File:
    """A file of known content.

    Attributes:
        name: what it is called.
        size: in bytes.
        sha256: of the content, in hexadecimal.
    """

    name: str
    size: int
    sha256: str


def fetch(
    file: File, mirrors: Sequence[str], folder: Path, progress: Progress, silence: float = SILENCE, pause: float = 1.0
) -> Path:
    """Bring a file into a folder; what a broken connection has left is gone on with.

    Args:
        file: which one.
        mirrors: addresses of folders that have it, in the order in which to ask them.
        folder: where to; it is made if it is not there.
        progress: is told how many bytes are there.
        silence: seconds without a byte after which a connection is given up.
        pause: seconds before the second try; each further one waits twice as long.

    Raises:
        RunError: if no mirror delivers it, with what each one said.
    """
    final, part = folder / file.name, folder / f".{file.name}.{os.getpid()}"
    said: list[str] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for mirror in mirrors:
            address, problem = f"{mirror.rstrip('/')}/{file.name}", None
            for number in range(TRIES):
                if number:
                    time.sleep(pause * 2 ** (number - 1))
                problem = _go_on(address, file, part, progress, silence)
                if problem is None:
                    part.replace(final)
                    return final
            said.append(f"  {address}: {problem}")
    except OSError as error:
        raise RunError(f"cannot write {part}, which needs {file.size:,} bytes: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            part.unlink()
    raise RunError(
        f"{file.name} could not be fetched:\n" + "\n".join(said) + "\n"
        "Try again later, or download the file yourself and set data_dir to its folder",
        settings=("data_dir",),
    )


def _go_on(address: str, file: File, part: Path, progress: Progress, silence: float) -> str | None:
    """One try, from where the last one broke off; what went wrong, or None."""
    there = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(address, headers={"Range": f"bytes={there}-"} if there else {})
    try:
        with urllib.request.urlopen(request, timeout=silence) as answer:
            if there and answer.status != http.client.PARTIAL_CONTENT:
                there = 0  # the server sends the whole of it again
            with part.open("r+b" if there else "wb") as out:
                out.seek(there)
                while there < file.size + 1 and (block := answer.read(_BLOCK)):
                    out.write(block)
                    there += len(block)
                    progress(file.name, there, file.size)
    except urllib.error.HTTPError as error:
        part.unlink(missing_ok=True)
        return f"{error.code} {error.reason}"
    except TimeoutError:
        return f"no byte came for {silence:g} seconds"
    except (urllib.error.URLError, http.client.HTTPException, ConnectionError) as error:
        return str(getattr(error, "reason", None) or error or type(error).__name__)
    if there < file.size:
        return f"it broke off after {there:,} of {file.size:,} bytes"
    problem = wrong(part, file)
    if problem:
        part.unlink()  # nobody knows which byte is wrong
    return problem


def wrong(path: Path, file: File) -> str | None:
    """What is wrong with a file that should have a known content, or None.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as f:
    ...     wrong(Path(f.name), File("f", 1, ""))
    'it has 0 bytes instead of 1'
    """
    if (size := path.stat().st_size) != file.size:
        return f"it has {size:,} bytes instead of {file.size:,}"
    with path.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    return None if digest == file.sha256 else f"its SHA-256 is {digest[:12]}… instead of {file.sha256[:12]}…"
