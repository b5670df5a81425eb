"""The folder of a run: its settings, its log and its results."""

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
    """The files of a run. ``with run:`` holds its lock, so that no other process trains in it.

    Attributes:
        path: the folder.
        recipe: the recipe, with all values.
        page: the content of run.json.
        writes: whether this process writes files; of several processes only rank 0 does.
    """

    def __init__(self, path: Path, recipe: Recipe, page: dict[str, Any]):
        self.path, self.recipe, self.page, self.writes = path, recipe, page, True
        self._events = Events(path / "tensorboard")
        self._lock: int | None = None

    @classmethod
    def create(cls, out: str | Path | None, name: str, recipe: Recipe, page: dict[str, Any]) -> RunFolder:
        """Create a run; this process holds its lock.

        Args:
            out: the folder, new or empty; if None, a folder under runs/ named by recipe, time and data.
            name: name of the recipe.
            recipe: the recipe.
            page: the content of run.json.

        Raises:
            UsageError: if the folder is not empty.
            RunError: if the folder cannot be created.
        """
        try:
            path = _fresh_folder(name, recipe.data) if out is None else _given_folder(Path(out))
            run = cls(path, recipe, {"format": FORMAT, **page}).hold()
            try:
                _check_empty(path)  # again, because only now the lock is held
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
        """Open an existing run.

        Raises:
            UsageError: if the folder is not a run, or was written by a newer danlu.
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
        """Access to the data folder of the run; only missing files are downloaded."""
        folder = self.page["data"].get("dir")
        return Access(Path(folder) if folder else None)

    @property
    def scores(self) -> dict[str, dict[str, float]]:
        """Scores by part and name; empty until the run is finished."""
        return self.page.get("scores", {})

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def samples(self) -> Path:
        """The folder of the image grids written during training."""
        return self.path / "samples"

    @property
    def judge(self) -> Path:
        """The folder of the classifier that is the feature extractor for generated examples, if there is one."""
        return self.path / "judge"

    @property
    def model(self) -> Path:
        """The folder of the trained model."""
        return self.path / "model"

    def save_page(self, **news: Any) -> None:
        """Update run.json with the given values."""
        self.page.update(news)
        if self.writes:
            write_text(self.path / "run.json", json.dumps(self.page, indent=2, ensure_ascii=False) + "\n")

    def log(self, entry: dict[str, Any]) -> None:
        """Append a line to metrics.jsonl, and to TensorBoard events if TensorBoard is installed."""
        if not self.writes:
            return
        with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
        self._events.write(entry)

    def metrics(self) -> list[dict[str, float]]:
        """The lines of metrics.jsonl, up to one that a crash truncated."""
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
        """Remove the lines of rounds that will be repeated."""
        kept = [json.dumps(entry) + "\n" for entry in self.metrics() if entry["round"] <= round]
        if self.writes:
            write_text(self.path / "metrics.jsonl", "".join(kept))

    def sync_metrics(self) -> None:
        """Sync the log to disk, so that it survives a power failure."""
        if self.writes and (self.path / "metrics.jsonl").exists():
            sync(self.path / "metrics.jsonl")

    def hold(self) -> Self:
        """Lock the run, so that no other process trains in it. The lock ends with the process.

        Raises:
            UsageError: if another process holds the lock; the message has its process ID.
        """
        if self._lock is not None or not self.writes:
            return self
        import fcntl  # not available on Windows, where danlu does not train

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
        """Write the IDs of the processes that hold the lock, this one first, for messages of other processes."""
        if self._lock is not None:
            os.truncate(self._lock, 0)
            os.pwrite(self._lock, " ".join(map(str, numbers)).encode(), 0)

    def _in_use(self, numbers: list[int]) -> UsageError:
        who = ("processes " if len(numbers) > 1 else "process ") + ", ".join(map(str, numbers))
        what = "wait for them, or stop them" if len(numbers) > 1 else "wait for it, or stop it"
        return UsageError(f"{self.path} is in use by {who if numbers else 'another process'}; {what}")

    def release(self) -> None:
        """Release the lock."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @property
    def handle(self) -> int | None:
        """The file descriptor of the lock, for child processes that keep it after this process ends."""
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
