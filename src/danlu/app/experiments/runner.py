"""Run experiments: one of them with a figure, or all of them on one self-contained HTML page."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import matplotlib
import torch
from cycler import cycler
from markupsafe import Markup
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from danlu.app.console.error_lines import explain
from danlu.app.console.formatting import duration
from danlu.app.console.output import print_json
from danlu.app.console.progress import Screen
from danlu.app.experiments.result import ExperimentResult
from danlu.app.report.figures import style
from danlu.app.report.page import templates
from danlu.catalogue.experiments import EXPERIMENTS, find_experiment
from danlu.errors import UsageError
from danlu.experiments.harness.criteria import WORDS
from danlu.experiments.harness.experiment import Experiment, Outcome, ProgressCallback
from danlu.experiments.harness.parallel import process_count, workers
from danlu.experiments.harness.wording import findings_table
from danlu.storage.atomic import write_text
from danlu.storage.plain_files import make_folder

OUT = Path("runs/experiments")
PAGE = "experiments.html"
THREADS = 1
"""one CPU thread in each process: the same seed gives the same numbers on every machine, and small networks are slower
with more"""
_COLORS = (style.BLUE, style.VERMILION, *style.PLAYERS[1:])
_STYLE = {**style.STYLE, "axes.prop_cycle": cycler(color=_COLORS), "figure.figsize": (style.WIDTH, 2.4)}


def experiment(
    name: str,
    *,
    seed: int = 0,
    seeds: int = 1,
    out: str | Path | None = OUT,
    jobs: int | Literal["auto"] = "auto",
    quiet: bool = False,
    quick: bool = False,
) -> ExperimentResult:
    """Run an experiment, print its result, and write its figure.

    Args:
        name: name of the experiment.
        seed: random seed.
        seeds: number of runs, with this seed and the next ones; their random numbers have nothing in common. Numbers,
            table and figure are those of the first run.
        out: folder for the figure; None writes no figure.
        jobs: number of processes for the runs of an experiment; auto for the number of available cores, 1 for this
            process. The numbers do not depend on it.
        quiet: print nothing.
        quick: run a small version in this process, for tests; its verdict is not reliable.

    Raises:
        UsageError: if there is no such experiment, the folder cannot be written to, or the number of processes is
            not possible.

    >>> experiment("line-detector", out=None, quiet=True).verdict
    'holds'
    """
    find_experiment(name)
    processes = 1 if quick else process_count(jobs)
    folder = None if out is None else _folder(out)
    screen = Screen(quiet=quiet)
    with _progress(screen, name) as tell:
        result = _run(name, seed, tell, folder, processes, quick)
        others = [_run(name, other, tell, None, processes, quick) for other in range(seed + 1, seed + seeds)]
    result = replace(result, repetitions=tuple((other.seed, str(other.verdict)) for other in others))
    _print(result, screen)
    return result


def run_all(
    out: str | Path = OUT,
    seed: int = 0,
    *,
    jobs: int | Literal["auto"] = "auto",
    quiet: bool = False,
    quick: bool = False,
) -> int:
    """Run all experiments, and write the page again after each of them, so that finished results are kept.

    Args:
        out: folder for the figures and the page.
        seed: random seed.
        jobs: number of processes for the runs of an experiment, as for ``experiment``.
        quiet: print one JSON object and nothing else.
        quick: run small versions in this process, for tests.

    Returns:
        The exit code: 1 if an experiment failed, else 0.

    Raises:
        UsageError: if the folder cannot be written to, or the number of processes is not possible.
    """
    processes = 1 if quick else process_count(jobs)
    folder, screen = _folder(out), Screen(quiet=quiet)
    done: list[ExperimentResult] = []
    for name in EXPERIMENTS:
        with _progress(screen, name) as tell:
            try:
                done.append(_run(name, seed, tell, folder, processes, quick))
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
        make_folder(folder)
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError(f"out must be a folder, and {folder} is a file", settings=("out",)) from error
    return folder


def _run(
    name: str, seed: int, tell: ProgressCallback, folder: Path | None, processes: int, quick: bool
) -> ExperimentResult:
    """Run, draw and write one."""
    subject: Experiment = find_experiment(name)
    start, used_before, threads = time.monotonic(), time.process_time(), torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        with workers(processes) as used:
            outcome: Outcome = subject.run(seed, tell, quick)
    finally:
        torch.set_num_threads(threads)
    seconds, cpu_seconds = time.monotonic() - start, time.process_time() - used_before + used.seconds
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
        findings=findings_table(outcome.verdict.judgment) if outcome.verdict.judgment else [],
        verdict=outcome.verdict.word,
        reason=outcome.verdict.reason,
        demonstration=subject.demonstration,
        method=subject.method,
        caption=subject.caption,
        figure=path,
        seconds=round(seconds, 2),
        cpu_seconds=round(cpu_seconds, 2),
        svg=style.to_svg(figure, f"figure-{name}", EXPERIMENTS[name].claim),
    )


def _result(name: str, seed: int, **values: Any) -> ExperimentResult:
    entry = EXPERIMENTS[name]
    return ExperimentResult(name, entry.section, entry.line, entry.group, entry.claim, seed, **values)


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
    """Print claim, conclusion, numbers and comparisons."""
    screen.say(f"{result.name} (notes, {result.section}, line {result.line}): {result.claim}")
    screen.say(f"  failed: {result.error}" if result.error else f"  {result.verdict_text}: {result.reason}")
    for table in (result.table, result.findings):
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        for row in table:
            screen.say("  " + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
    if result.repeated_text:
        screen.say(f"  {result.repeated_text}")
    duration_text = f"  duration {duration(result.seconds)}" if not result.error else ""
    screen.say(f"{duration_text}, figure {result.figure}" if result.figure else duration_text)


def write_page(path: Path, done: list[ExperimentResult]) -> None:
    """Write the page of all results: one HTML file that includes the figures.

    Args:
        path: the file to write.
        done: the results, in the order of the notes.
    """
    groups = [(group, list(results)) for group, results in groupby(done, key=lambda result: result.group)]
    template = templates("danlu.app.experiments", ".", html=True).get_template("experiments.html.jinja")
    page = {"groups": groups, "lead": _lead(done), "duration": duration, "svg": _markup, "unbroken": unbroken}
    write_text(path, template.render(page))


def _markup(result: ExperimentResult) -> Markup:
    return Markup(result.svg)  # made by to_svg, which escapes


def unbroken(text: str) -> str:
    """The text with spaces and dashes inside numbers at which a browser breaks no line.

    >>> unbroken("0.3 (0.1–0.6) of 5 %, × 1.33").replace(chr(0xA0), "_").replace(chr(0x2060), "~")
    '0.3_(0.1–~0.6) of 5_%, ×_1.33'
    """
    text = re.sub(r"(?<=\d) (?=[%×·(])|(?<=[×≤≥<>=≈]) (?=[\d−])", "\N{NO-BREAK SPACE}", text)
    return text.replace("–", "–\N{WORD JOINER}")


def _lead(done: list[ExperimentResult]) -> str:
    """The number of experiments with each verdict."""
    words = [result.verdict or "failed" for result in done]
    counted = {word: words.count(word) for word in (*WORDS, "failed")}
    counts = ", ".join(f"{count} × {word}" for word, count in counted.items() if count)
    return f"{len(done)} claims of the lecture notes, each tested by a small experiment. Verdicts: {counts}."
