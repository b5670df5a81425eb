"""JSON files with a format number, which describe weights, checkpoints and runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from danlu.errors import RunError, UsageError


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
        page = json.loads(path.read_text(encoding="utf-8"))
        newer, missing = page["format"] > newest, needed - page.keys()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{path} is damaged: {error}") from error
    if newer:
        raise UsageError(
            f"{path} has format {page['format']}, but this version of danlu reads formats up to {newest}; update danlu"
        )
    if missing:
        raise RunError(f"{path} is damaged: missing {', '.join(sorted(missing))}")
    return page
