"""The commands list, show, check and summary."""

from __future__ import annotations

from pathlib import Path

from danlu.app.cli.argument_types import Json, RecipeArgument
from danlu.app.cli.command_output import as_json, say
from danlu.app.console.output import print_line
from danlu.catalogue.entry import Entry


def list_recipes(*, json: Json = False) -> int:
    """List the recipes with family, model and paper."""
    from danlu.catalogue.recipes import all_recipes

    recipes = all_recipes()
    if json:
        return as_json({"recipes": [{"name": name, **entry._asdict()} for name, entry in recipes.items()]})
    rows = [_row(name, entry) for name, entry in recipes.items()]
    widths = [max(len(text) for text in column) for column in zip(*rows, strict=True)]
    for row in rows:
        print_line("  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip())
    return 0


def show(recipe: RecipeArgument, /) -> int:
    """Print a recipe as YAML with every setting.

    Args:
        recipe: the recipe and its settings
    """
    from danlu.app.console.output import print_file
    from danlu.recipes.config.yaml_files import to_yaml

    print_file(to_yaml(recipe.recipe))
    return 0


def check(file: Path, /, *, json: Json = False) -> int:
    """Check a recipe file and list every error in it.

    Args:
        file: YAML file of a recipe, such as `danlu show NAME` prints
    """
    from danlu.app.runs.inspect_recipe import checked
    from danlu.catalogue.recipes import name_of_recipe

    recipe, notes = checked(file)
    name = name_of_recipe(type(recipe))
    if json:
        return as_json({"file": str(file), "recipe": name, "notes": notes})
    for line in (f"{file}: valid {name} recipe", *(f"  note: {note}" for note in notes)):
        say(line)
    return 0


def summary(recipe: RecipeArgument, /) -> int:
    """Print the layers of a recipe's model with their output shapes and parameters.

    Args:
        recipe: the recipe and its settings
    """
    from danlu.app.console.formatting import human
    from danlu.app.inspect.model_summary import layer_lines
    from danlu.app.runs.inspect_recipe import summary

    layers = summary(recipe.recipe)
    print_line(f"{layers.model}, {layers.parameters:,} parameters, {human(4 * layers.parameters)} of weights")
    for line in layer_lines(layers):
        print_line(f"  {line}")
    if layers.memory is not None:
        print_line(f"  about {human(layers.memory.per_example)} of activations per {layers.unit} in a batch")
    if layers.receptive_field:
        print_line(
            f"  receptive field of the last convolution: {layers.receptive_field}×{layers.receptive_field} pixels"
        )
    return 0


def _row(name: str, entry: Entry) -> tuple[str, ...]:
    return name, entry.family, entry.title, entry.source
