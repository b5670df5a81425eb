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

LOCK = ".lock"
"""file of the exclusive lock"""
_PROCESSES = ".processes"
"""file of the shared lock"""
_SECONDS_BETWEEN_CHECKS = 0.5


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

        handle = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            numbers = [int(word) for word in os.read(handle, 100).split()]
            os.close(handle)
            raise self._in_use([number for number in numbers if is_alive(number)][:1]) from None
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


def join_run(folder: Path) -> None:
    """Hold the shared lock of a run until this process ends."""
    import fcntl

    handle = os.open(folder / _PROCESSES, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    fcntl.flock(handle, fcntl.LOCK_SH)
    os.write(handle, f"{os.getpid()}\n".encode())


def processes_using(folder: Path) -> list[int]:
    """The IDs of the processes that hold the shared lock. IDs of ended processes are removed."""
    import fcntl

    try:
        handle = os.open(folder / _PROCESSES, os.O_RDWR)
    except FileNotFoundError:
        return []
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.truncate(handle, 0)
        return []
    except BlockingIOError:
        numbers = [int(word) for word in os.read(handle, 1 << 16).split()]
        return [number for number in dict.fromkeys(numbers) if is_alive(number)]
    finally:
        os.close(handle)


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
