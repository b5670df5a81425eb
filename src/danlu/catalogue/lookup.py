"""Look up entries of the catalogue by name and import them on demand.

Names in recipe files, in model folders and on the command line are looked up only here, so a file cannot import
arbitrary code. Other packages add recipes through the entry-point group ``danlu.recipes``.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, TypeVar

from danlu.errors import UsageError, nearest, short

T = TypeVar("T")


def look_up(kind: str, name: str, known: dict[str, T]) -> T:
    """The entry with a name.

    Raises:
        UsageError: if there is no entry of this name; the message uses ``kind``, for example "data set".
    """
    if name not in known:
        raise UsageError(f"unknown {kind} {short(repr(name))}; {nearest(name, known)}")
    return known[name]


def resolve(target: str) -> Any:
    """Import the object at ``module:attribute``.

    Raises:
        UsageError: if it cannot be imported.
    """
    module, _, attribute = target.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"{target}, declared by an installed package, cannot be imported: {error}") from error
