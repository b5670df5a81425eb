"""What went wrong in which of several processes.

When one process fails, the others see no more than a broken connection. So a process that has an error of its own
writes it into the run folder before it lets go of the others, and who has lost a connection looks there for the cause.
If there is none, that process has died without a word, was killed for instance, and all may start anew; an error of
one's own would only come again.
"""

from __future__ import annotations

import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path

from danlu.app.console.error_lines import explain, is_broken_connection
from danlu.storage.atomic import write_text

PATIENCE = 5.0
"""seconds that an error of another process may need to be written, and seen from another machine"""


def cause(folder: Path, rank: int, error: Exception, patience: float = PATIENCE) -> str | None:
    """Why the processes fail, or None if one of them has died without a word.

    Args:
        folder: of the run.
        rank: of this process.
        error: what this process has met; its own is written down.
        patience: seconds to wait for what another process has to say.
    """
    if not is_broken_connection(error):
        _write(folder, rank, error)
        return told(folder)
    end = time.monotonic() + patience
    while (found := told(folder)) is None and time.monotonic() < end:
        time.sleep(0.1)
    return found


def told(folder: Path) -> str | None:
    """What the processes have written, or None if none has: once if several say the same, else each with its rank."""
    said = {path.stem.removeprefix("error-"): _first_line(path) for path in _files(folder)}
    if len(said) > 1 and len(set(said.values())) == 1:
        return said.popitem()[1]
    return "; ".join(f"process {rank}: {line}" for rank, line in said.items()) or None


def others(folder: Path, rank: int) -> bool:
    """Whether another process has written an error."""
    return any(path.name != f"error-{rank}.txt" for path in _files(folder))


def forget(folder: Path) -> None:
    """Before a run goes on."""
    for path in _files(folder):
        path.unlink(missing_ok=True)


def _write(folder: Path, rank: int, error: Exception) -> None:
    path = folder / f"error-{rank}.txt"
    line = explain(error, f"{path} shows where")[1]
    try:
        write_text(path, line + "\n\n" + "".join(traceback.format_exception(error)))
    except OSError:  # a full disk mostly has room for an empty file, and that it is there is what matters
        print(f"danlu: process {rank}: {line}", file=sys.stderr)
        with suppress(OSError):
            path.touch()


def _first_line(path: Path) -> str:
    with suppress(OSError):
        if line := path.read_text(encoding="utf-8").partition("\n\n")[0]:
            return line
    return "failed, and could not write down why"


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("error-*.txt"), key=lambda path: (len(path.name), path.name))
