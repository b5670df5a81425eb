"""Folders of a cache that are there whole or not at all, and are made by one process at a time."""

from __future__ import annotations

import itertools
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from danlu.storage.access import no_progress
from danlu.storage.atomic import FOLDERS, temporary_folder

UNUSED = 30 * 24 * 3600.0
"""seconds after which an entry that nobody has used is removed"""
_PAUSE = 0.1  # seconds after which a process that waits looks again

Progress = Callable[[str, int, int | None], None]


@contextmanager
def locked_entry(shelf: Path, key: str, progress: Progress) -> Iterator[None]:
    """Let one process at a time make an entry; the others wait, and find it made.

    Entries come out right without this too, as they do on disks without locks: it only saves double work, and tells
    which unfinished entries nobody will finish.
    """
    handle = _locked(shelf, key, progress)
    try:
        if handle is not None:
            _sweep(shelf, key)
        yield
    finally:
        if handle is not None:
            _unlock(shelf, key, handle)


def mark_used(file: Path) -> None:
    """Note that the entry which this file belongs to was used now, where that can be written."""
    with suppress(OSError):
        os.utime(file)


def hold(file: BinaryIO) -> None:
    """Keep the entry which this file belongs to, as long as the file is open or mapped."""
    with suppress(ImportError, OSError):
        import fcntl

        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)


def remove_unused(shelf: Path, used: str, held: str) -> None:
    """Remove entries that nobody has used for long; none that somebody holds or makes, and none where locks fail.

    Args:
        shelf: where entries lie.
        used: name of the file in an entry that is marked when it is used.
        held: name of the file that is held while it is in use.
    """
    for entry in shelf.iterdir():
        with suppress(OSError):  # it is somebody else's, or gone meanwhile
            if entry.name[0] != "." and time.time() - (entry / used).stat().st_mtime > UNUSED:
                _remove(shelf, entry, held)


def _remove(shelf: Path, entry: Path, held: str) -> None:
    handle = _locked(shelf, entry.name, no_progress, wait=False)
    if handle is None:
        return
    try:
        if _is_free(entry / held):
            with temporary_folder(shelf, entry.name) as aside:  # an entry goes as it comes: nobody sees half of it
                entry.rename(aside / entry.name)
    finally:
        _unlock(shelf, entry.name, handle)


def _is_free(path: Path) -> bool:
    import fcntl  # there is one, for the entry is locked

    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True


def _unlock(shelf: Path, key: str, handle: int) -> None:
    _lock_file(shelf, key).unlink(missing_ok=True)
    os.close(handle)


def _lock_file(shelf: Path, key: str) -> Path:
    return shelf / f".{key}.lock"


def _locked(shelf: Path, key: str, progress: Progress, wait: bool = True) -> int | None:
    """An open file that holds the lock, which goes with the process; None where there is none to be had."""
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    waited = "wait for another process that decodes these files"
    for tries in itertools.count():
        try:
            handle = os.open(_lock_file(shelf, key), os.O_RDWR | os.O_CREAT, 0o644)
        except OSError:  # somebody else's
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(handle), os.stat(_lock_file(shelf, key))):  # and it was not removed meanwhile
                if tries:
                    progress(waited, 1, 1)
                return handle
        except FileNotFoundError:
            pass
        except BlockingIOError:
            if not wait:
                os.close(handle)
                return None
            progress(waited, 0, None)
            time.sleep(_PAUSE)
        except OSError:
            os.close(handle)
            return None
        os.close(handle)
    return None


def _sweep(shelf: Path, key: str) -> None:
    """Remove what processes have left that were ended while they made an entry."""
    for left in shelf.glob(FOLDERS):
        other = left.name.split("-")[1]
        handle = None if other == key else _locked(shelf, other, no_progress, wait=False)
        if other == key or handle is not None:
            shutil.rmtree(left, ignore_errors=True)
        if handle is not None:
            _unlock(shelf, other, handle)
