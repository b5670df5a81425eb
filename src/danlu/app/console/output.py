"""Content on standard output that is read again: JSON, recipe files, generated texts, tables.

Messages may lose characters that a terminal cannot show; see ``danlu.app.cli.main``. Content must not.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from danlu.errors import RunError


def print_json(value: Any) -> None:
    """Print one JSON object; characters that the encoding of the output lacks are written as JSON escapes."""
    text = json.dumps(value, ensure_ascii=False)
    print(text if _missing(text) is None else json.dumps(value))


def print_file(text: str) -> None:
    """Print the content of a file that danlu or a shell reads: in UTF-8, whatever the encoding of the output is.

    A terminal shows the text in its own encoding.
    """
    if sys.stdout.isatty() or not hasattr(sys.stdout, "buffer"):
        print(text, end="")
    else:
        print_bytes(text.encode())


def print_text(text: str) -> None:
    """Print a text in the encoding of the output, at once. A terminal shows ? in place of characters that it lacks.

    Raises:
        RunError: if the output is a file or a pipe, and its encoding lacks a character.
    """
    missing = _missing(text)
    if missing is not None and not sys.stdout.isatty():
        raise RunError(
            f"the encoding of standard output, {sys.stdout.encoding}, has no character {missing!a}; set "
            f"PYTHONIOENCODING=utf-8, or use --json"
        )
    print(text, end="", flush=True)


def print_bytes(content: bytes) -> None:
    """Write bytes to standard output.

    Raises:
        RunError: if the output takes text only, as in a notebook.
    """
    buffer = getattr(sys.stdout, "buffer", None)
    if buffer is None:
        raise RunError("standard output is closed or takes text only; give the name of a file instead of -")
    sys.stdout.flush()
    buffer.write(content)
    buffer.flush()


def _missing(text: str) -> str | None:
    """The first character that the encoding of standard output lacks; None if it has all of them."""
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError as error:
        return text[error.start]
    return None
