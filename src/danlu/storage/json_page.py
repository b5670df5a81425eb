"""JSON files: read within limits; with a format number, if they describe weights, checkpoints and runs."""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError

from danlu.errors import RunError, UsageError
from danlu.limits import JSON_BYTES, JSON_DEPTH, NUMBER_CHARACTERS
from danlu.storage.regular_file import read_regular


def parse_json(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: if the text is not JSON, is nested too deeply, or has an integer of too many digits.

    >>> parse_json("[" * 40 + "]" * 40)
    Traceback (most recent call last):
    ValueError: it is nested more than 32 levels deep
    """
    too_deep = f"it is nested more than {JSON_DEPTH} levels deep"
    try:
        value = json.loads(text, parse_int=_integer)
    except RecursionError:
        raise ValueError(too_deep) from None
    level = [value]
    for _ in range(JSON_DEPTH + 1):
        level = [
            item
            for outer in level
            if isinstance(outer, dict | list)
            for item in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return value
    raise ValueError(too_deep)


def _integer(text: str) -> int:
    if len(text) > NUMBER_CHARACTERS:
        raise ValueError(f"it has an integer of {len(text):,} characters, and at most {NUMBER_CHARACTERS} are allowed")
    return int(text)


def read_json(path: Path, most: int = JSON_BYTES) -> Any:
    """The value of a JSON file.

    Args:
        path: the file.
        most: maximum size in bytes.

    Raises:
        OSError: if the file cannot be read, is not a regular file, or is larger.
        ValueError: if it is not such a text in UTF-8.
    """
    return parse_json(read_regular(path, most).decode())


_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def read_number(value: Any) -> Any:
    """The number that ``to_json`` wrote as text because it is not finite; other values unchanged.

    >>> read_number("-Infinity"), read_number(2.5)
    (-inf, 2.5)
    """
    return _NOT_FINITE.get(value, value) if isinstance(value, str) else value


Count = Annotated[int, Field(ge=0, le=2**53)]
"""an integer of a JSON file that counts something; up to 2⁵³ every program reads it exactly"""
Number = Annotated[float, BeforeValidator(read_number)]
"""a number of a JSON file, also one that is not finite"""


def to_json(values: Any, indent: int | None = None) -> str:
    """Values as JSON text. JSON has no numbers that are not finite; they are written as text.

    >>> to_json({"loss": math.nan, "best": [1.5, -math.inf]})
    '{"loss": "NaN", "best": [1.5, "-Infinity"]}'
    """
    return json.dumps(_finite(values), indent=indent, ensure_ascii=False, allow_nan=False)


def _finite(values: Any) -> Any:
    if isinstance(values, dict):
        return {key: _finite(value) for key, value in values.items()}
    if isinstance(values, (list, tuple)):
        return [_finite(value) for value in values]
    if isinstance(values, float) and not math.isfinite(values):
        return "NaN" if math.isnan(values) else "Infinity" if values > 0 else "-Infinity"
    return values


def read_page(path: Path, newest: int, types: type, needed: set[str] | None = None) -> dict[str, Any]:
    """Read a JSON file and check its format number, and the types of its values.

    Args:
        path: the file.
        newest: the newest format that this version of danlu can read.
        types: a ``TypedDict`` with the types of the values. Other keys are kept unchanged.
        needed: keys that are required in addition to those that ``types`` requires.

    Raises:
        UsageError: if the file was written by a newer version of danlu.
        RunError: if the file is damaged, or a value has another type.
    """
    try:
        page = read_json(path)
        newer, missing = _format_of(page) > newest, (needed or set()) - page.keys()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{path} is damaged: {error}") from error
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror or error}") from error
    if newer:
        raise UsageError(
            f"{path} has format {page['format']}, but this version of danlu reads formats up to {newest}; update danlu"
        )
    if missing:
        raise RunError(f"{path} is damaged: missing {', '.join(sorted(missing))}")
    try:
        return _adapter(types).validate_python(page, strict=True)
    except ValidationError as error:
        raise RunError(f"{path} is damaged: {first_problem(error)}") from None


def _format_of(page: dict[str, Any]) -> int:
    number = page["format"]
    if type(number) is not int:
        raise TypeError(f"format must be an integer, got {number!r:.50}")
    return number


@cache
def _adapter(types: type) -> TypeAdapter[Any]:
    return TypeAdapter(types)


def first_problem(error: ValidationError) -> str:
    """The first problem of a page: the key, what is allowed, and the value."""
    first = error.errors(include_url=False)[0]
    key = ".".join(map(str, first["loc"]))
    if first["type"] == "missing":
        return f"missing {key}"
    rule = first["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    return f"{key} must be {rule}, got {first['input']!r:.50}"
