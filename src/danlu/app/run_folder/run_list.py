"""The runs in a folder: what each trains, its status and its main score."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from danlu.app.run_folder.find_run import runs_in
from danlu.app.run_folder.run_folder import RunFolder
from danlu.errors import DanluError, UsageError


class RunSummary(NamedTuple):
    """One run.

    Attributes:
        path: the run folder.
        recipe: name of the recipe.
        data: name of the data set.
        status: finished, stopped, failed, running or killed; damaged if its files cannot be read.
        round: number of completed rounds: of the end, or of the last entry of the log.
        rounds: number of rounds that were planned.
        score: name and value of the main score: the monitored one, else the first; of a run that has not ended, the
            latest one. None if there is none yet.
        part: part of the data of the score: test, validation or generated.
        started: start of the training, in UTC, as ISO 8601.
    """

    path: Path
    recipe: str
    data: str
    status: str
    round: int
    rounds: int
    score: tuple[str, float] | None
    part: str | None
    started: str


def runs(folder: str | Path = "runs") -> list[RunSummary]:
    """The runs in a folder and its folders, the newest first.

    Args:
        folder: a folder of runs, such as ``runs`` or ``runs/vae``, or one run.

    Raises:
        UsageError: if there is no such folder.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     runs(folder)
    []
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}; `danlu train` creates runs in the folder runs/")
    paths = [folder] if (folder / "run.json").is_file() else runs_in(folder)
    return [_summary(path) for path in paths]


def _summary(path: Path) -> RunSummary:
    try:
        run = RunFolder.open(path)
    except DanluError:
        return RunSummary(path, "", "", "damaged", 0, 0, None, None, "")
    page = run.page
    part, score = _main_score(run)
    done = page["round"]
    if run.status in ("running", "killed"):
        done = int(max((entry["round"] for entry in run.metrics()[-1:]), default=done))
    started = str(page.get("started", ""))
    return RunSummary(
        path, page["recipe"], page["data"].get("name", ""), run.status, done, page["rounds"], score, part, started
    )


def _main_score(run: RunFolder) -> tuple[str | None, tuple[str, float] | None]:
    """The part of the data, and the score; for a run that has not ended, the latest one in the log."""
    best: dict[str, Any] = run.page.get("best") or {}
    for part in ("test", "validation", "generated"):
        values = run.scores.get(part, {})
        if values:
            name = best.get("monitor") if best.get("monitor") in values else next(iter(values))
            return part, (str(name), values[str(name)])
    for entry in reversed(run.metrics()):
        for name, value in entry.items():
            part, _, score = name.partition("/")
            if part in ("validation", "generated"):
                return part, (score, value)
    return None, None
