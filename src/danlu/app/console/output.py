"""Everything that is printed, except the lines of ``progress``: messages, and content that is read again.

In messages, control characters are escaped, and characters that a terminal cannot show may be lost; see
``danlu.app.cli.main``. Content (JSON, recipe files, generated texts, tables) must not change: its control characters
are escaped only in a terminal, and in JSON by JSON's own escapes.
"""

from __future__ import annotations

import json
import sys
from typing import Any, TextIO

from danlu.errors import RunError
from danlu.printable import HIDDEN, printable, printable_lines


def print_line(text: str, file: TextIO | None = None) -> None:
    """Print one line of a message; a line break in a name is escaped, too. Standard output if no file is given."""
    print(printable(text), file=file)


def print_lines(text: str, file: TextIO | None = None) -> None:
    """Print a message of several lines. Standard output if no file is given."""
    print(printable_lines(text), file=file, flush=file is sys.stderr)


def print_error(text: str) -> None:
    """Print an error message, which may have several lines, to standard error."""
    print_lines(f"danlu: {text}", sys.stderr)


def print_json(value: Any) -> None:
    """Print one JSON object; control characters, and those that the output's encoding lacks, are JSON escapes."""
    text = json.dumps(value, ensure_ascii=False)
    if _missing(text) is not None:
        text = json.dumps(value)
    print(HIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text))


def print_file(text: str) -> None:
    """Print the content of a file that danlu or a shell reads: in UTF-8, whatever the encoding of the output is.

    A terminal shows the text in its own encoding, with control characters escaped.
    """
    if sys.stdout.isatty() or not hasattr(sys.stdout, "buffer"):
        print(_shown(text), end="")
    else:
        print_bytes(text.encode())


def print_text(text: str) -> None:
    """Print a text in the encoding of the output, at once.

    A terminal shows ? in place of characters that it lacks, and control characters as escapes.

    Raises:
        RunError: if the output is a file or a pipe, and its encoding lacks a character.
    """
    missing = _missing(text)
    if missing is not None and not sys.stdout.isatty():
        raise RunError(
            f"the encoding of standard output, {sys.stdout.encoding}, has no character {missing!a}; set "
            f"PYTHONIOENCODING=utf-8, or use --json"
        )
    print(_shown(text), end="", flush=True)


def print_bytes(content: bytes) -> None:
    """Write bytes to standard output. They are text if it is a terminal, which shows control characters as escapes.

    Raises:
        RunError: if the output takes text only, as in a notebook.
    """
    buffer = getattr(sys.stdout, "buffer", None)
    if buffer is None:
        raise RunError("standard output is closed or takes text only; give the name of a file instead of -")
    sys.stdout.flush()
    buffer.write(printable_lines(content.decode(errors="replace")).encode() if sys.stdout.isatty() else content)
    buffer.flush()


def _shown(text: str) -> str:
    return printable_lines(text) if sys.stdout.isatty() else text


def _missing(text: str) -> str | None:
    """The first character that the encoding of standard output lacks; None if it has all of them."""
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError as error:
        return text[error.start]
    return None
