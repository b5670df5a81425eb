"""Recipes as YAML files: written out in full with the words that explain each value, and read back strictly."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from danlu import catalogue
from danlu.errors import UsageError, nearest
from danlu.recipes import strict_yaml
from danlu.recipes.recipe import Recipe
from danlu.recipes.strict_yaml import KeyPath, Problem, Reading, failure, scalar, short, spelled, written

FORMAT = 1
LARGEST = 2**20  # bytes; a recipe has a few thousand
_COLUMN = 28  # where comments begin


def to_yaml(recipe: Recipe) -> str:
    """The whole recipe as a YAML text, each setting with its description; ``from_text`` reads it back.

    Raises:
        UsageError: if the recipe is not in the catalogue, so that no name could bring it back.

    >>> from danlu.recipes.mlp import MLPRecipe
    >>> print(to_yaml(MLPRecipe(lr=1e-3)))
    format: 1
    recipe: mlp
    ...
    lr: 0.001                   # peak learning rate
    ...
    model:                      # the network
      hidden: [512]             # width of each hidden layer; none makes softmax regression
    ...
    """
    head = [f"format: {FORMAT}", f"recipe: {written(catalogue.name_of_recipe(type(recipe)))}", ""]
    return "\n".join([*head, *_lines(recipe), ""])


def from_yaml(path: str | Path) -> Recipe:
    """The recipe that a file describes; what the file leaves out has the recipe's own values.

    Raises:
        UsageError: if the file cannot be read, or with every mistake in it, one a line.
    """
    return from_text(_file_text(Path(path)), str(path))


def from_text(text: str, name: str = "recipe") -> Recipe:
    """The recipe that a YAML text describes; what it leaves out has the recipe's own values.

    Each setting is checked alone first; how settings go together is checked when each is right.

    Args:
        text: the YAML.
        name: what errors call the text.

    Raises:
        UsageError: with every mistake, one a line.

    >>> from_text("{recipe: cnn, lr: 1e-2, model: {hidden: [64]}}").model.hidden
    (64,)
    >>> from_text("recipe: cnn\\nlr: fast\\nmodel:\\n  chanels: [8]", "mine.yaml")
    Traceback (most recent call last):
    danlu.errors.UsageError: mine.yaml:2: lr: 'fast' is not a number greater than 0
    mine.yaml:4: model.chanels: there is no such setting; did you mean 'channels'?
    """
    reading = strict_yaml.read(text, name)
    if not isinstance(reading.values, dict):
        what = "the file is empty" if reading.values is None else f"the file holds {_shown(reading.values, None)}"
        problem = Problem(None, (), f"{what}; a recipe file has lines such as 'recipe: cnn' and 'lr: 0.01'")
        raise failure(reading.problems or [problem], name)
    usual = _named(reading, name).model_construct()
    given = {key: value for key, value in reading.values.items() if key not in ("format", "recipe")}
    return _checked(usual, given, reading, name)


def changed(recipe: Recipe, changes: dict[str, Any]) -> Recipe:
    """A recipe with some values changed, and checked again.

    Args:
        recipe: the recipe; it stays as it is.
        changes: new values by name: ``{"lr": 0.1, "model": {"hidden": (8,)}}`` or ``{"model.hidden": (8,)}``.

    Raises:
        UsageError: with every mistake, one a line.

    >>> from danlu.recipes.mlp import MLPRecipe
    >>> changed(MLPRecipe(), {"model.hidden": (8,)}).model
    MLPSettings(hidden=(8,), activation='relu', norm=None, dropout=0.2)
    >>> changed(MLPRecipe(), {"lr": -1})
    Traceback (most recent call last):
    danlu.errors.UsageError: lr: -1 is not a number greater than 0
    """
    return _checked(recipe, _nested(changes), Reading(changes, {}, {}, []), None)


# Writing


def _lines(page: BaseModel, indent: str = "") -> Iterator[str]:
    """One line a setting, with an empty line between those that come from different pages."""
    last = None
    for name, field in type(page).model_fields.items():
        value = getattr(page, name)
        inside = isinstance(value, BaseModel) and bool(type(value).model_fields)
        first_on = next(base for base in reversed(type(page).__mro__) if name in getattr(base, "model_fields", {}))
        if last not in (None, first_on):
            yield ""
        last = first_on
        setting = f"{indent}{name}:" if inside else f"{indent}{name}: {written(value)}"
        description = " ".join((field.description or "").split())
        yield f"{setting:<{_COLUMN - 1}} # {description}" if description else setting
        if inside:
            yield from _lines(value, indent + "  ")


# Reading


def _file_text(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST + 1)
    except FileNotFoundError:
        raise UsageError(f"{path}: there is no such file") from None
    except IsADirectoryError:
        raise UsageError(f"{path} is a folder; give the recipe file itself") from None
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        raise UsageError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(content) > LARGEST:
        raise UsageError(f"{path} is larger than {LARGEST} bytes (1 MiB), so it is no recipe")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{path}:{line}: byte {error.start} is not UTF-8; save the file as UTF-8") from None


def _named(reading: Reading, name: str) -> type[Recipe]:
    """The class of the recipe that the text names. Without it no setting can be checked."""
    path = ("recipe",)
    recipe, line = reading.values.get("recipe"), reading.line(path)
    _check_format(reading, name)
    if isinstance(recipe, str):
        try:
            return catalogue.find_recipe(recipe)
        except UsageError as error:
            wrong = str(error)
    elif line is None:
        wrong = f"no recipe is named; add a line such as 'recipe: cnn' ({nearest('', catalogue.recipes())})"
    else:
        wrong = f"{_shown(recipe, reading.written.get(path))} is no name; {nearest('', catalogue.recipes())}"
    refused = any(problem.path == path for problem in reading.problems)
    found = [] if refused else [Problem(line, path if line else (), wrong)]
    raise failure([*reading.problems, *found], name)


def _check_format(reading: Reading, name: str) -> None:
    path = ("format",)
    number, line = _plain(reading.values.get("format", FORMAT)), reading.line(path)
    if type(number) is not int or number < 1:
        shown = _shown(number, reading.written.get(path))
        reading.problems.append(Problem(line, path, f"{shown} is not a whole number of at least 1"))
    elif number > FORMAT:  # what else looks wrong may be right there
        newer = f"{number} is newer than this version of danlu, which reads up to {FORMAT}; update danlu"
        raise failure([Problem(line, path, newer)], name)


def _nested(changes: dict[str, Any]) -> dict[str, Any]:
    """``{"a.b": 1}`` as ``{"a": {"b": 1}}``."""
    tree: dict[str, Any] = {}
    for name, value in changes.items():
        branch: Any = _nested(value) if isinstance(value, dict) else value
        for part in reversed(name.split(".")):
            branch = {part: branch}
        _graft(tree, branch, ())
    return tree


def _graft(tree: dict[str, Any], branch: dict[str, Any], path: KeyPath) -> None:
    for name, value in branch.items():
        if name not in tree:
            tree[name] = value
        elif isinstance(tree[name], dict) and isinstance(value, dict):
            _graft(tree[name], value, (*path, name))
        else:
            raise UsageError(f"{spelled((*path, name))}: given twice")


# Checking


def in_words(error: ValidationError, page: type[BaseModel], reading: Reading | None = None) -> list[Problem]:
    """What is wrong with the settings, in plain words: one problem a setting, though a union's members complain singly.

    Args:
        error: what validation raised.
        page: the class of the recipe, or of the page of settings, that was validated.
        reading: the file, if it was one, for the lines.

    >>> from danlu.recipes.mlp import MLPRecipe
    >>> try:
    ...     MLPRecipe(batch_size=0)
    ... except ValidationError as error:
    ...     print(failure(in_words(error, MLPRecipe)))
    batch_size: 0 is neither a whole number of at least 1 nor 'full'
    """
    reading = reading or Reading({}, {}, {}, [])
    found: dict[KeyPath, Problem] = {}
    for fault in error.errors(include_url=False):
        path = _key_path(fault, page)
        of_page = any(_is_page(member) for member in _members(_type_at(page, path)))
        if not of_page or fault["type"] not in ("value_error", "assertion_error"):
            found.setdefault(path, Problem(reading.line(path), path, _wrong(fault, path, page, reading)))
        elif not reading.problems:  # else a rule may be broken only for want of what was refused
            found.setdefault(path, _rule(fault, path, reading))
    return [found[path] for path in found if not any(path[:length] in found for length in range(len(path)))]


def _checked(usual: Recipe, given: dict[str, Any], reading: Reading, name: str | None) -> Recipe:
    try:
        recipe = type(usual).model_validate(_filled(usual, given), strict=True)
    except ValidationError as error:
        raise failure([*reading.problems, *in_words(error, type(usual), reading)], name) from None
    if reading.problems:
        raise failure(reading.problems, name)
    return recipe


def _filled(page: BaseModel, given: dict[str, Any]) -> dict[str, Any]:
    """The page's values with the given ones in their place; a page inside keeps what is not given."""
    values = dict(page)
    for name, value in given.items():
        inside = values.get(name)
        both = isinstance(inside, BaseModel) and isinstance(value, dict)
        values[name] = _filled(inside, value) if both else _plain(value)  # type: ignore[arg-type]
    return values


def _plain(value: Any) -> Any:
    """Lists as tuples, and 1e3 as 1000, so that validation need not be lenient with anything else."""
    match value:
        case list() | tuple():
            return tuple(_plain(item) for item in value)
        case dict():
            return {key: _plain(item) for key, item in value.items()}
        case float() if value.is_integer() and str(value) != "-0.0":
            return int(value)
    return value


def _key_path(fault: Any, page: type[BaseModel]) -> KeyPath:
    """Where a fault is: its location without the names of a union's members."""
    path: list[str | int] = []
    for step in fault["loc"]:
        if _type_at(page, (*path, step)) is not None:
            path.append(step)
    if fault["type"] == "extra_forbidden":
        path.append(fault["loc"][-1])
    elif fault["type"] == "missing" and isinstance(path[-1], int):
        path.pop()  # a list that is too short is itself wrong, not the item that it lacks
    return tuple(path)


def _rule(fault: Any, path: KeyPath, reading: Reading) -> Problem:
    """A combination that a page refuses, with the lines of the settings that its words name."""
    text = _said(fault)
    words = set(re.findall(r"\w+", text))
    named = (p for p in reading.lines if p[:-1] == path and p and p[-1] in words)
    lines = sorted(reading.lines[p] for p in named)
    if len(lines) > 1:
        text += f" (lines {', '.join(map(str, lines[:-1]))} and {lines[-1]})"
    return Problem(lines[0] if lines else reading.line(path), path, text)


# The sentences

_OF_KIND = (
    *("missing", "literal_error", "int_from_float", "multiple_of"),
    *("greater_than", "greater_than_equal", "less_than", "less_than_equal"),
    *("too_short", "too_long", "string_too_short", "string_too_long"),
)


def _wrong(fault: Any, path: KeyPath, page: type[BaseModel], reading: Reading) -> str:
    value, kinds = fault["input"], _kinds(_type_at(page, path))
    match fault["type"]:
        case "extra_forbidden":
            return f"there is no such setting; {_nearest_setting(path, page, bool(reading.lines))}"
        case "missing" if isinstance(value, dict):
            return f"is missing; it must be {' or '.join(kinds)}"
        case kind if kinds and (kind in _OF_KIND or kind.endswith(("_type", "_parsing"))):
            return f"{_shown(value, reading.written.get(path))} is {_expected(kinds)}{_hint(value, kinds)}"
    return f"{_shown(value, reading.written.get(path))} does not fit: {_said(fault)}"


def _said(fault: Any) -> str:
    """The validator's own words, or pydantic's without its terms."""
    own = fault.get("ctx", {}).get("error")
    return " ".join(str(own).split()) if own else re.sub(r"^\w+ should", "it should", fault["msg"])


def _expected(kinds: list[str]) -> str:
    kinds = sorted(kinds, key=lambda kind: kind.startswith("a list"))  # the longest words last
    match kinds:
        case [one]:
            return f"not {one}"
        case [one, other]:
            return f"neither {one} nor {other}"
    return f"none of {', '.join(kinds)}"


def _hint(value: Any, kinds: list[str]) -> str:
    """What was probably meant, if that can be told."""
    if isinstance(value, str):
        numbers = any(kind.startswith(("a number", "a whole number")) for kind in kinds)
        wanted = {int: numbers, float: numbers, bool: "true" in kinds, NoneType: "null" in kinds}
        if wanted.get(type(scalar(value)), False):
            return "; write it without quotes"
        near = nearest(value, [kind[1:-1] for kind in kinds if kind.startswith("'")])
        return f"; {near}" if near.endswith("?") else ""
    return "; write it in quotes" if "text" in kinds and isinstance(value, int | float) else ""


def _shown(value: Any, as_written: str | None) -> str:
    match value:
        case str():
            return short(repr(value))
        case None:
            return "null"
        case list() | tuple():
            return short(f"[{', '.join(_shown(item, None) for item in value)}]")
        case dict():
            return "a mapping"
        case BaseModel():
            return type(value).__name__
    return short(as_written or (written(value) if isinstance(value, int | float) else repr(value)))


def _nearest_setting(path: KeyPath, page: type[BaseModel], in_file: bool) -> str:
    """The nearest name at this level; or the setting of just this name at another."""
    settings = list(_settings(page))
    for setting in settings:
        if path == (spelled(setting),):
            return f"write '{spelled(setting[:-1])}:' and below it, indented, '{setting[-1]}:'"
        if path[-1] == setting[-1]:
            return f"did you mean {spelled(setting)!r}?"
    here = [str(setting[-1]) for setting in settings if setting[:-1] == path[:-1]]
    return nearest(str(path[-1]), [*here, "format"] if in_file and len(path) == 1 else here)


def _settings(page: type[BaseModel], path: KeyPath = ()) -> Iterator[KeyPath]:
    """Every setting of a page and of the pages in it."""
    for name, field in page.model_fields.items():
        yield (*path, name)
        for member in _members(field.annotation):
            if _is_page(member):
                yield from _settings(member, (*path, name))


# Types in words


def _members(kind: Any) -> tuple[Any, ...]:
    """The members of a union, or the one type."""
    if get_origin(kind) is Annotated:
        return _members(get_args(kind)[0])
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def _is_page(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _type_at(kind: Any, path: KeyPath) -> Any:
    """The type of the setting at a path, or of the item of a list there; None if that is not known."""
    if not path:
        return kind
    inside = (_type_inside(member, path[0]) for member in _members(kind))
    return next((_type_at(found, path[1:]) for found in inside if found is not None), None)


def _type_inside(kind: Any, step: str | int) -> Any:
    if _is_page(kind):
        field = kind.model_fields.get(step)
        return field and Annotated[field.annotation, field]
    if get_origin(kind) is tuple and isinstance(step, int):
        items = get_args(kind)
        return items[0] if items[-1] is ... else items[step]
    return get_args(kind)[1] if get_origin(kind) is dict else None


_PLAIN_KINDS: dict[Any, list[str]] = {
    NoneType: ["null"],
    bool: ["true", "false"],
    int: ["a whole number"],
    float: ["a number"],
    str: ["text"],
}
_LIMITS = {
    "ge": "of at least {}",
    "gt": "greater than {}",
    "le": "of at most {}",
    "lt": "less than {}",
    "multiple_of": "divisible by {}",
    "min_length": "of length {} or more",
    "max_length": "of length {} or less",
}


def _kinds(kind: Any, limits: str = "") -> list[str]:
    """What a value of a type is, in words: one for each thing that it may be.

    >>> from pydantic import Field
    >>> _kinds(Annotated[float, Field(ge=0, lt=1)] | Literal["full"] | None)
    ['a number of at least 0 and less than 1', "'full'", 'null']
    """
    origin, items = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _kinds(items[0], _limits(items[1:]))
    if origin in (Union, UnionType):
        return [words for member in items for words in _kinds(member, limits)]
    if origin is Literal:
        return [repr(item) if isinstance(item, str) else written(item) for item in items]
    if origin is tuple:
        return [_list(items) + limits]
    if _is_page(kind):
        return [f"a mapping with the settings {', '.join(kind.model_fields)}"]
    if origin is dict:
        return ["a mapping"]
    return [words + limits * (kind in (int, float, str)) for words in _PLAIN_KINDS.get(kind, [])]


def _limits(metadata: tuple[Any, ...]) -> str:
    rules = [rule for item in metadata for rule in getattr(item, "metadata", [item])]
    values = ((words, getattr(rule, name, None)) for rule in rules for name, words in _LIMITS.items())
    said = [words.format(written(value)) for words, value in values if value is not None]
    return f" {' and '.join(said)}" if said else ""


def _list(items: tuple[Any, ...]) -> str:
    if items[-1:] == (...,):
        return f"a list, each item {' or '.join(_kinds(items[0]))}"
    alike = bool(items) and all(item == items[0] for item in items)
    each = f", each {' or '.join(_kinds(items[0]))}" if alike else ""
    return f"a list of {len(items)}{each}"
