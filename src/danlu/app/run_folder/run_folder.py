"""A run is a folder: what was asked for, what happened, and what came out of it."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from danlu.app.console.formatting import quoted
from danlu.app.run_folder.process_lock import at_work, is_alive
from danlu.app.run_folder.tensorboard import Events
from danlu.errors import RunError, UsageError
from danlu.recipes.config.recipe import Recipe
from danlu.recipes.config.yaml_files import from_yaml, to_yaml
from danlu.storage.access import Access
from danlu.storage.atomic import write_text
from danlu.storage.disk import sync
from danlu.storage.json_page import read_page

FORMAT = 1
_NEEDED = {"recipe", "status", "command", "versions", "device", "threads", "ranks", "data", "round", "rounds"}


class RunFolder:
    """The files of a run. ``with run:`` holds it, so that no other process trains in it.

    Attributes:
        path: the folder.
        recipe: what is trained, resolved.
        page: the content of run.json.
        writes: whether this process writes; of several that train together only the first does.
    """

    def __init__(self, path: Path, recipe: Recipe, page: dict[str, Any]):
        self.path, self.recipe, self.page, self.writes = path, recipe, page, True
        self._events = Events(path / "tensorboard")
        self._lock: int | None = None

    @classmethod
    def create(cls, out: str | Path | None, name: str, recipe: Recipe, page: dict[str, Any]) -> RunFolder:
        """A new run, held by this process.

        Args:
            out: the folder, new or empty; if None one is made under runs/ from name, time and data.
            name: the recipe's name.
            recipe: what is trained.
            page: what is known about the run so far.

        Raises:
            UsageError: if the folder holds something.
            RunError: if it cannot be made.
        """
        try:
            path = _fresh_folder(name, recipe.data) if out is None else _given_folder(Path(out))
            run = cls(path, recipe, {"format": FORMAT, **page}).hold()
            try:
                _check_empty(path)  # again, now that nobody else can be at it
                write_text(path / "recipe.yaml", to_yaml(recipe))
                run.save_page()
            except BaseException:
                run.release()
                raise
        except OSError as error:
            raise RunError(f"cannot make the run folder {out or 'under runs/'}: {error.strerror or error}") from error
        return run

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """A run that is there.

        Raises:
            UsageError: if the folder holds no run, or one of a newer danlu.
            RunError: if its files are damaged.
        """
        path = Path(path)
        page_path = path / "run.json"
        if not page_path.is_file():
            hint = "" if path.is_dir() else " (there is no such folder)"
            raise UsageError(f"{path} is not a run{hint}: a run folder holds run.json, and `danlu train` makes one")
        return cls(path, from_yaml(path / "recipe.yaml"), read_page(page_path, FORMAT, _NEEDED))

    def __repr__(self) -> str:
        return f"<run {self.path}: {self.page['recipe']}, {self.page['status']}>"

    def access(self) -> Access:
        """What was used to get the data, but that now nothing is fetched unless it is missing."""
        folder = self.page["data"].get("dir")
        return Access(Path(folder) if folder else None)

    @property
    def scores(self) -> dict[str, dict[str, float]]:
        """Scores by part and name, once the run is finished."""
        return self.page.get("scores", {})

    @property
    def checkpoints(self) -> Path:
        """Where the checkpoints are."""
        return self.path / "checkpoints"

    @property
    def samples(self) -> Path:
        """Where the pictures are that were drawn while it trained."""
        return self.path / "samples"

    @property
    def judge(self) -> Path:
        """Where the classifier is that judges generated examples, if there is one."""
        return self.path / "judge"

    @property
    def model(self) -> Path:
        """Where the finished model is."""
        return self.path / "model"

    def save_page(self, **news: Any) -> None:
        """Add to run.json."""
        self.page.update(news)
        if self.writes:
            write_text(self.path / "run.json", json.dumps(self.page, indent=2, ensure_ascii=False) + "\n")

    def log(self, entry: dict[str, Any]) -> None:
        """Add a line to metrics.jsonl, and to TensorBoard's events where that is installed."""
        if not self.writes:
            return
        with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
        self._events.write(entry)

    def metrics(self) -> list[dict[str, float]]:
        """The lines of metrics.jsonl, up to one that a crash cut off."""
        path = self.path / "metrics.jsonl"
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n") if path.exists() else []
        entries = []
        for line in lines:
            try:
                entry = json.loads(line)
            except ValueError:
                break
            if not isinstance(entry, dict) or "round" not in entry:
                break
            entries.append(entry)
        return entries

    def forget_metrics_after(self, round: int) -> None:
        """Drop the lines of rounds that will be played again."""
        kept = [json.dumps(entry) + "\n" for entry in self.metrics() if entry["round"] <= round]
        if self.writes:
            write_text(self.path / "metrics.jsonl", "".join(kept))

    def sync_metrics(self) -> None:
        """Make sure that the log survives a power cut."""
        if self.writes and (self.path / "metrics.jsonl").exists():
            sync(self.path / "metrics.jsonl")

    def hold(self) -> Self:
        """Keep other processes from training here. The lock goes with the process, however it ends.

        Raises:
            UsageError: if another process holds it; the message has its number.
        """
        if self._lock is not None or not self.writes:
            return self
        import fcntl  # not on Windows, which loads and predicts but does not train

        handle = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            named = [int(word) for word in os.read(handle, 100).split()]
            os.close(handle)
            raise self._in_use([number for number in named if is_alive(number)][:1]) from None
        if others := at_work(self.path):
            os.close(handle)
            raise self._in_use(others)
        self._lock = handle
        self.name_holders(os.getpid())
        return self

    def name_holders(self, *numbers: int) -> None:
        """Write down the numbers of the processes that hold the run, this one first, for whoever else wants it."""
        if self._lock is not None:
            os.truncate(self._lock, 0)
            os.pwrite(self._lock, " ".join(map(str, numbers)).encode(), 0)

    def _in_use(self, numbers: list[int]) -> UsageError:
        who = ("processes " if len(numbers) > 1 else "process ") + ", ".join(map(str, numbers))
        what = "wait for them, or stop them" if len(numbers) > 1 else "wait for it, or stop it"
        return UsageError(f"{self.path} is in use by {who if numbers else 'another process'}; {what}")

    def release(self) -> None:
        """Let others have it."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @property
    def handle(self) -> int | None:
        """The open lock, for a process that is to keep holding it when this one is gone."""
        return self._lock

    def __enter__(self) -> Self:
        return self.hold()

    def __exit__(self, *exception: object) -> None:
        self.release()


def _given_folder(path: Path) -> Path:
    if path.exists():
        _check_empty(path)
    else:
        path.mkdir(parents=True)
    return path


def _check_empty(path: Path) -> None:
    if (path / "run.json").exists():
        raise UsageError(
            f"{path} holds a run already; go on with `danlu resume {quoted(path)}`, or choose another --out"
        )
    if not path.is_dir() or any(inside.name != ".lock" for inside in path.iterdir()):
        raise UsageError(f"{path} is not an empty folder; choose another --out")


def _fresh_folder(name: str, data: str) -> Path:
    word = "".join(c if c.isalnum() or c in "-_." else "-" for c in data).strip("-.")[:40] or "data"
    first = Path("runs") / name / f"{datetime.now():%Y-%m-%d-%H%M}-{word}"
    path, number = first, 1
    while True:
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            number += 1
            path = first.with_name(f"{first.name}-{number}")
        else:
            return path
