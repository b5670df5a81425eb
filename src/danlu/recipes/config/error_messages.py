"""Error messages for invalid settings: one message for each error of the validator."""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from danlu.errors import nearest, short
from danlu.limits import PROBLEMS
from danlu.recipes.config.strict_yaml import (
    KeyPath,
    ParsedYAML,
    Problem,
    failure,
    format_path,
    format_value,
    scalar,
)

P = TypeVar("P", bound=BaseModel)


def validate(page: type[P], values: dict[str, Any]) -> P:
    """A page of settings with these values.

    Raises:
        UsageError: with all errors, one per line.

    >>> from danlu.data.training_data import TrainingData
    >>> validate(TrainingData, {"data": "digits", "split": {"validation": 2}})
    Traceback (most recent call last):
    danlu.errors.UsageError: split.validation: expected a number >= 0 and < 1, got 2
    """
    try:
        return page.model_validate(values)
    except ValidationError as error:
        raise failure(problems_of(error, page)) from None


def problems_of(error: ValidationError, page: type[BaseModel], parsed: ParsedYAML | None = None) -> list[Problem]:
    """The problems in a validation error: one for each setting, although each member of a union has its own error.

    Args:
        error: the error of the validation.
        page: the class of the recipe, or of the page of settings, that was validated.
        parsed: the file of the values, if any, for line numbers.

    >>> from danlu.recipes import MLPRecipe
    >>> try:
    ...     MLPRecipe(batch_size=0)
    ... except ValidationError as error:
    ...     print(failure(problems_of(error, MLPRecipe)))
    batch_size: expected an integer >= 1 or 'full', got 0
    """
    parsed = parsed or ParsedYAML({}, {}, {}, [])
    problems: dict[KeyPath, list[Problem]] = {}
    entries = [(_key_path(entry, page), entry) for entry in error.errors(include_url=False)]
    for path, entry in sorted(entries, key=lambda item: parsed.line(item[0]) or 0):
        if path in problems:
            continue
        is_page = any(_is_page(member) for member in _members(_type_at(page, path)))
        if len(problems) >= PROBLEMS:
            problems[path] = [Problem(parsed.line(path), path, "")]  # not shown; a text takes a millisecond
        elif not is_page or entry["type"] not in ("value_error", "assertion_error"):
            problems[path] = [Problem(parsed.line(path), path, _describe_error(entry, path, page, parsed))]
        elif not parsed.problems:  # otherwise a rule may be violated only because an invalid value was left out
            problems[path] = [_combination_error(text, path, parsed) for text in _message(entry).split("\n")]
    inner = (path for path in problems if not any(path[:n] in problems for n in range(len(path))))
    return [problem for path in inner for problem in problems[path]]


def _key_path(entry: Any, page: type[BaseModel]) -> KeyPath:
    """The key path of a fault: its location without the names of a union's members."""
    path: list[str | int] = []
    for step in entry["loc"]:
        if _type_at(page, (*path, step)) is not None:
            path.append(step)
    if entry["type"] == "extra_forbidden":
        path.append(entry["loc"][-1])
    elif entry["type"] == "missing" and isinstance(path[-1], int):
        path.pop()  # the error belongs to the list, which is too short, and not to the missing item
    return tuple(path)


def _combination_error(text: str, path: KeyPath, parsed: ParsedYAML) -> Problem:
    """The problem of an invalid combination of settings, with the lines of the settings that its message names."""
    words = set(re.findall(r"\w+", text))
    mentioned = (p for p in parsed.lines if p[:-1] == path and p and p[-1] in words)
    lines = sorted(parsed.lines[p] for p in mentioned)
    if len(lines) > 1:
        text += f" (lines {', '.join(map(str, lines[:-1]))} and {lines[-1]})"
    return Problem(lines[0] if lines else parsed.line(path), path, text)


# Sentences

_TYPE_ERRORS = (
    *("missing", "literal_error", "int_from_float", "int_parsing_size", "multiple_of"),
    *("greater_than", "greater_than_equal", "less_than", "less_than_equal"),
    *("too_short", "too_long", "string_too_short", "string_too_long"),
)


def _describe_error(entry: Any, path: KeyPath, page: type[BaseModel], parsed: ParsedYAML) -> str:
    kinds, value = _kinds(_type_at(page, path)), display(entry["input"], parsed.raw.get(path))
    match entry["type"]:
        case "extra_forbidden":
            return f"unknown setting; {_nearest_setting(path, page, bool(parsed.lines))}"
        case "missing" if isinstance(entry["input"], dict):
            return f"missing; expected {_alternatives(kinds)}"
        case kind if kinds and (kind in _TYPE_ERRORS or kind.endswith(("_type", "_parsing"))):
            return f"expected {_alternatives(kinds)}, got {value}{_hint(entry['input'], kinds)}"
    if "error" in entry.get("ctx", {}):
        return f"invalid value {value}: {_message(entry)}"
    return f"{_message(entry)}, got {value}"


def _message(entry: Any) -> str:
    """The message of danlu's validator, which can have several lines, or that of pydantic."""
    message = entry.get("ctx", {}).get("error")
    if not message:
        return re.sub(r"^\w+ should be", "expected", entry["msg"])
    return "\n".join(" ".join(line.split()) for line in str(message).splitlines())


def _alternatives(kinds: list[str]) -> str:
    kinds = sorted(kinds, key=lambda kind: kind.startswith("a list"))  # the longest one last
    return " or ".join(kinds) if len(kinds) < 3 else f"{', '.join(kinds[:-1])} or {kinds[-1]}"


def _hint(value: Any, kinds: list[str]) -> str:
    """A suggestion, if there is a likely one."""
    if isinstance(value, str):
        numbers = any(kind.startswith(("a number", "an integer")) for kind in kinds)
        unquoted = {int: numbers, float: numbers, bool: "true" in kinds, NoneType: "null" in kinds}
        if unquoted.get(type(scalar(value)), False):
            return "; write it without quotes"
        suggestion = nearest(value, [kind[1:-1] for kind in kinds if kind.startswith("'")])
        return f"; {suggestion}" if suggestion.endswith("?") else ""
    return "; write it in quotes" if "text" in kinds and isinstance(value, int | float) else ""


def display(value: Any, as_written: str | None) -> str:
    match value:
        case str():
            return short(repr(value))
        case None:
            return "null"
        case list() | tuple():
            return short(f"[{', '.join(display(item, None) for item in value)}]")
        case dict():
            return "a mapping"
        case BaseModel():
            return type(value).__name__
    return short(as_written or (format_value(value) if isinstance(value, int | float) else repr(value)))


def _nearest_setting(path: KeyPath, page: type[BaseModel], in_file: bool) -> str:
    """The most similar name at this level, or a setting with the same name at another level."""
    settings = list(_settings(page))
    for setting in settings:
        if path == (format_path(setting),):
            return f"write '{format_path(setting[:-1])}:' and below it, indented, '{setting[-1]}:'"
        if path[-1] == setting[-1]:
            return f"did you mean {format_path(setting)!r}?"
    siblings = [str(setting[-1]) for setting in settings if setting[:-1] == path[:-1]]
    return nearest(str(path[-1]), [*siblings, "format"] if in_file and len(path) == 1 else siblings)


def _settings(page: type[BaseModel], path: KeyPath = ()) -> Iterator[KeyPath]:
    """All settings of a page and of its nested pages."""
    for name, field in page.model_fields.items():
        yield (*path, name)
        for member in _members(field.annotation):
            if _is_page(member):
                yield from _settings(member, (*path, name))


# Descriptions of types


def _members(kind: Any) -> tuple[Any, ...]:
    """The members of a union, or the one type."""
    if get_origin(kind) is Annotated:
        return _members(get_args(kind)[0])
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def _is_page(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _type_at(kind: Any, path: KeyPath) -> Any:
    """The type of the setting, or of the list item, at a path; None if it is unknown."""
    if not path:
        return kind
    types = (_type_inside(member, path[0]) for member in _members(kind))
    return next((_type_at(member, path[1:]) for member in types if member is not None), None)


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
    int: ["an integer"],
    float: ["a number"],
    str: ["text"],
}
_LIMITS = {
    "ge": ">= {}",
    "gt": "> {}",
    "le": "<= {}",
    "lt": "< {}",
    "multiple_of": "divisible by {}",
    "min_length": "of length >= {}",
    "max_length": "of length <= {}",
}


def _kinds(kind: Any, limits: str = "") -> list[str]:
    """Descriptions of the values that a type allows.

    >>> from pydantic import Field
    >>> _kinds(Annotated[float, Field(ge=0, lt=1)] | Literal["full"] | None)
    ['a number >= 0 and < 1', "'full'", 'null']
    """
    origin, items = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _kinds(items[0], _limits(items[1:]))
    if origin in (Union, UnionType):
        return [description for member in items for description in _kinds(member, limits)]
    if origin is Literal:
        return [repr(item) if isinstance(item, str) else format_value(item) for item in items]
    if origin is tuple:
        return [_list(items) + limits]
    if _is_page(kind):
        return [f"a mapping with the settings {', '.join(kind.model_fields)}"]
    if origin is dict:
        return ["a mapping"]
    return [description + limits * (kind in (int, float, str)) for description in _PLAIN_KINDS.get(kind, [])]


def _limits(metadata: tuple[Any, ...]) -> str:
    rules = [rule for item in metadata for rule in getattr(item, "metadata", [item])]
    values = ((template, getattr(rule, name, None)) for rule in rules for name, template in _LIMITS.items())
    limits = [template.format(format_value(value)) for template, value in values if value is not None]
    return f" {' and '.join(limits)}" if limits else ""


def _list(items: tuple[Any, ...]) -> str:
    if items[-1:] == (...,):
        return f"a list (each item {' or '.join(_kinds(items[0]))})"
    equal = bool(items) and all(item == items[0] for item in items)
    suffix = f" (each {' or '.join(_kinds(items[0]))})" if equal else ""
    return f"a list of {len(items)}{suffix}"
