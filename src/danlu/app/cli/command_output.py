"""What the verbs of the command line share: words become a call, and what is said of it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any, TextIO

import tyro


def parsed(verb: str, command: Callable[..., int], words: list[str]) -> int:
    """Call a command with the words that follow its verb; its exit code."""
    return tyro.cli(command, prog=f"danlu {verb}", args=words)


def say(text: str) -> int:
    """A line, and exit code 0."""
    print(text)
    return 0


def as_json(value: Any) -> int:
    """One JSON object, and exit code 0."""
    json.dump(value, sys.stdout, ensure_ascii=False)
    print()
    return 0


def stream(error: str | None) -> TextIO:
    """Where a line goes: errors to standard error."""
    return sys.stderr if error else sys.stdout
