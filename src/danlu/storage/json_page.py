"""JSON files: read within limits; with a format number, if they describe weights, checkpoints and runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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


def read_page(path: Path, newest: int, needed: set[str]) -> dict[str, Any]:
    """Read a JSON file and check its format number and keys.

    Args:
        path: the file.
        newest: the newest format that this version of danlu can read.
        needed: required keys.

    Raises:
        UsageError: if the file was written by a newer version of danlu.
        RunError: if the file is damaged.
    """
    try:
        page = read_json(path)
        newer, missing = page["format"] > newest, needed - page.keys()
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
    return page
