"""Words as the settings that they give and the options of a verb; tyro reads them, and checks no setting.

It would tell what a page inside another refuses in the validator's words, and cannot tell what was given from what is
usual.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field, make_dataclass
from typing import Annotated, Any, TypeVar

import tyro
from pydantic import BaseModel
from tyro.constructors import ConstructorRegistry, StructConstructorSpec, StructFieldSpec, StructTypeInfo

Options = TypeVar("Options")

_unchecked = ConstructorRegistry()


@dataclass(frozen=True)
class NoOptions:
    """A verb that has the settings and nothing more."""


def given(page: BaseModel, options: type[Options], prog: str, words: list[str]) -> tuple[dict[str, Any], Options]:
    """The settings that words give, by name, those of a page inside as a mapping; and the options.

    Args:
        page: has the settings.
        options: a dataclass with the verb's own flags.
        prog: what the command is called.
        words: flags and their values.

    Raises:
        SystemExit: for flags and values that cannot be read (2).

    >>> from danlu.data.training_data import TrainingData
    >>> given(TrainingData(), NoOptions, "danlu", ["--split.test", "2", "--table.no-standardize"])
    ({'split': {'test': 2.0}, 'table': {'standardize': False}}, NoOptions())
    """
    flat = tyro.conf.arg(name="")
    flags = [
        ("page", Annotated[type(page), flat], field(default=page)),
        ("options", Annotated[options, flat], field(default=options())),
    ]
    with warnings.catch_warnings(), _unchecked:
        warnings.filterwarnings("ignore", message="Could not resolve type parameter")
        parsed: Any = tyro.cli(make_dataclass("Command", flags), prog=prog, args=words)
    named = {word.partition("=")[0].replace("_", "-") for word in words if word.startswith("--")}
    return dict(_named(parsed.page, "--", named)), parsed.options


@_unchecked.struct_rule
def _as_it_is(info: StructTypeInfo) -> StructConstructorSpec | None:
    """How tyro makes a page: with whatever it is given."""
    if not (isinstance(info.type, type) and issubclass(info.type, BaseModel)):
        return None
    fields = [
        StructFieldSpec(name, known.annotation, getattr(info.default, name), known.description)  # type: ignore[arg-type]
        for name, known in info.type.model_fields.items()
    ]
    return StructConstructorSpec(info.type.model_construct, tuple(fields))


def _named(page: BaseModel, prefix: str, flags: set[str]) -> Iterator[tuple[str, Any]]:
    """The settings whose flags were named."""
    for name in type(page).model_fields:
        value, flag = getattr(page, name), name.replace("_", "-")
        if not isinstance(value, BaseModel):
            if flags & {prefix + flag, f"{prefix}no-{flag}"}:
                yield name, value
        elif inside := dict(_named(value, f"{prefix}{flag}.", flags)):
            yield name, inside
