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
def with_standard_input(files: Sequence[str | Path]) -> Iterator[tuple[list[str | Path], Callable[[str], str]]]:
    """The files, with "-" replaced by a temporary file with the content of standard input.

    The second value is a function that replaces the path of the temporary file by "standard input" in messages.

    Raises:
        UsageError: if "-" is given twice, or standard input is empty or a terminal.
    """
    is_standard_input = [str(file) == "-" for file in files]
    if not any(is_standard_input):
        yield list(files), str
        return
    if sum(is_standard_input) > 1:
        raise UsageError("- (standard input) can be given only once")
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError("- reads standard input, which is a terminal; redirect a file: `… - < FILE`")
    content = sys.stdin.buffer.read()
    if not content:
        raise UsageError("standard input is empty")
    suffix = ".parquet" if content[:4] == b"PAR1" else ".csv"
    handle, name = tempfile.mkstemp(suffix)

    def display(text: str) -> str:
        return text.replace(name, NAME)

    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        yield [name if dash else path for dash, path in zip(is_standard_input, files, strict=True)], display
    except (UsageError, RunError) as error:
        raise type(error)(display(str(error)), settings=error.settings) from error
    finally:
        os.unlink(name)
