"""Signals: the first one finishes the round and saves, a second one ends the process at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import suppress
from types import FrameType
from typing import Any

EXIT_CODE = 3
"""exit code of a run that was stopped and can be resumed"""

_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Interrupt:
    """Context manager in which SIGINT, SIGTERM and SIGHUP set ``asked``; a second signal exits without clean-up.

    This is safe at any time, because complete files are renamed into place.

    Args:
        quiet: print no message at the first signal.
    """

    asked = False

    def __init__(self, quiet: bool = False):
        self.quiet = quiet
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():  # Python allows signal handlers only there
            self._before = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            with suppress(OSError):
                if sys.stdout and sys.stdout.isatty():
                    os.write(1, b"\x1b[?25h\n")  # show the cursor, which the progress bar hides
            os._exit(128 + number)
        self.asked = True
        if not self.quiet:
            with suppress(OSError):  # the terminal may be closed, which sends SIGHUP
                os.write(2, b"\nFinishing the round and saving. Press Ctrl-C again to exit at once.\n")
