"""The commands list, show, check and summary. Heavy imports wait until they are needed."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

from danlu.app.cli.command_output import as_json as _json
from danlu.app.cli.command_output import parsed as _parsed
from danlu.app.cli.command_output import say as _say


def list(words: builtins.list[str]) -> int:
    """``danlu.list()``"""

    def command(json: bool = False) -> int:
        """The recipes: name, family, what it is, source.

        Args:
            json: print one JSON object and nothing else
        """
        from danlu.catalogue.recipes import all_recipes

        found = all_recipes()
        if json:
            return _json({"recipes": [{"name": name, **entry._asdict()} for name, entry in found.items()]})
        widths = [max(len(text) for text in column) for column in zip(*_rows(found), strict=True)]
        for row in _rows(found):
            print("  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip())
        return 0

    return _parsed("list", command, words)


def show(words: builtins.list[str]) -> int:
    """``danlu.show(recipe)``"""
    from danlu.app.cli.recipe_arguments import parse

    recipe, _ = parse("show", words)
    from danlu.recipes.config.yaml_files import to_yaml

    print(to_yaml(recipe), end="")
    return 0


def check(words: builtins.list[str]) -> int:
    """``danlu.check(path)``"""

    def command(file: Path, /, json: bool = False) -> int:
        """A recipe file: say everything that is wrong with it, or that nothing is.

        Args:
            file: a YAML file, as `danlu show` writes it
            json: print one JSON object and nothing else
        """
        from danlu.app.runs.inspect_recipe import check
        from danlu.catalogue.recipes import name_of_recipe

        name = name_of_recipe(type(check(file)))
        return _json({"file": str(file), "recipe": name}) if json else _say(f"{file} is a right recipe of {name}.")

    return _parsed("check", command, words)


def summary(words: builtins.list[str]) -> int:
    """``danlu.summary(recipe)``"""
    from danlu.app.cli.recipe_arguments import parse
    from danlu.app.console.formatting import human
    from danlu.app.inspect.model_summary import layer_lines
    from danlu.app.runs.inspect_recipe import summary

    recipe, _ = parse("summary", words)
    made = summary(recipe)
    print(f"{made.model}, {made.parameters:,} parameters, {human(4 * made.parameters)} of weights")
    print("\n".join(f"  {line}" for line in layer_lines(made)))
    each = "token" if made.logits else "example"
    print(f"  {human(made.activations)} of activations for each {each} of a batch, about")
    if made.receptive_field:
        print(f"  a unit of the last convolution sees {made.receptive_field}×{made.receptive_field} pixels")
    return 0


def _rows(found: dict[str, Any]) -> builtins.list[tuple[str, ...]]:
    return [(name, entry.family, entry.title, entry.source) for name, entry in found.items()]
