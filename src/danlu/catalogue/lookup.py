"""The one list of what danlu has, as text: nothing is imported until it is asked for by name.

A name in a recipe file, a model folder or on the command line is looked up here and nowhere else, so no file can
name code to run. Other packages add recipes through the entry-point group ``danlu.recipes``.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, TypeVar

from danlu.errors import UsageError, nearest

Found = TypeVar("Found")


def look_up(kind: str, name: str, known: dict[str, Found]) -> Found:
    if name not in known:
        raise UsageError(f"there is no {kind} named {name!r}; {nearest(name, known)}")
    return known[name]


def resolve(target: str) -> Any:
    module, _, attribute = target.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"{target}, which an installed package names, cannot be loaded: {error}") from error
