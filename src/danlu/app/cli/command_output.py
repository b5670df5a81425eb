"""Output that commands share."""

from __future__ import annotations

from typing import Any

from danlu.app.console.output import print_json, print_line
from danlu.errors import UsageError


def say(text: str) -> int:
    """Print a line, and return exit code 0."""
    print_line(text)
    return 0


def as_json(value: Any) -> int:
    """Print one JSON object, and return exit code 0."""
    print_json(value)
    return 0


def check_output(out: str | None, json: bool) -> None:
    """Raise an error if the result and the JSON object would both go to standard output.

    Raises:
        UsageError: in this case.
    """
    if json and out == "-":
        raise UsageError("--json and -o - both write to standard output; give only one of them")
