"""Recipes as YAML files: written with all settings and their descriptions, and read strictly."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from danlu import catalogue
from danlu.data.settings import DataSettings
from danlu.errors import UsageError, nearest
from danlu.limits import RECIPE_BYTES
from danlu.recipes.config import strict_yaml
from danlu.recipes.config.changes import checked, plain
from danlu.recipes.config.error_messages import display
from danlu.recipes.config.recipe import Recipe
from danlu.recipes.config.strict_yaml import ParsedYAML, Problem, failure, format_value
from danlu.storage.regular_file import open_regular

FORMAT = 1
_COLUMN = 28  # where comments begin


def to_yaml(recipe: Recipe) -> str:
    """The complete recipe as YAML, each setting with its description; ``from_text`` reads it.

    Raises:
        UsageError: if the recipe is not in the catalogue.

    >>> from danlu.recipes import MLPRecipe
    >>> print(to_yaml(MLPRecipe(lr=1e-3)))
    format: 1
    recipe: mlp
    ...
    lr: 0.001                   # peak learning rate
    ...
    model:                      # the network
      hidden: [512]             # width of each hidden layer; empty for softmax regression
    ...
    """
    head = [f"format: {FORMAT}", f"recipe: {format_value(catalogue.name_of_recipe(type(recipe)))}", ""]
    return "\n".join([*head, *_lines(recipe), ""])


def from_yaml(path: str | Path) -> Recipe:
    """Read a recipe file; settings that the file does not have keep the recipe's defaults.

    Raises:
        UsageError: if the file cannot be read, or has errors; all errors, one per line.
    """
    return from_text(_file_text(Path(path)), str(path))


def from_text(text: str, name: str = "recipe") -> Recipe:
    """Read a recipe from YAML; settings that the text does not have keep the recipe's defaults.

    Each setting is validated separately first; combinations of settings are validated if there are no other errors.

    Args:
        text: the YAML.
        name: the name of the text, for error messages.

    Raises:
        UsageError: with all errors, one per line.

    >>> from_text("{recipe: cnn, lr: 1e-2, model: {hidden: [64]}}").model.hidden
    (64,)
    >>> from_text("recipe: cnn\\nlr: fast\\nmodel:\\n  chanels: [8]", "mine.yaml")
    Traceback (most recent call last):
    danlu.errors.UsageError: mine.yaml:2: lr: expected a number > 0, got 'fast'
    mine.yaml:4: model.chanels: unknown setting; did you mean 'channels'?
    """
    parsed = strict_yaml.read(text, name)
    if not isinstance(parsed.values, dict):
        problem_text = (
            "the file is empty" if parsed.values is None else f"the file has only {display(parsed.values, None)}"
        )
        problem = Problem(None, (), f"{problem_text}; a recipe file has lines such as 'recipe: cnn' and 'lr: 0.01'")
        raise failure(parsed.problems or [problem], name)
    defaults = _named(parsed, name).model_construct()
    values = {key: value for key, value in parsed.values.items() if key not in ("format", "recipe")}
    return checked(defaults, values, parsed, name)


# Writing


def _lines(page: BaseModel, indent: str = "") -> Iterator[str]:
    """One line per setting, with an empty line between settings of different pages."""
    last = None
    unused = page.unused_settings() if isinstance(page, DataSettings) else ()
    for name, field in type(page).model_fields.items():
        if name in unused:
            continue
        value = getattr(page, name)
        is_page = isinstance(value, BaseModel) and bool(type(value).model_fields)
        declaring_page = next(
            base for base in reversed(type(page).__mro__) if name in getattr(base, "model_fields", {})
        )
        if last not in (None, declaring_page):
            yield ""
        last = declaring_page
        setting = f"{indent}{name}:" if is_page else f"{indent}{name}: {format_value(value)}"
        description = " ".join((field.description or "").split())
        yield f"{setting:<{_COLUMN - 1}} # {description}" if description else setting
        if is_page:
            yield from _lines(value, indent + "  ")


# Reading


def _file_text(path: Path) -> str:
    try:
        with open_regular(path) as file:
            content = file.read(RECIPE_BYTES + 1)
    except FileNotFoundError:
        raise UsageError(f"{path}: there is no such file") from None
    except IsADirectoryError:
        raise UsageError(f"{path} is a folder; expected a recipe file") from None
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        raise UsageError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(content) > RECIPE_BYTES:
        raise UsageError(f"{path} is larger than {RECIPE_BYTES} bytes (1 MiB), so it is not a recipe file")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{path}:{line}: byte {error.start} is not UTF-8; save the file as UTF-8") from None


def _named(parsed: ParsedYAML, name: str) -> type[Recipe]:
    """The class of the recipe that the text names. Without it, no setting can be validated."""
    path = ("recipe",)
    recipe, line = parsed.values.get("recipe"), parsed.line(path)
    available = nearest("", catalogue.all_recipes())
    _check_format(parsed, name)
    if isinstance(recipe, str):
        try:
            return catalogue.find_recipe(recipe)
        except UsageError as error:
            message = str(error)
    elif line is None:
        message = f"the name of the recipe is missing; add a line such as 'recipe: cnn' ({available})"
    else:
        message = f"expected a name, got {display(recipe, parsed.raw.get(path))}; {available}"
    refused = any(problem.path == path for problem in parsed.problems)
    missing = [] if refused else [Problem(line, path if line else (), message)]
    raise failure([*parsed.problems, *missing], name)


def _check_format(parsed: ParsedYAML, name: str) -> None:
    path = ("format",)
    number, line = plain(parsed.values.get("format", FORMAT)), parsed.line(path)
    if type(number) is not int or number < 1:
        what = display(number, parsed.raw.get(path))
        parsed.problems.append(Problem(line, path, f"expected an integer >= 1, got {what}"))
    elif number > FORMAT:  # other errors may be valid in the newer format
        newer = f"{number} is newer than this version of danlu, which reads up to {FORMAT}; update danlu"
        raise failure([Problem(line, path, newer)], name)
