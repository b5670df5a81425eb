"""What is wrong with the settings of a recipe, in plain words: from a validator's errors to one sentence each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from danlu.errors import nearest
from danlu.recipes.config.strict_yaml import KeyPath, Problem, Reading, scalar, short, spelled, written


def in_words(error: ValidationError, page: type[BaseModel], reading: Reading | None = None) -> list[Problem]:
    """What is wrong with the settings, in plain words: one problem a setting, though a union's members complain singly.

    Args:
        error: what validation raised.
        page: the class of the recipe, or of the page of settings, that was validated.
        reading: the file, if it was one, for the lines.

    >>> from danlu.recipes import MLPRecipe
    >>> from danlu.recipes.config.strict_yaml import failure
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
    *("missing", "literal_error", "int_from_float", "int_parsing_size", "multiple_of"),
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
            return f"{shown(value, reading.written.get(path))} is {_expected(kinds)}{_hint(value, kinds)}"
    return f"{shown(value, reading.written.get(path))} does not fit: {_said(fault)}"


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


def shown(value: Any, as_written: str | None) -> str:
    match value:
        case str():
            return short(repr(value))
        case None:
            return "null"
        case list() | tuple():
            return short(f"[{', '.join(shown(item, None) for item in value)}]")
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
