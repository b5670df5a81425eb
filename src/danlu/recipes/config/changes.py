"""Change values of a recipe and validate the result."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ValidationError

from danlu.errors import UsageError
from danlu.recipes.config.error_messages import problems_of
from danlu.recipes.config.recipe import Recipe
from danlu.recipes.config.strict_yaml import KeyPath, ParsedYAML, failure, format_path


def changed(recipe: Recipe, changes: dict[str, Any]) -> Recipe:
    """A copy of a recipe with some values changed. The result is validated.

    Args:
        recipe: the recipe; it is not modified.
        changes: new values by name: ``{"lr": 0.1, "model": {"hidden": (8,)}}`` or ``{"model.hidden": (8,)}``.

    Raises:
        UsageError: with all errors, one per line.

    >>> from danlu.recipes import MLPRecipe
    >>> changed(MLPRecipe(), {"model.hidden": (8,)}).model
    MLPSettings(hidden=(8,), activation='relu', norm=None, dropout=0.2)
    >>> changed(MLPRecipe(), {"lr": -1})
    Traceback (most recent call last):
    danlu.errors.UsageError: lr: expected a number > 0, got -1
    """
    return checked(recipe, _nested(changes), ParsedYAML(changes, {}, {}, []), None)


def _nested(changes: dict[str, Any]) -> dict[str, Any]:
    """Expand dotted names: ``{"a.b": 1}`` is ``{"a": {"b": 1}}``."""
    tree: dict[str, Any] = {}
    for name, value in changes.items():
        branch: Any = _nested(value) if isinstance(value, dict) else value
        for part in reversed(name.split(".")):
            branch = {part: branch}
        _insert(tree, branch, ())
    return tree


def _insert(tree: dict[str, Any], branch: dict[str, Any], path: KeyPath) -> None:
    for name, value in branch.items():
        if name not in tree:
            tree[name] = value
        elif isinstance(tree[name], dict) and isinstance(value, dict):
            _insert(tree[name], value, (*path, name))
        else:
            raise UsageError(f"{format_path((*path, name))}: set twice")


def checked(recipe: Recipe, values: dict[str, Any], parsed: ParsedYAML, name: str | None) -> Recipe:
    """A copy of a recipe with these values, validated.

    Args:
        recipe: its other values are kept.
        values: the new values, nested like the settings.
        parsed: the lines of the values, and the errors found so far, which are reported together.
        name: the file, for error messages; None if there is none.

    Raises:
        UsageError: with all errors, one per line.
    """
    try:
        result = type(recipe).model_validate(_merged(recipe.with_dependent_defaults(values), values), strict=True)
    except ValidationError as error:
        raise failure([*parsed.problems, *problems_of(error, type(recipe), parsed)], name) from None
    if parsed.problems:
        raise failure(parsed.problems, name)
    return result


def _merged(page: BaseModel, values: dict[str, Any]) -> dict[str, Any]:
    """The values of a page, updated with new values; nested pages are merged recursively."""
    merged = dict(page)
    for name, value in values.items():
        current = merged.get(name)
        is_page = isinstance(current, BaseModel) and isinstance(value, dict)
        merged[name] = _merged(current, value) if is_page else plain(value)  # type: ignore[arg-type]
    return merged


def plain(value: Any) -> Any:
    """Convert lists to tuples and 1e3 to 1000, because validation is strict."""
    match value:
        case list() | tuple():
            return tuple(plain(item) for item in value)
        case dict():
            return {key: plain(item) for key, item in value.items()}
        case float() if value.is_integer() and str(value) != "-0.0":
            return int(value)
    return value
