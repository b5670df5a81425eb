"""Run experiments: one of them with a figure, or all of them on one self-contained HTML page."""

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
from danlu.app.console.output import print_json
from danlu.app.console.progress import Screen
from danlu.app.report.figures import style
from danlu.catalogue.experiments import EXPERIMENTS, find_experiment
from danlu.errors import UsageError
from danlu.experiments.harness.experiment import Experiment, Numbers, Outcome, ProgressCallback, Table
from danlu.storage.atomic import write_text

OUT = Path("runs/experiments")
PAGE = "experiments.html"
THREADS = 1
"""one CPU thread: the same seed gives the same numbers on every machine, and small networks are slower with more"""
_COLORS = (style.BLUE, style.VERMILION, *style.PLAYERS[1:])
_STYLE = {**style.STYLE, "axes.prop_cycle": cycler(color=_COLORS), "figure.figsize": (style.WIDTH, 2.4)}


@dataclass(frozen=True)
class ExperimentResult:
    """The result of an experiment.

    Attributes:
        name: name of the experiment.
        section: section of the notes.
        group: chapter of the notes.
        claim: the claim of the notes.
        seed: random seed.
        numbers: the measured values.
        table: the measured values as text, below a row of column names.
        verdict: holds, holds with limits, or does not hold; None if it failed.
        reason: the numbers on which the verdict is based.
        figure: path of the figure, if it was written.
        seconds: duration.
        error: the error, if it failed.
        svg: the figure as SVG.
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
    svg: str = field(default="", repr=False)

    @property
    def command(self) -> str:
        """The command that repeats the experiment."""
        return shlex.join(["danlu", "experiment", self.name, *(["--seed", str(self.seed)] if self.seed else [])])

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        names = ("name", "section", "group", "claim", "seed", "numbers", "verdict", "reason", "seconds")
        failed = {} if self.error is None else {"error": self.error}
        return {**{n: getattr(self, n) for n in names}, "figure": self.figure and str(self.figure), **failed}


def experiment(
    name: str, *, seed: int = 0, out: str | Path | None = OUT, quiet: bool = False, quick: bool = False
) -> ExperimentResult:
    """Run an experiment, print its result, and write its figure.

    Args:
        name: name of the experiment.
        seed: random seed.
        out: folder for the figure; None writes no figure.
        quiet: print nothing.
        quick: run a small version, for tests; its verdict is not reliable.

    Raises:
        UsageError: if there is no such experiment, or the folder cannot be written to.

    >>> experiment("line-detector", out=None, quiet=True).verdict
    'holds'
    """
    find_experiment(name)
    folder = None if out is None else _folder(out)
    screen = Screen(quiet=quiet)
    with _progress(screen, name) as tell:
        result = _run(name, seed, tell, folder, quick)
    _print(result, screen)
    return result


def run_all(out: str | Path = OUT, seed: int = 0, *, quiet: bool = False, quick: bool = False) -> int:
    """Run all experiments, and write the page again after each of them, so that finished results are kept.

    Args:
        out: folder for the figures and the page.
        seed: random seed.
        quiet: print one JSON object and nothing else.
        quick: run small versions, for tests.

    Returns:
        The exit code: 1 if an experiment failed, else 0.

    Raises:
        UsageError: if the folder cannot be written to.
    """
    folder, screen = _folder(out), Screen(quiet=quiet)
    done: list[ExperimentResult] = []
    for name in EXPERIMENTS:
        with _progress(screen, name) as tell:
            try:
                done.append(_run(name, seed, tell, folder, quick))
            except Exception as error:  # the other experiments still run
                done.append(_result(name, seed, error=explain(error)[1]))
        _print(done[-1], screen)
        write_page(folder / PAGE, done)
    screen.say(f"page {folder / PAGE}")
    if quiet:
        print_json({"page": str(folder / PAGE), "experiments": [d.to_json() for d in done]})
    return int(any(result.error for result in done))


def _folder(out: str | Path) -> Path:
    folder = Path(out).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError(f"out must be a folder, and {folder} is a file", settings=("out",)) from error
    return folder


def _run(name: str, seed: int, tell: ProgressCallback, folder: Path | None, quick: bool) -> ExperimentResult:
    """Run, draw and write one."""
    subject: Experiment = find_experiment(name)
    start, threads = time.monotonic(), torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        outcome: Outcome = subject.run(seed, tell, quick)
    finally:
        torch.set_num_threads(threads)
    seconds = time.monotonic() - start
    with matplotlib.rc_context(_STYLE):
        figure = outcome.plot()
    path = None
    if folder is not None:
        path = folder / f"{name}.png"
        style.to_png(figure, path)
    return _result(
        name,
        seed,
        numbers=outcome.numbers,
        table=outcome.table,
        verdict=outcome.verdict.word,
        reason=outcome.verdict.reason,
        figure=path,
        seconds=round(seconds, 2),
        svg=style.to_svg(figure, f"figure-{name}", EXPERIMENTS[name].claim),
    )


def _result(name: str, seed: int, **values: Any) -> ExperimentResult:
    entry = EXPERIMENTS[name]
    return ExperimentResult(name, entry.section, entry.group, entry.claim, seed, **values)


@contextmanager
def _progress(screen: Screen, name: str) -> Iterator[ProgressCallback]:
    """A progress bar while an experiment runs, in a terminal only."""
    if screen.console.quiet or not screen.console.is_terminal:
        yield lambda what, done, total: None
        return
    columns = (TextColumn("  {task.description}"), BarColumn(bar_width=24), TaskProgressColumn())
    with Progress(*columns, console=screen.console, transient=True) as bar:
        task = bar.add_task(name, total=None)
        yield lambda what, done, total: bar.update(task, completed=done, total=total)


def _print(result: ExperimentResult, screen: Screen) -> None:
    """Print claim, numbers and verdict."""
    screen.say(f"{result.name} (notes, {result.section}): {result.claim}")
    widths = [max(map(len, column)) for column in zip(*result.table, strict=True)]
    for row in result.table:
        screen.say("  " + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
    screen.say(f"  failed: {result.error}" if result.error else f"  {result.verdict}: {result.reason}")
    duration_text = f"  duration {duration(result.seconds)}" if not result.error else ""
    screen.say(f"{duration_text}, figure {result.figure}" if result.figure else duration_text)


def write_page(path: Path, done: list[ExperimentResult]) -> None:
    """Write the page of all results: one HTML file that includes the figures.

    Args:
        path: the file to write.
        done: the results, in the order of the notes.
    """
    groups = [(group, list(results)) for group, results in groupby(done, key=lambda result: result.group)]
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


def _markup(result: ExperimentResult) -> Markup:
    return Markup(result.svg)  # made by to_svg, which escapes


def _lead(done: list[ExperimentResult]) -> str:
    """The number of experiments with each verdict."""
    words = [result.verdict or "failed" for result in done]
    counted = {word: words.count(word) for word in ("holds", "holds with limits", "does not hold", "failed")}
    counts = ", ".join(f"{count} × {word}" for word, count in counted.items() if count)
    return f"{len(done)} claims of the lecture notes, each tested by a small experiment. Verdicts: {counts}."
