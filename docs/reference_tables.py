"""Inserts tables that are derived from the code and from stored results: commands, recipes and experiments."""

from __future__ import annotations

import inspect
import json
import re
from importlib import import_module
from itertools import groupby
from pathlib import Path
from typing import Any

from danlu.app.cli.argument_types import DataArgument, RecipeArgument
from danlu.app.cli.command_help import option_flags, placeholder
from danlu.app.cli.run_command import function_of
from danlu.app.cli.signature import arguments_of, summary_of
from danlu.app.command_table import COMMANDS
from danlu.catalogue import EXPERIMENTS, RECIPES

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results" / "experiments"
TITLES = ("table of commands", "table of recipes", "number of recipes", "table of experiments", "number of experiments")
PLACEHOLDER = re.compile(rf"<!-- ({'|'.join(TITLES)}|options of ([\w-]+)) -->")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace each placeholder by its table."""
    return PLACEHOLDER.sub(lambda match: _table_for(match[1], match[2]), markdown)


def _table_for(title: str, command: str | None) -> str:
    """The text for a placeholder with this title."""
    if command is not None:
        return options(command)
    tables = {
        "table of commands": commands,
        "table of recipes": recipes,
        "number of recipes": lambda: str(len(RECIPES)),
        "table of experiments": experiments,
        "number of experiments": lambda: str(len(EXPERIMENTS)),
    }
    return tables[title]()


def commands() -> str:
    """Each command with its summary and its library function."""
    rows = [(f"[`{name}`](#{name})", summary_of(function_of(name)), _call(name)) for name in COMMANDS]
    return _table(("command", "description", "in Python"), rows)


def options(name: str) -> str:
    """The arguments and options of a command."""
    function = function_of(name)
    positional = [
        a for a in arguments_of(function) if not a.flags and a.annotation not in (RecipeArgument, DataArgument)
    ]
    rows = [(f"`{placeholder(argument)}`", argument.meaning) for argument in positional]
    for flag in option_flags(function):
        choices = f" ({', '.join(f'`{word}`' for word in flag.choices)})" if flag.choices else ""
        default = f"; default: `{flag.default}`" if flag.metavar and flag.default is not None else ""
        rows.append((f"`{f'{flag.name} {flag.metavar}'.strip()}`", flag.meaning + choices + default))
    return _table(("argument or option" if positional else "option", "meaning"), rows)


def recipes() -> str:
    """The recipes by family."""
    rows = [
        (family, f"`{name}`", entry.title, entry.source)
        for family, entries in groupby(RECIPES.items(), key=lambda item: item[1].family)
        for name, entry in entries
    ]
    return _table(("family", "recipe", "model", "source"), rows)


def experiments() -> str:
    """The experiments with the stored verdicts of two sets of seeds; without verdict if none is stored."""
    rows = [
        (f"`{name}`", f"{entry.section}, line {entry.line}", entry.claim, *_verdict(name))
        for name, entry in EXPERIMENTS.items()
    ]
    return _table(("name", "notes", "claim", "verdict", "conclusion, seed 0", "CPU time"), rows)


def _verdict(name: str) -> tuple[str, str, str]:
    path = RESULTS / f"{name}.json"
    if not path.is_file():
        return "–", "–", "–"
    runs = json.loads(path.read_text(encoding="utf-8"))["runs"]
    words = list(dict.fromkeys(run["verdict"] for run in runs))
    return " / ".join(words), runs[0]["reason"], f"{runs[0]['cpu_seconds']:.0f} s"


def _call(name: str) -> str:
    """The library function of a command with its required arguments."""
    if (call := COMMANDS[name].call) is None:
        return "for shells only"
    module, _, attribute = call.partition(":")
    parameters = inspect.signature(getattr(import_module(module), attribute)).parameters.values()
    prefixes = {inspect.Parameter.VAR_POSITIONAL: "*"}
    required = [p for p in parameters if p.default is p.empty and p.kind is not p.VAR_KEYWORD]
    arguments = ", ".join(prefixes.get(parameter.kind, "") + parameter.name for parameter in required)
    return f"`danlu.{'list' if name == 'list' else attribute}({arguments})`"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)
