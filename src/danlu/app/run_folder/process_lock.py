"""Which processes are at work in a run: each of several holds a lock that they share.

The lock of the run itself is held by the process that the user has started. If that one is killed, those that it has
started may live on for a while, and nobody else may begin before they are gone.
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
"""seconds between two looks at who is there"""


def attend(folder: Path) -> None:
    """Be seen to be at work in a run, until this process ends."""
    import fcntl  # not on Windows, which loads and predicts but does not train

    handle = os.open(folder / _NAME, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    fcntl.flock(handle, fcntl.LOCK_SH)
    os.write(handle, f"{os.getpid()}\n".encode())


def at_work(folder: Path) -> list[int]:
    """Numbers of the processes that are at work in a run; those that have ended are forgotten."""
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
    """Wait until nobody is at work in a run any more; whether that came true."""
    end = time.monotonic() + seconds
    while at_work(folder):
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def stop_without(parent: int) -> None:
    """Have this process stop in its own way when the one that has started it is gone."""

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=look, daemon=True).start()


def is_alive(number: int) -> bool:
    """Whether there is a process of that number."""
    with suppress(ProcessLookupError):
        with suppress(PermissionError):
            os.kill(number, 0)
        return True
    return False
