"""Stopping politely: the first signal finishes the round and saves, the second ends the process at once."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType

EXIT_CODE = 3
"""Of a run that was stopped and can be resumed."""


class Interrupt:
    """While it is entered, SIGINT and SIGTERM set ``asked``; a second one exits without clean-up.

    That is safe at any moment, because files are renamed into place only when they are whole.
    """

    asked = False

    def __enter__(self) -> Interrupt:
        self._before = {}
        if threading.current_thread() is threading.main_thread():  # elsewhere Python allows no handlers
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            os._exit(128 + number)
        self.asked = True
