"""The folder of a run: its settings, its log and its results."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any, Self

from danlu.app.console.formatting import quoted
from danlu.app.console.progress import Screen
from danlu.app.run_folder.find_run import find_run
from danlu.app.run_folder.process_lock import LOCK, RunLock, is_locked
from danlu.app.run_folder.run_page import RunPage, read_entry
from danlu.app.run_folder.tensorboard import Events
from danlu.errors import RunError, UsageError
from danlu.recipes.config.recipe import Recipe
from danlu.recipes.config.yaml_files import from_yaml, to_yaml
from danlu.storage.access import Access
from danlu.storage.atomic import write_text
from danlu.storage.disk import sync
from danlu.storage.json_page import read_page, to_json
from danlu.storage.plain_files import append_text, check_files, check_parents, check_tree, make_folder

FORMAT = 1
_NEEDED = {"recipe", "status", "command", "versions", "device", "threads", "ranks", "data", "round", "rounds"}


class RunFolder:
    """The files of a run. ``with run:`` holds its lock, so that no other process trains in it.

    Attributes:
        path: the folder.
        recipe: the recipe, with all values.
        page: the content of run.json.
        lock: the lock of the folder.
        writes: whether this process writes files; of several processes only rank 0 does.
    """

    def __init__(self, path: Path, recipe: Recipe, page: dict[str, Any]):
        self.path, self.recipe, self.page, self.writes = path, recipe, page, True
        self._events: Events | None = None
        self.lock = RunLock(path)

    @classmethod
    def create(cls, out: str | Path | None, recipe: Recipe, page: dict[str, Any]) -> RunFolder:
        """Create a run; this process holds its lock.

        Args:
            out: the folder, new or empty; if None, a folder under runs/ named by recipe, time and data.
            recipe: the recipe.
            page: the content of run.json.

        Raises:
            UsageError: if the folder is not empty, is a link, or belongs to another user.
            RunError: if the folder cannot be created.
        """
        try:
            path = _new_folder(page["recipe"], recipe.data) if out is None else _use_folder(Path(out))
            run = cls(path, recipe, {"format": FORMAT, **page}).hold()
            try:
                _check_empty(path)  # again, because only now the lock is held
                write_text(path / "recipe.yaml", to_yaml(recipe))
                run.save_page()
            except BaseException:
                run.lock.release()
                raise
        except OSError as error:
            raise RunError(f"cannot create the run folder {out or 'under runs/'}: {error.strerror or error}") from error
        return run

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """Open an existing run.

        Args:
            path: the run folder, or a folder of runs, which stands for its newest run.

        Raises:
            UsageError: if the folder is not a run, has links, or was written by a newer danlu.
            RunError: if its files are damaged.
        """
        path = find_run(path)
        page_path = path / "run.json"
        if page_path.is_file():
            check_tree(path)
        else:
            reason = "it has no run.json, and no runs in it" if path.is_dir() else "there is no such folder"
            raise UsageError(f"{path} is not a run folder: {reason}. `danlu train` creates run folders")
        return cls(path, from_yaml(path / "recipe.yaml"), read_page(page_path, FORMAT, RunPage, _NEEDED))

    def __repr__(self) -> str:
        return f"<run {self.path}: {self.page['recipe']}, {self.status}>"

    def access(self) -> Access:
        """Access to the data folder of the run; only missing files are downloaded."""
        folder = self.page["data"].get("dir")
        return Access(Path(folder) if folder else None)

    @property
    def resume_command(self) -> str:
        """The command that resumes the run in as many processes as before."""
        ranks = self.page["ranks"]
        return f"danlu resume {quoted(self.path)}" + (f" --devices {ranks}" if ranks != 1 else "")

    @property
    def what_next(self) -> str:
        """For messages: what a user can do with a run that has no model and no checkpoint."""
        again = "train it again: `danlu train` with its recipe.yaml"
        return again if self.page["status"] == "finished" else f"continue it with `{self.resume_command}`"

    def is_finished(self, screen: Screen) -> bool:
        """Whether the run is finished; if so, a line on the screen says where its model is."""
        if self.page["status"] != "finished":
            return False
        screen.say(f"The run {self.path} is finished, after {self.page['round']} rounds. Its model is in {self.model}.")
        return True

    @property
    def has_model(self) -> bool:
        """Whether there is a model in ``model/``."""
        return (self.model / "model.json").is_file()

    @property
    def status(self) -> str:
        """The status as it is now: finished, stopped, failed, running, or killed if no process trains in it."""
        status = self.page["status"]
        if status not in ("new", "training"):
            return status
        return "running" if self.lock.handle is not None or is_locked(self.path) else "killed"

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
    def feature_extractor(self) -> Path:
        """The folder of the classifier that is the feature extractor for generated examples, if there is one."""
        return self.path / "feature-extractor"

    @property
    def model(self) -> Path:
        """The folder of the trained model."""
        return self.path / "model"

    def set_recipe(self, recipe: Recipe) -> None:
        """Replace the recipe, also in recipe.yaml."""
        self.recipe = recipe
        if self.writes:
            write_text(self.path / "recipe.yaml", to_yaml(recipe))

    def save_page(self, **news: Any) -> None:
        """Update run.json with the given values."""
        self.page.update(news)
        if self.writes:
            write_text(self.path / "run.json", to_json(self.page, indent=2) + "\n")

    def log(self, entry: dict[str, Any]) -> None:
        """Append a line to metrics.jsonl, and to TensorBoard events if TensorBoard is installed."""
        if not self.writes:
            return
        append_text(self.path / "metrics.jsonl", to_json(entry) + "\n")
        if self._events is None:
            self._events = Events(self.path / "tensorboard")
        self._events.write(entry)

    def metrics(self) -> list[dict[str, float]]:
        """The lines of metrics.jsonl that can be read; a crash can truncate a line, and a disk can damage it."""
        entries = (read_entry(line) for line in self._metrics_lines() if line)
        return [entry for entry in entries if entry is not None]

    def remove_metrics_after(self, round: int) -> int:
        """Remove the lines of rounds that will be repeated, and lines that cannot be read.

        Returns:
            The number of lines that cannot be read, without a truncated last line.
        """
        kept = [to_json(entry) + "\n" for entry in self.metrics() if entry["round"] <= round]
        complete = self._metrics_lines()[:-1]
        unreadable = sum(read_entry(line) is None for line in complete)
        if self.writes:
            write_text(self.path / "metrics.jsonl", "".join(kept))
        return unreadable

    def _metrics_lines(self) -> list[bytes]:
        """The lines; the last one has no end, because a crash has truncated it, and is empty in a complete file."""
        path = self.path / "metrics.jsonl"
        return (path.read_bytes() if path.exists() else b"").split(b"\n")

    def sync_metrics(self) -> None:
        """Sync the log to disk, so that it survives a power failure."""
        if self.writes and (self.path / "metrics.jsonl").exists():
            sync(self.path / "metrics.jsonl")

    def hold(self) -> Self:
        """Lock the run, so that no other process trains in it. A process that does not write takes no lock.

        Raises:
            UsageError: if another process uses the run.
        """
        if self.writes:
            self.lock.acquire()
        return self

    def __enter__(self) -> Self:
        return self.hold()

    def __exit__(self, *exception: object) -> None:
        self.lock.release()


def _use_folder(path: Path) -> Path:
    check_files(path)
    if path.exists():
        _check_empty(path)
    make_folder(path)
    return path


def _check_empty(path: Path) -> None:
    if (path / "run.json").exists():
        raise UsageError(
            f"{path} already contains a run; resume it with `danlu resume {quoted(path)}`, or choose another folder",
            settings=("out",),
        )
    if not path.is_dir() or any(inside.name != LOCK for inside in path.iterdir()):
        raise UsageError(f"{path} is not an empty folder; choose another folder", settings=("out",))


def _new_folder(name: str, data: str) -> Path:
    word = "".join(c if c.isalnum() or c in "-_." else "-" for c in data).strip("-.")[:40] or "data"
    first = Path("runs") / name / f"{datetime.now():%Y-%m-%d-%H%M}-{word}"
    path, number = first, 1
    check_parents(path)
    while True:
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            number += 1
            path = first.with_name(f"{first.name}-{number}")
        else:
            return path
