"""Stopping politely: the first signal finishes the round and saves, the second ends the process at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import suppress
from types import FrameType
from typing import Any

EXIT_CODE = 3
"""Of a run that was stopped and can be resumed."""

_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Interrupt:
    """While it is entered, SIGINT, SIGTERM and SIGHUP set ``asked``; a second one exits without clean-up.

    That is safe at any moment, because files are renamed into place only when they are whole.

    Args:
        quiet: do not tell the user what the first signal does.
    """

    asked = False

    def __init__(self, quiet: bool = False):
        self.quiet = quiet
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():  # elsewhere Python allows no handlers
            self._before = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            with suppress(OSError):
                if sys.stdout and sys.stdout.isatty():
                    os.write(1, b"\x1b[?25h\n")  # the bar has hidden the cursor
            os._exit(128 + number)
        self.asked = True
        if not self.quiet:
            with suppress(OSError):  # the terminal may be gone, and that may be why the signal came
                os.write(2, b"\nFinishing the round and saving; again to leave at once.\n")
