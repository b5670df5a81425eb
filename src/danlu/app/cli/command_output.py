"""Output that commands share."""

from __future__ import annotations

import sys
from typing import Any, TextIO

from danlu.app.console.output import print_json


def say(text: str) -> int:
    """Print a line, and return exit code 0."""
    print(text)
    return 0


def as_json(value: Any) -> int:
    """Print one JSON object, and return exit code 0."""
    print_json(value)
    return 0


def stream(error: str | None) -> TextIO:
    """Where a line is printed: an error to standard error, else standard output."""
    return sys.stderr if error else sys.stdout
