"""Claims of the notes, run: one by one with a figure, or all of them on one page that needs nothing beside it."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import matplotlib
import torch
from cycler import cycler
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from danlu.app.console.error_lines import explain
from danlu.app.console.formatting import duration
from danlu.app.console.progress import Screen
from danlu.app.report.figures import style
from danlu.catalogue.experiments import EXPERIMENTS, find_experiment
from danlu.errors import UsageError
from danlu.experiments.harness.experiment import Experiment, Numbers, Outcome, Table, Tell
from danlu.storage.atomic import write_text

OUT = Path("runs/experiments")
PAGE = "experiments.html"
THREADS = 1
"""whatever the machine has: the same seed then gives the same numbers, and networks so small are slower with more"""
_COLORS = (style.BLUE, style.VERMILION, *style.PLAYERS[1:])
_STYLE = {**style.STYLE, "axes.prop_cycle": cycler(color=_COLORS), "figure.figsize": (style.WIDTH, 2.4)}


@dataclass(frozen=True)
class Judged:
    """An experiment that was run, and its verdict.

    Attributes:
        name: of the experiment.
        section: of the notes.
        group: the part of the notes.
        claim: what the notes say.
        seed: of every random number.
        numbers: what was measured, plain values.
        table: the numbers for people.
        verdict: holds, holds with limits, or does not hold; None if it failed.
        reason: the numbers that decide.
        figure: the picture, if it was written.
        seconds: how long it took.
        error: why it failed, if it did.
    """

    name: str
    section: str
    group: str
    claim: str
    seed: int
    numbers: Numbers = field(default_factory=dict, repr=False)
    table: Table = field(default_factory=list, repr=False)
    verdict: str | None = None
    reason: str = ""
    figure: Path | None = None
    seconds: float = 0.0
    error: str | None = None
    drawn: str = field(default="", repr=False)

    @property
    def command(self) -> str:
        """What runs it again."""
        return shlex.join(["danlu", "experiment", self.name, *(["--seed", str(self.seed)] if self.seed else [])])

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        names = ("name", "section", "group", "claim", "seed", "numbers", "verdict", "reason", "seconds")
        failed = {} if self.error is None else {"error": self.error}
        return {**{n: getattr(self, n) for n in names}, "figure": self.figure and str(self.figure), **failed}


def experiment(
    name: str, *, seed: int = 0, out: str | Path | None = OUT, quiet: bool = False, quick: bool = False
) -> Judged:
    """Run one claim of the notes, say what comes out, and draw it.

    Args:
        name: of the experiment.
        seed: of every random number.
        out: folder for the figure, or None for none.
        quiet: print nothing.
        quick: a small version, to see that it works; its verdict says little.

    Raises:
        UsageError: if there is no such experiment, or the folder cannot be written to.

    >>> experiment("line-detector", out=None, quiet=True).verdict
    'holds'
    """
    find_experiment(name)
    folder = None if out is None else _folder(out)
    screen = Screen(quiet=quiet)
    with _told(screen, name) as tell:
        judged = _run(name, seed, tell, folder, quick)
    _say(judged, screen)
    return judged


def run_all(out: str | Path = OUT, seed: int = 0, *, quiet: bool = False, quick: bool = False) -> int:
    """Run every experiment and write the page, anew after each, so that whoever stops keeps what is done.

    Args:
        out: folder for figures and page.
        seed: of every random number.
        quiet: print one JSON object and nothing else.
        quick: small versions.

    Returns:
        The exit code: 1 if one failed.

    Raises:
        UsageError: if the folder cannot be written to.
    """
    folder, screen = _folder(out), Screen(quiet=quiet)
    done: list[Judged] = []
    for name in EXPERIMENTS:
        with _told(screen, name) as tell:
            try:
                done.append(_run(name, seed, tell, folder, quick))
            except Exception as error:  # whatever is wrong with one, the others go on
                done.append(_described(name, seed, error=explain(error)[1]))
        _say(done[-1], screen)
        write_page(folder / PAGE, done)
    screen.say(f"page {folder / PAGE}")
    if quiet:
        import json

        print(json.dumps({"page": str(folder / PAGE), "experiments": [d.to_json() for d in done]}, ensure_ascii=False))
    return int(any(judged.error for judged in done))


def _folder(out: str | Path) -> Path:
    folder = Path(out).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError(f"--out {folder} is to be a folder, and there is a file of that name in the way") from error
    return folder


def _run(name: str, seed: int, tell: Tell, folder: Path | None, quick: bool) -> Judged:
    """Run, draw and write one."""
    found: Experiment = find_experiment(name)
    began, threads = time.monotonic(), torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        outcome: Outcome = found.run(seed, tell, quick)
    finally:
        torch.set_num_threads(threads)
    seconds = time.monotonic() - began
    with matplotlib.rc_context(_STYLE):
        figure = outcome.plot()
    path = None
    if folder is not None:
        path = folder / f"{name}.png"
        style.to_png(figure, path)
    return _described(
        name,
        seed,
        numbers=outcome.numbers,
        table=outcome.table,
        verdict=outcome.verdict.word,
        reason=outcome.verdict.reason,
        figure=path,
        seconds=round(seconds, 2),
        drawn=style.to_svg(figure, f"figure-{name}", EXPERIMENTS[name].claim),
    )


def _described(name: str, seed: int, **found: Any) -> Judged:
    entry = EXPERIMENTS[name]
    return Judged(name, entry.section, entry.group, entry.claim, seed, **found)


@contextmanager
def _told(screen: Screen, name: str) -> Iterator[Tell]:
    """A bar while an experiment runs, in a terminal; whatever ends it, the terminal is left as it was."""
    if screen.console.quiet or not screen.console.is_terminal:
        yield lambda what, done, total: None
        return
    columns = (TextColumn("  {task.description}"), BarColumn(bar_width=24), TaskProgressColumn())
    with Progress(*columns, console=screen.console, transient=True) as bar:
        task = bar.add_task(name, total=None)
        yield lambda what, done, total: bar.update(task, completed=done, total=total)


def _say(judged: Judged, screen: Screen) -> None:
    """Claim, numbers, verdict."""
    screen.say(f"{judged.name} (notes, {judged.section}): {judged.claim}")
    widths = [max(map(len, column)) for column in zip(*judged.table, strict=True)]
    for row in judged.table:
        screen.say("  " + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
    screen.say(f"  failed: {judged.error}" if judged.error else f"  {judged.verdict}: {judged.reason}")
    took = f"  took {duration(judged.seconds)}" if not judged.error else ""
    screen.say(f"{took}, figure {judged.figure}" if judged.figure else took)


def write_page(path: Path, done: list[Judged]) -> None:
    """The page of all that were run: one file with its figures in it.

    Args:
        path: the file to write.
        done: in the order of the notes.
    """
    groups = [(group, list(some)) for group, some in groupby(done, key=lambda judged: judged.group)]
    environment = Environment(
        loader=PackageLoader("danlu.app.experiments", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("experiments.html.jinja")
    page = {"groups": groups, "lead": _lead(done), "duration": duration, "svg": _markup}
    write_text(path, template.render(page))


def _markup(judged: Judged) -> Markup:
    return Markup(judged.drawn)  # made by to_svg, which escapes


def _lead(done: list[Judged]) -> str:
    """How many of each verdict."""
    words = [judged.verdict or "failed" for judged in done]
    counted = {word: words.count(word) for word in ("holds", "holds with limits", "does not hold", "failed")}
    counts = ", ".join(f"{count} × {word}" for word, count in counted.items() if count)
    return f"{len(done)} claims of the lecture notes, each run as a small experiment. Verdicts: {counts}."
