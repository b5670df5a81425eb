"""Inspect a data set before training: statistics and problems."""

from __future__ import annotations

from itertools import zip_longest
from pathlib import Path
from typing import Any

from danlu.app.console.formatting import number, short
from danlu.app.console.progress import Screen, access_to
from danlu.data.base.dataset import PARTS, DataSet
from danlu.data.settings import DataSettings, name_of
from danlu.data.survey.result import Survey
from danlu.data.survey.survey import survey_data_set
from danlu.data.training_data import TrainingData
from danlu.errors import few
from danlu.printable import printable
from danlu.recipes.config.error_messages import validate

_BAR = 30
"""length of the longest bar in characters"""
_MOST = 30
"""maximal number of columns, and of classes, that are listed"""
_LONGEST = 60
"""maximal number of letters of a name in a list"""


def survey(
    source: str | Path | DataSettings,
    *,
    data_dir: str | Path | None = None,
    screen: Screen | None = None,
    **settings: Any,
) -> tuple[DataSet, Survey]:
    """Load a data set and compute its statistics.

    Args:
        source: a name in the catalogue, ``folder:PATH``, ``table:FILE``, ``text:PATH``, the path alone, or settings.
        data_dir: folder of data set files.
        screen: receives progress messages.
        settings: settings of the data: ``images={"size": (32,)}``, ``split={"seed": 1}``.

    Raises:
        UsageError: if the data set does not exist, or its files or settings are not valid.

    >>> survey("digits")[1].examples["train"]
    1258
    """
    if not isinstance(source, DataSettings):
        source = validate(TrainingData, {"data": name_of(source), **settings})
    access = access_to(data_dir, screen)
    data_set = source.with_absolute_paths().load(access)
    return data_set, survey_data_set(data_set, access)


def show(data_set: DataSet, statistics: Survey, screen: Screen) -> None:
    """Print the statistics of a data set."""
    info = data_set.info
    counts = ", ".join(f"{statistics.examples[part]:,} {part}" for part in PARTS)
    screen.say(f"{data_set.name}: {sum(statistics.examples.values()):,} {info.description}; {counts}")
    for note in data_set.notes:
        if note not in data_set.problems:  # which are below
            screen.say(f"  {note}")
    for channel in statistics.channels[:_MOST]:
        low, high, mean, deviation = (number(channel[key]) for key in ("low", "high", "mean", "deviation"))
        screen.say(f"  {_name(channel['name']):<12} from {low} to {high}, mean {mean}, standard deviation {deviation}")
    _print_omitted(len(statistics.channels), "columns", screen)
    if statistics.text:
        _show_text(statistics.text, screen)
    if statistics.constant:
        screen.say(f"  constant in the training part: {few(statistics.constant)}")
    _show_classes(info.label_names, statistics, screen)
    screen.say("problems:" if statistics.problems else "No problems found.")
    for problem in statistics.problems:
        screen.say(f"  {problem}")
    screen.say(f"fingerprint {data_set.fingerprint()}")


def _show_text(statistics: dict[str, Any], screen: Screen) -> None:
    counts = ", ".join(f"{count:,} {part}" for part, count in statistics["characters"].items())
    screen.say(f"  characters   {counts}")
    new = statistics["unseen"]
    unseen = f" ({new:,} of them do not occur in the training part)" if new else ""
    screen.say(f"  vocabulary   {statistics['vocabulary']:,}{unseen}")
    if any(statistics["unknown"].values()):
        screen.say(
            "  unknown      " + ", ".join(f"{fraction:.2%} {part}" for part, fraction in statistics["unknown"].items())
        )
    screen.say("  most common  " + ", ".join(f"{token!r} {count:,}" for token, count in statistics["commonest"]))
    for word, line in zip_longest(("beginning",), statistics["begin"], fillvalue=""):
        screen.say(f"  {word:<12} {line}")


def _show_classes(names: tuple[str, ...], statistics: Survey, screen: Screen) -> None:
    if not statistics.classes:
        return
    screen.say("classes:" + "".join(f"  {part}" for part in statistics.classes))
    largest = max(max(statistics.classes["train"]), 1)
    shown = [_name(name) for name in names[:_MOST]]
    width = max(map(len, shown))
    for row, name in enumerate(shown):
        counts = [counts[row] for counts in statistics.classes.values()]
        bar = "█" * round(_BAR * counts[0] / largest)
        screen.say(f"  {name:<{width}}  {'  '.join(f'{count:>7,}' for count in counts)}  {bar}")
    _print_omitted(len(names), "classes", screen)


def _name(name: str) -> str:
    return short(printable(name), _LONGEST)


def _print_omitted(count: int, what: str, screen: Screen) -> None:
    if count > _MOST:
        screen.say(f"  and {count - _MOST:,} more {what}; --json lists all")
