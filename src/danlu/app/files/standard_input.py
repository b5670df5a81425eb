"""Standard input as a file."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from danlu.errors import RunError, UsageError

NAME = "standard input"


@contextmanager
def files_of(files: Sequence[str | Path]) -> Iterator[tuple[list[str | Path], Callable[[str], str]]]:
    """The files, with "-" replaced by a temporary file with the content of standard input.

    The second value is a function that replaces the path of the temporary file by "standard input" in messages.

    Raises:
        UsageError: if "-" is given twice, or standard input is empty or a terminal.
    """
    asked = [str(file) == "-" for file in files]
    if not any(asked):
        yield list(files), str
        return
    if sum(asked) > 1:
        raise UsageError("standard input can be read once; give - once")
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError("- reads a file from standard input, and nothing is sent there; write `… < FILE`")
    content = sys.stdin.buffer.read()
    if not content:
        raise UsageError("nothing came on standard input")
    suffix = ".parquet" if content[:4] == b"PAR1" else ".csv"
    handle, name = tempfile.mkstemp(suffix)

    def said(text: str) -> str:
        return text.replace(name, NAME)

    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        yield [name if dash else path for dash, path in zip(asked, files, strict=True)], said
    except (UsageError, RunError) as error:
        raise type(error)(said(str(error)), settings=error.settings) from error
    finally:
        os.unlink(name)
