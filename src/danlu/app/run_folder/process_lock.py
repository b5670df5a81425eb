"""The locks of a run folder: which processes are using it.

The process that the user started holds the exclusive lock (``RunLock``). With several processes, each of them also
holds a shared lock (``join_run``): if the first process is killed, the others may continue for a while, and no other
process may start on the run before they end.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

from danlu.errors import UsageError
from danlu.storage.private_folder import open_lock

LOCK = ".lock"
"""file of the exclusive lock"""
_PROCESSES = ".processes"
"""file of the shared lock"""
_SECONDS_BETWEEN_CHECKS = 0.5
_JOIN_TIMEOUT = 60.0  # seconds
_DIGITS = 9  # of a process ID


class RunLock:
    """The exclusive lock of a run folder. The operating system releases it when the process ends.

    Args:
        folder: the run folder.

    Attributes:
        handle: file descriptor of the lock while it is held, else None. A child process that inherits it keeps the
            lock.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.handle: int | None = None

    def acquire(self) -> None:
        """Acquire the lock, unless it is held already.

        Raises:
            UsageError: if another process uses the run; the message has its process ID.
        """
        if self.handle is not None:
            return
        import fcntl  # not available on Windows, where danlu does not train

        handle = open_lock(self.folder / LOCK)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            numbers = _process_ids(handle)
            os.close(handle)
            raise self._in_use(numbers[:1]) from None
        if numbers := processes_using(self.folder):
            os.close(handle)
            raise self._in_use(numbers)
        self.handle = handle
        self.write_process_ids(os.getpid())

    def write_process_ids(self, *numbers: int) -> None:
        """Write the IDs of the processes that hold the lock, this one first, for messages of other processes."""
        if self.handle is not None:
            os.truncate(self.handle, 0)
            os.pwrite(self.handle, " ".join(map(str, numbers)).encode(), 0)

    def release(self) -> None:
        """Release the lock."""
        if self.handle is not None:
            os.close(self.handle)
            self.handle = None

    def _in_use(self, numbers: list[int]) -> UsageError:
        who = ("processes " if len(numbers) > 1 else "process ") + ", ".join(map(str, numbers))
        what = "wait for them, or stop them" if len(numbers) > 1 else "wait for it, or stop it"
        return UsageError(f"{self.folder} is in use by {who if numbers else 'another process'}; {what}")


def is_locked(folder: Path) -> bool:
    """Whether a process holds the exclusive lock of a run, or its other processes still run. Nothing is changed."""
    import fcntl

    try:
        handle = os.open(folder / LOCK, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:  # there is no lock, or it belongs to another user
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    with suppress(OSError):  # of another user
        return bool(processes_using(folder))
    return False


def join_run(folder: Path) -> None:
    """Hold the shared lock of a run until this process ends.

    Raises:
        UsageError: if another process holds the exclusive lock for a minute.
    """
    import fcntl

    handle, end = open_lock(folder / _PROCESSES, os.O_APPEND), time.monotonic() + _JOIN_TIMEOUT
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            break
        except BlockingIOError:  # another process holds it for a moment, to see whether there are processes
            if time.monotonic() > end:
                raise UsageError(f"{folder / _PROCESSES} is locked by another process; stop it") from None
            time.sleep(0.01)
    os.write(handle, f"{os.getpid()}\n".encode())


def processes_using(folder: Path) -> list[int]:
    """The IDs of the processes that hold the shared lock. IDs of ended processes are removed."""
    import fcntl

    if not (folder / _PROCESSES).exists():
        return []
    handle = open_lock(folder / _PROCESSES)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.truncate(handle, 0)
        return []
    except BlockingIOError:
        return _process_ids(handle)
    finally:
        os.close(handle)


def _process_ids(handle: int) -> list[int]:
    """The IDs of living processes in a lock file; the file may come from elsewhere, and other text is ignored."""
    words = os.pread(handle, 1 << 16, 0).split()
    numbers = [int(word) for word in words if word.isdigit() and len(word) <= _DIGITS]
    return [number for number in dict.fromkeys(numbers) if is_alive(number)]


def wait_for_processes(folder: Path, seconds: float) -> bool:
    """Wait until no process holds the shared lock; return whether this happened within the given seconds."""
    end = time.monotonic() + seconds
    while processes_using(folder):
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def stop_after_parent(parent: int) -> None:
    """Send SIGTERM to this process when its parent process has ended."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_SECONDS_BETWEEN_CHECKS)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def is_alive(number: int) -> bool:
    """Whether a process with this ID exists."""
    with suppress(ProcessLookupError):
        with suppress(PermissionError):
            os.kill(number, 0)
        return True
    return False
