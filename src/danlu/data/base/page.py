"""The base of all settings, and checks that data sets share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from danlu.errors import UsageError

Fraction = Annotated[float, Field(ge=0, lt=1)]
_Copied = TypeVar("_Copied", bound="Page")
"""in place of Self, which beartype, the checker of signatures in tests, refuses outside of classes that it decorates"""


P = TypeVar("P", bound="Page")  # not Self, which beartype cannot check in a method


class Page(BaseModel):
    """Settings that explain themselves and do not change."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    def model_copy(self: _Copied, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> _Copied:
        """A copy with other values, which are not validated; pydantic itself accepts names that do not exist.

        Raises:
            TypeError: if there is no setting of a name.

        >>> Page().model_copy(update={"size": 3})
        Traceback (most recent call last):
        TypeError: Page has no setting 'size'
        """
        for name in update or {}:
            if name not in type(self).model_fields:
                raise TypeError(f"{type(self).__name__} has no setting {name!r}")
        return super().model_copy(update=update, deep=deep)


def no_argument(name: str, argument: str) -> None:
    """A data set of one kind takes nothing after its name.

    Raises:
        UsageError: if something was given.
    """
    if argument:
        raise UsageError(f"{name}:{argument}: {name} takes nothing after its name")
