"""Find the run that a path stands for, and the runs in a folder."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from danlu.app.console.output import print_lines
from danlu.storage.json_page import read_json

DEPTH = 2
"""how deep runs are searched in a folder: runs/RECIPE/RUN is two levels below runs/"""
_announced: set[tuple[Path, Path]] = set()


def find_run(path: str | Path) -> Path:
    """The run that a path stands for: itself, or the newest run of a folder of runs.

    A line on standard error says which run is used, once for each folder and run.

    Args:
        path: a run folder, a model folder, or a folder of runs, such as ``runs/vae`` or ``runs``.

    Returns:
        The newest run, by the time when its training was started; the path itself if it is no folder of runs.

    >>> find_run("runs/missing")
    PosixPath('runs/missing')
    """
    path = Path(path)
    if not path.is_dir() or any((path / name).is_file() for name in ("run.json", "model.json")):
        return path
    found = runs_in(path)
    if not found:
        return path
    newest = found[0]
    if (path, newest) not in _announced:
        _announced.add((path, newest))
        number = "1 run" if len(found) == 1 else f"{len(found)} runs, the newest is used"
        print_lines(f"{path} has {number}: {newest}", sys.stderr)
    return newest


def runs_in(folder: Path) -> list[Path]:
    """The runs in a folder and in its folders, the newest first. Links are not followed.

    Args:
        folder: the folder.
    """
    return sorted(_folders_with_runs(folder, DEPTH), key=_start, reverse=True)


def _folders_with_runs(folder: Path, depth: int) -> Iterator[Path]:
    try:
        inside = [path for path in folder.iterdir() if path.is_dir() and not path.is_symlink()]
    except OSError:  # no permission
        return
    for path in inside:
        if (path / "run.json").is_file():
            yield path
        elif depth > 1:
            yield from _folders_with_runs(path, depth - 1)


def _start(run: Path) -> tuple[str, float, str]:
    """When the training was started; for a page that cannot be read, when it was written. Then the name decides."""
    page = run / "run.json"
    try:
        started = str(read_json(page)["started"])
    except (OSError, ValueError, LookupError, TypeError):
        started = ""
    return started, page.stat().st_mtime, run.name
