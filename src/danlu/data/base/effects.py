"""Settings that act only together with other settings: declared where they are defined, checked in one place."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from pydantic import BaseModel

LARGEST, SMALLEST = (2 - 2.0**-23) * 2.0**127, 2.0**-126
"""largest and smallest normal number of float32, the data type of tensors"""
_OFF = (None, False, 0, "none", (), (1.0, 1.0))
"""values that turn a setting off; the last one is that of ``augment.scale``"""


class Needs(NamedTuple):
    """A setting that has an effect only if another one is on, or has one of some values.

    Attributes:
        setting: the setting.
        on: the other settings; one of them must be on.
        values: values of them with which the setting has an effect; empty: all that do not turn them off.
        off: values of them with which the setting has no effect, in place of those that turn them off.
    """

    setting: str
    on: tuple[str, ...]
    values: tuple[Any, ...] = ()
    off: tuple[Any, ...] = ()

    def is_met(self, page: BaseModel) -> bool:
        """Whether the setting has an effect with the other values of a page."""
        values = [getattr(page, name) for name in self.on]
        return any(value in self.values if self.values else value not in (self.off or _OFF) for value in values)

    def message(self, page: BaseModel, usual: BaseModel, prefix: str = "") -> str:
        """The error message."""
        names = " or ".join(prefix + name for name in self.on)
        changed = [name for name in self.on if getattr(page, name) != getattr(usual, name, None)]
        if not self.values and changed:  # they are set, to values that turn them off
            pairs = " and ".join(f"{prefix}{name}={_text(getattr(page, name))}" for name in changed)
            return f"{prefix}{self.setting} has no effect with {pairs}; change {names}, or leave {self.setting} out"
        if not self.values:
            return f"{prefix}{self.setting} has no effect without {names}; set {names}, or leave {self.setting} out"
        value = getattr(page, self.on[0])
        return (
            f"{prefix}{self.setting} has no effect with {names}={value}; it applies to {' and '.join(self.values)}; "
            f"leave it out"
        )


def without_effect(page: BaseModel, usual: BaseModel, prefix: str = "") -> Iterator[str]:
    """An error message for each setting that was changed, but has no effect with the values of the others.

    Args:
        page: the settings.
        usual: the default settings; a setting with its default value is not reported.
        prefix: text before the names.

    >>> from danlu.data import Augment
    >>> list(without_effect(Augment(pad_mode="reflect"), Augment(), "augment."))[0][:42]
    'augment.pad_mode has no effect without aug'
    """
    for needs in _declared(type(page)):
        value = getattr(page, needs.setting)
        if value not in _OFF and value != getattr(usual, needs.setting, value) and not needs.is_met(page):
            yield needs.message(page, usual, prefix)
    for name in type(page).model_fields:
        value, default = getattr(page, name), getattr(usual, name, None)
        if isinstance(value, BaseModel) and isinstance(default, type(value)):
            yield from without_effect(value, default, f"{prefix}{name}.")


def _text(value: Any) -> str:
    """A value that turns a setting off, as it is written in a recipe."""
    if value is None or value == ():
        return "null" if value is None else "[]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _declared(page: type[BaseModel]) -> Iterator[Needs]:
    for base in page.__mro__:
        yield from vars(base).get("needs", ())


def changed_settings(page: BaseModel, usual: BaseModel, prefix: str = "") -> list[str]:
    """Dotted names of the settings whose values differ from the default settings."""
    return [f"{prefix}{name}" for name in type(page).model_fields if getattr(page, name) != getattr(usual, name)]


def check_numbers(page: BaseModel) -> None:
    """Check that float32 can represent all numbers of a page.

    Raises:
        ValueError: if a number is too large or too small.
    """
    for name in type(page).model_fields:
        value = getattr(page, name)
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, float) and number and not SMALLEST <= abs(number) <= LARGEST:
                allows_0 = all(getattr(rule, "gt", None) is None for rule in type(page).model_fields[name].metadata)
                limits = f"{'0, or ' * allows_0}from {SMALLEST:.2g} to {LARGEST:.2g} in absolute value"
                raise ValueError(f"{name}={number:g} must be {limits if math.isfinite(number) else 'a finite number'}")
