"""The processes that use a run: each of several holds a shared lock.

The process that the user started holds the lock of the run itself. If it is killed, the processes that it started may
continue for a while. No other process may start on the run before they end.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

_NAME = ".at-work"
_LOOK = 0.5
"""seconds between checks"""


def attend(folder: Path) -> None:
    """Hold the shared lock of a run until this process ends."""
    import fcntl  # not available on Windows, where danlu does not train

    handle = os.open(folder / _NAME, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    fcntl.flock(handle, fcntl.LOCK_SH)
    os.write(handle, f"{os.getpid()}\n".encode())


def at_work(folder: Path) -> list[int]:
    """The IDs of the processes that use a run. IDs of ended processes are removed."""
    import fcntl

    try:
        handle = os.open(folder / _NAME, os.O_RDWR)
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


def wait_for_all(folder: Path, seconds: float) -> bool:
    """Wait until no process uses a run; return whether this happened within the given seconds."""
    end = time.monotonic() + seconds
    while at_work(folder):
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def stop_without(parent: int) -> None:
    """Send SIGTERM to this process when its parent process ends."""

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=look, daemon=True).start()


def is_alive(number: int) -> bool:
    """Whether a process with this ID exists."""
    with suppress(ProcessLookupError):
        with suppress(PermissionError):
            os.kill(number, 0)
        return True
    return False
