"""Errors of the processes of a run.

When one process fails, the others only see a broken connection. So a process with an error writes it to the run folder
before it disconnects, and processes that lose a connection look there for the cause. If there is none, the process
ended without an error message, for example because it was killed, and all processes can be restarted. After an error
they are not restarted, because it would repeat.
"""

from __future__ import annotations

import os
import time
import traceback
from contextlib import suppress
from pathlib import Path

from danlu.app.console.error_lines import explain, is_broken_connection
from danlu.app.console.output import print_error
from danlu.errors import UsageError
from danlu.storage.atomic import write_text
from danlu.storage.plain_files import open_plain

PATIENCE = 5.0
"""seconds until an error of another process is written and visible on another machine"""


def find_cause(folder: Path, rank: int, error: Exception, patience: float = PATIENCE) -> str | None:
    """The cause of a failure, or None if a process ended without an error message.

    Args:
        folder: the run folder.
        rank: rank of this process.
        error: the error in this process; written to the folder unless it is a broken connection.
        patience: seconds to wait for the error of another process.
    """
    if not is_broken_connection(error):
        _write(folder, rank, error)
        return read_errors(folder)
    end = time.monotonic() + patience
    while (errors := read_errors(folder)) is None and time.monotonic() < end:
        time.sleep(0.1)
    return errors


def read_errors(folder: Path) -> str | None:
    """The errors that processes wrote: once if all are the same, else each with its rank; None if there are none."""
    lines = {path.stem.removeprefix("error-"): _first_line(path) for path in _files(folder)}
    if len(lines) > 1 and len(set(lines.values())) == 1:
        return lines.popitem()[1]
    return "; ".join(f"process {rank}: {line}" for rank, line in lines.items()) or None


def another_failed(folder: Path, rank: int) -> bool:
    """Whether another process wrote an error."""
    return any(path.name != f"error-{rank}.txt" for path in _files(folder))


def remove_errors(folder: Path) -> None:
    """Remove the errors, before a run is resumed."""
    for path in _files(folder):
        path.unlink(missing_ok=True)


def _write(folder: Path, rank: int, error: Exception) -> None:
    path = folder / f"error-{rank}.txt"
    line = explain(error, f"{path} shows where")[1]
    try:
        write_text(path, line + "\n\n" + "".join(traceback.format_exception(error)))
    except OSError:  # a full disk usually has room for an empty file, and its existence is enough
        print_error(f"process {rank}: {line}")
        with suppress(OSError, UsageError):
            os.close(open_plain(path, os.O_WRONLY | os.O_CREAT))


def _first_line(path: Path) -> str:
    with suppress(OSError):
        if line := path.read_text(encoding="utf-8").partition("\n\n")[0]:
            return line
    return "failed, and could not write the reason to disk"


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("error-*.txt"), key=lambda path: (len(path.name), path.name))
