"""Progress of a run: a progress bar in a terminal, one line per evaluation elsewhere, or nothing."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from danlu.app.console.formatting import duration, in_short
from danlu.printable import printable, printable_lines
from danlu.storage.access import Access, no_progress
from danlu.storage.disk import absolute_path

SECONDS_BETWEEN_LINES = 10.0
"""time between two lines on the progress of a step, if the output is not a terminal"""


class Bar(Progress):
    """A progress bar with a line of metrics below it."""

    below = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        """The bar and the line below it."""
        yield from super().get_renderables()
        yield Text(self.below, overflow="ellipsis", no_wrap=True)


class _Outlet:
    """A text file that treats a closed terminal (EIO) as a closed pipe."""

    def __init__(self, file: TextIO):
        self._file = file

    def write(self, text: str) -> int:
        with _gone_is_left():
            return self._file.write(text)

    def flush(self) -> None:
        with _gone_is_left():
            self._file.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


@contextmanager
def _gone_is_left() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.EIO:
            raise BrokenPipeError(str(error)) from error
        raise


class Patient(Console):
    """A console that keeps the training running when its pipe or terminal is closed, as ``| head`` does."""

    def __init__(self, file: TextIO, **options: Any):
        super().__init__(file=_Outlet(file), **options)  # type: ignore[arg-type]

    def on_broken_pipe(self) -> None:
        """Print nothing from now on."""
        self.quiet = True
        with suppress(OSError, ValueError):  # a file in memory has no number
            if (number := self.file.fileno()) == 1:
                os.dup2(os.open(os.devnull, os.O_WRONLY), number)


class Screen:
    """Prints everything that a run prints.

    Args:
        quiet: print nothing.
        file: where to print; standard output if not given.
    """

    def __init__(self, quiet: bool = False, file: TextIO | None = None):
        self.console = Patient(file=file or sys.stdout, quiet=quiet, highlight=False, emoji=False, soft_wrap=True)
        self._live = self.console.is_terminal and not quiet
        self._bar: Bar | None = None
        self._waiting: Progress | None = None
        self._rounds = self._first = self._batch = 0
        self._started = self._said = 0.0
        self._step = ""

    def say(self, text: str = "") -> None:
        """Print plain text, without markup and with control characters escaped."""
        self.console.print(printable_lines(text), markup=False)

    def rows(self, rows: Iterable[tuple[str, str]], indent: int = 2) -> None:
        """Print pairs of a label and its text, aligned."""
        rows = list(rows)
        width = max((len(word) for word, _ in rows), default=0)
        for word, meaning in rows:
            self.say(f"{' ' * indent}{word:<{width}}  {printable(meaning)}")

    def progress(self, what: str, done: int, total: int | None) -> None:
        """Show the progress of a step before the training, such as a download.

        A terminal has a progress bar. Elsewhere, a step that takes long has a line now and then.
        """
        if not self._live:
            self._say_progress(what, done, total)
            return
        what = printable(what)
        if self._waiting is None:
            self._waiting = Progress(
                TextColumn("  {task.description}", markup=False),
                BarColumn(),
                TaskProgressColumn(),
                console=self.console,
                transient=True,
            )
            self._waiting.start()
        known = {task.description: task.id for task in self._waiting.tasks}
        task = known[what] if what in known else self._waiting.add_task(what, total=total)
        self._waiting.update(task, completed=done, total=total)
        if total is not None and done >= total:
            self._waiting.stop()
            self._waiting = None

    def _say_progress(self, what: str, done: int, total: int | None) -> None:
        """Print a line if the last one of this step, or its start, was some time ago."""
        now = time.monotonic()
        if what != self._step:
            self._step, self._said = what, now
        elif now - self._said >= SECONDS_BETWEEN_LINES:
            self._said = now
            self.say(f"  {what}: {f'{done / total:.0%}' if total else f'{done:,}'}")

    def begin(self, name: str, done: int, rounds: int, batch_size: int) -> None:
        """Start the display of a training, or of a resumed one after ``done`` rounds."""
        self._rounds, self._first, self._batch, self._started = rounds, done, batch_size, time.monotonic()
        if self._live:
            columns = (TextColumn("  {task.description}", markup=False), BarColumn(bar_width=24), TaskProgressColumn())
            times = (TextColumn("{task.completed:.0f}/{task.total:.0f}"), TimeRemainingColumn(), TextColumn("left"))
            self._bar = Bar(*columns, *times, TextColumn("{task.fields[rate]}"), console=self.console)
            self._bar.start()
            self._bar.add_task(printable(name), total=rounds, completed=done, rate="")

    def show(self, round: int, entry: dict[str, float], evaluated: bool) -> None:
        """Show a finished round; ``entry`` is its line of the log."""
        if self._bar is not None:
            if evaluated or not self._bar.below:  # keep the validation scores until the next evaluation
                self._bar.below = f"  {printable(in_short(entry))}"
            self._bar.update(self._bar.task_ids[0], completed=round, rate=self._rate(round))
        elif evaluated:
            place = f"{round:>{len(str(self._rounds))}}/{self._rounds} {round / self._rounds:4.0%}"
            self.say(f"  round {place} {self._left(round)}  {self._rate(round)}  {in_short(entry)}")

    def end(self) -> None:
        """End the display; the training is finished or stopped."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _seconds_per_round(self, round: int) -> float:
        return (time.monotonic() - self._started) / max(1, round - self._first)

    def _rate(self, round: int) -> str:
        rate = 1 / max(1e-9, self._seconds_per_round(round))
        return f"{rate:,.0f} rounds/s, {rate * self._batch:,.0f} examples/s" if rate >= 10 else f"{rate:.2f} rounds/s"

    def _left(self, round: int) -> str:
        return f"{duration((self._rounds - round) * self._seconds_per_round(round)):>6} left"


def access_to(data_dir: str | Path | None, screen: Screen | None = None) -> Access:
    """The data folder and the progress display that a data loader uses."""
    folder = absolute_path(data_dir) if data_dir else None
    return Access(folder, progress=screen.progress if screen else no_progress)
