"""A run is a folder: what was asked for, what happened, and what came out of it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from danlu.app.events import Events
from danlu.errors import RunError, UsageError
from danlu.recipes.files import from_yaml, to_yaml
from danlu.recipes.recipe import Recipe

FORMAT = 1


class RunFolder:
    """The files of a run.

    Attributes:
        path: the folder.
        recipe: what is trained, resolved.
        page: the content of run.json.
        writes: whether this process writes; of several that train together only the first does.
    """

    def __init__(self, path: Path, recipe: Recipe, page: dict[str, Any]):
        self.path, self.recipe, self.page, self.writes = path, recipe, page, True
        self._events = Events(path / "tensorboard")

    @classmethod
    def create(cls, out: str | Path | None, name: str, recipe: Recipe, page: dict[str, Any]) -> RunFolder:
        """A new run.

        Args:
            out: the folder, new or empty; if None one is made under runs/ from name, time and data.
            name: the recipe's name.
            recipe: what is trained.
            page: what is known about the run so far.

        Raises:
            UsageError: if the folder holds something.
            RunError: if it cannot be made.
        """
        path = _fresh_path(name, recipe.data) if out is None else Path(out)
        if (path / "run.json").exists():
            raise UsageError(f"{path} holds a run already; go on with `danlu resume {path}`, or choose another --out")
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise UsageError(f"{path} is not an empty folder; choose another --out")
        run = cls(path, recipe, {"format": FORMAT, **page})
        try:
            path.mkdir(parents=True, exist_ok=True)
            write_text(path / "recipe.yaml", to_yaml(recipe))
            run.save_page()
        except OSError as error:
            raise RunError(f"cannot make the run folder {path}: {error.strerror or error}") from error
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
        try:
            page = json.loads(page_path.read_text(encoding="utf-8"))
            newer = page["format"] > FORMAT
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(f"{page_path} is damaged: {error}") from error
        if newer:
            raise UsageError(f"{page_path} has format {page['format']}, of a newer danlu; this one reads {FORMAT}")
        return cls(path, from_yaml(path / "recipe.yaml"), page)

    def __repr__(self) -> str:
        return f"<run {self.path}: {self.page['recipe']}, {self.page['status']}>"

    @property
    def scores(self) -> dict[str, dict[str, float]]:
        """Scores by part and name, once the run is finished."""
        return self.page.get("scores", {})

    @property
    def checkpoints(self) -> Path:
        """Where the checkpoints are."""
        return self.path / "checkpoints"

    @property
    def model(self) -> Path:
        """Where the finished model is."""
        return self.path / "model"

    def save_page(self, **news: Any) -> None:
        """Add to run.json."""
        self.page.update(news)
        if self.writes:
            write_text(self.path / "run.json", json.dumps(self.page, indent=2, ensure_ascii=False) + "\n")

    def log(self, entry: dict[str, float]) -> None:
        """Add a line to metrics.jsonl, and to TensorBoard's events where that is installed."""
        if not self.writes:
            return
        with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
        self._events.write(entry)

    def metrics(self) -> list[dict[str, float]]:
        """The lines of metrics.jsonl, without a last one that a crash cut off."""
        path = self.path / "metrics.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        entries = []
        for line in lines:
            try:
                entries.append(json.loads(line))
            except ValueError:
                break
        return entries

    def forget_metrics_after(self, round: int) -> None:
        """Drop the lines of rounds that will be played again."""
        if not self.writes:
            return
        kept = [json.dumps(entry) + "\n" for entry in self.metrics() if entry["round"] <= round]
        write_text(self.path / "metrics.jsonl", "".join(kept))

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run: one process at a time trains in a folder. The lock goes with the process, however it ends.

        Raises:
            UsageError: if another process holds it; the message has its number.
        """
        if not self.writes:
            yield
            return
        import fcntl  # not on Windows, which loads and predicts but does not train

        handle = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                holder = os.read(handle, 20).decode(errors="replace").strip() or "unknown"
                raise UsageError(f"{self.path} is in use by process {holder}; wait for it, or stop it") from None
            os.truncate(handle, 0)
            os.pwrite(handle, str(os.getpid()).encode(), 0)
            yield
        finally:
            os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write a file so that it is there whole or as it was before."""
    making = path.with_name(f".{path.name}.making")
    try:
        making.write_text(text, encoding="utf-8")
        making.replace(path)
    finally:
        making.unlink(missing_ok=True)


def _fresh_path(name: str, data: str) -> Path:
    word = "".join(c if c.isalnum() or c in "-_." else "-" for c in data).strip("-.")[:40] or "data"
    first = Path("runs") / name / f"{datetime.now():%Y-%m-%d-%H%M}-{word}"
    path, number = first, 1
    while path.exists():
        number += 1
        path = first.with_name(f"{first.name}-{number}")
    return path
