"""JSON files with a format number, as danlu writes them beside weights, checkpoints and runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from danlu.errors import RunError, UsageError


def read_page(path: Path, newest: int, needed: set[str]) -> dict[str, Any]:
    """A JSON file with a format, if it looks like one that this danlu wrote.

    Args:
        path: the file.
        newest: the newest format that is understood.
        needed: keys that it must have.

    Raises:
        UsageError: if it was written by a newer danlu.
        RunError: if it is damaged.
    """
    try:
        page = json.loads(path.read_text(encoding="utf-8"))
        newer, missing = page["format"] > newest, needed - page.keys()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{path} is damaged: {error}") from error
    if newer:
        raise UsageError(f"{path} has format {page['format']}, of a newer danlu; this one reads {newest}")
    if missing:
        raise RunError(f"{path} is damaged: it has no {', '.join(sorted(missing))}")
    return page
