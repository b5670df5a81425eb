"""The base of all settings, and checks that data sets share."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from danlu.errors import UsageError

Share = Annotated[float, Field(ge=0, lt=1)]


class Page(BaseModel):
    """Settings that explain themselves and do not change."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


def no_argument(name: str, argument: str) -> None:
    """A data set of one kind takes nothing after its name.

    Raises:
        UsageError: if something was given.
    """
    if argument:
        raise UsageError(f"{name}:{argument}: {name} takes nothing after its name")
