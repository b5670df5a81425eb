"""The base of all settings, and checks that data sets share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from danlu.data.base.effects import Needs, check_numbers
from danlu.errors import UsageError

Fraction = Annotated[float, Field(ge=0, lt=1)]
_Copied = TypeVar("_Copied", bound="Page")
"""used in place of Self, because beartype, which checks signatures in tests, does not accept Self here"""


class Page(BaseModel):
    """Base class of settings: immutable, without unknown names, with the docstrings of the fields as descriptions."""

    help_section: ClassVar[str] = "settings"
    """heading of the help under which the settings that a class declares are listed"""
    needs: ClassVar[tuple[Needs, ...]] = ()
    """settings that a class declares and that act only with others; ``DataSettings`` checks them"""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    @model_validator(mode="after")
    def _numbers_fit(self: _Copied) -> _Copied:
        check_numbers(self)
        return self

    def model_copy(self: _Copied, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> _Copied:
        """A copy with other values, which are not validated. Unlike in pydantic, the names must exist.

        Raises:
            TypeError: if there is no setting with a given name.

        >>> Page().model_copy(update={"size": 3})
        Traceback (most recent call last):
        TypeError: Page has no setting 'size'
        """
        for name in update or {}:
            if name not in type(self).model_fields:
                raise TypeError(f"{type(self).__name__} has no setting {name!r}")
        return super().model_copy(update=update, deep=deep)


def no_argument(name: str, argument: str) -> None:
    """Check that a data set without an argument was not given one.

    Raises:
        UsageError: if there is an argument.
    """
    if argument:
        raise UsageError(f"{name}:{argument}: the data set {name} takes no argument; write {name}")
