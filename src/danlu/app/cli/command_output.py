"""Output that commands share."""

from __future__ import annotations

from typing import Any

from danlu.app.console.output import print_json, print_line


def say(text: str) -> int:
    """Print a line, and return exit code 0."""
    print_line(text)
    return 0


def as_json(value: Any) -> int:
    """Print one JSON object, and return exit code 0."""
    print_json(value)
    return 0
