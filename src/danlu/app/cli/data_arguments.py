"""Parse the arguments of a command on a data set: its name or path, then settings of the data and options as flags."""

from __future__ import annotations

from typing import Any

from danlu.app.cli.command_help import option_flags, sections
from danlu.app.cli.signature import Function, description_of
from danlu.app.cli.tyro_parsing import given_values
from danlu.app.console.output import print_lines
from danlu.app.console.settings_flags import flags
from danlu.catalogue.datasets import DATA
from danlu.data.kinds import KINDS
from danlu.data.settings import name_of
from danlu.data.training_data import TrainingData
from danlu.errors import UsageError
from danlu.recipes.config.error_messages import validate


def parse(name: str, function: Function, words: list[str]) -> tuple[TrainingData, dict[str, Any]]:
    """Parse the settings of a data set and the options of a command.

    Args:
        name: name of the command.
        function: function of the command.
        words: the arguments after the command; the first is the data set.

    Raises:
        UsageError: if no data set is named, or words or settings are invalid.
        SystemExit: after help.
    """
    usage = f"usage: danlu {name} NAME|PATH|{'|'.join(kind.usage for kind in KINDS.values())} [--settings …]"
    if {"-h", "--help"} & set(words):
        width = max(map(len, DATA))
        listing = "\n".join(
            f"  {name:<{width}}  {entry.title}{f' ({entry.source})' if entry.source else ''}"
            for name, entry in DATA.items()
        )
        text = sections([*option_flags(function), *(flag for flag in flags(TrainingData()) if flag.name != "--data")])
        print_lines(f"{usage}\n\n{description_of(function)}\n\ndata sets:\n{listing}\n{text}")
        raise SystemExit(0)
    if not words or words[0].startswith("-"):
        raise UsageError(
            f"{name}: the first argument must be a data set: its name, or the path of your own files\n"
            f"{usage}\n\ndata sets: {', '.join(DATA)}"
        )
    base = TrainingData(data=name_of(words[0]))
    if any(word.partition("=")[0] == "--data" for word in words):
        raise UsageError(f"{name}: the data set is the first argument; remove --data")
    settings, options = given_values(base, function, f"danlu {name} {words[0]}", words[1:])
    return validate(TrainingData, {"data": base.data, **settings}), options
