"""Folders of a cache that are either complete or absent, and are created by one process at a time."""

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
from danlu.storage.private_folder import open_lock

UNUSED = 30 * 24 * 3600.0
"""seconds without use after which an entry is removed"""
LONGEST_WAIT = 3600.0
"""seconds that a process waits for another one; after that it creates the entry, too"""
_PAUSE = 0.1  # seconds between two attempts to get the lock

Progress = Callable[[str, int, int | None], None]


@contextmanager
def locked_entry(entries: Path, key: str, progress: Progress) -> Iterator[None]:
    """A context that only one process at a time can enter for an entry; other processes wait, at most an hour.

    Entries are also correct without the lock, for example on file systems without locks, or if the other process does
    not continue. The lock avoids double work, and it shows which unfinished entries belong to processes that have
    ended.
    """
    handle = _lock(entries, key, progress)
    try:
        if handle is not None:
            _remove_leftovers(entries, key)
        yield
    finally:
        if handle is not None:
            _unlock(entries, key, handle)


def mark_used(file: Path) -> None:
    """Set the time of last use of the entry of this file to now, if the file can be written."""
    with suppress(OSError):
        os.utime(file)


def hold(file: BinaryIO) -> None:
    """Protect the entry of this file from removal as long as the file is open or mapped."""
    with suppress(ImportError, OSError):
        import fcntl

        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)


def remove_unused(entries: Path, used: str, held: str) -> None:
    """Remove entries that have not been used for 30 days.

    Entries that a process holds or creates are kept. Without file locks, all entries are kept.

    Args:
        entries: folder of the entries.
        used: name of the file in an entry that ``mark_used`` marks.
        held: name of the file in an entry that ``hold`` locks.
    """
    for entry in entries.iterdir():
        with suppress(OSError):  # it belongs to another user, or was removed meanwhile
            if entry.name[0] != "." and time.time() - (entry / used).stat().st_mtime > UNUSED:
                _remove(entries, entry, held)


def _remove(entries: Path, entry: Path, held: str) -> None:
    handle = _lock(entries, entry.name, no_progress, wait=False)
    if handle is None:
        return
    try:
        if _is_free(entry / held):
            # renamed first, so that no process sees a partial entry
            with temporary_folder(entries, entry.name) as trash:
                entry.rename(trash / entry.name)
    finally:
        _unlock(entries, entry.name, handle)


def _is_free(path: Path) -> bool:
    import fcntl  # available, because the entry is locked

    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True


def _unlock(entries: Path, key: str, handle: int) -> None:
    _lock_file(entries, key).unlink(missing_ok=True)
    os.close(handle)


def _lock_file(entries: Path, key: str) -> Path:
    return entries / f".{key}.lock"


def _lock(entries: Path, key: str, progress: Progress, wait: bool = True) -> int | None:
    """An open file that holds the lock; the system releases it when the process ends. None if there is no lock."""
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    task = "waiting for another process that reads the same files"
    end = time.monotonic() + (LONGEST_WAIT if wait else 0.0)
    for attempt in itertools.count():
        try:
            handle = open_lock(_lock_file(entries, key))
        except OSError:  # it belongs to another user
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(handle), os.stat(_lock_file(entries, key))):  # not removed meanwhile
                if attempt:
                    progress(task, 1, 1)
                return handle
        except FileNotFoundError:
            pass
        except BlockingIOError:
            if time.monotonic() >= end:
                os.close(handle)
                progress(task, 1, 1)
                return None
            progress(task, 0, None)
            time.sleep(_PAUSE)
        except OSError:
            os.close(handle)
            return None
        os.close(handle)
    return None


def _remove_leftovers(entries: Path, key: str) -> None:
    """Remove temporary folders of processes that ended while they created an entry."""
    for leftover in entries.glob(FOLDERS):
        other = leftover.name.split("-")[1]
        handle = None if other == key else _lock(entries, other, no_progress, wait=False)
        if other == key or handle is not None:
            shutil.rmtree(leftover, ignore_errors=True)
        if handle is not None:
            _unlock(entries, other, handle)
