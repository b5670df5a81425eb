"""A setting or option as a flag of the command line. Importing this module takes no time: error messages need it."""

from __future__ import annotations

import shlex
from typing import Any, NamedTuple


class Flag(NamedTuple):
    """A flag of the command line.

    Attributes:
        name: for example ``--lr``.
        section: heading of the help under which it is listed.
        default: the value if it is not given; None or False for none.
        meaning: one line for the help.
        choices: the allowed words, if they are listed.
        metavar: placeholder of the value in the help; the text of the help then states the default.
    """

    name: str
    section: str
    default: Any
    meaning: str
    choices: tuple[str, ...]
    metavar: str = ""


def flag_name(setting: str) -> str:
    """The flag of a setting.

    >>> flag_name("text.min_count")
    '--text.min-count'
    """
    return "--" + setting.replace("_", "-")


def flag_of(setting: str) -> str:
    """The flag of a setting and its value, if one is given, as typed in a shell.

    Args:
        setting: ``"name"`` or ``"name=value"``; a switch has the value True or False.

    >>> flag_of("split.test"), flag_of("text.min_count=2")
    ('--split.test', '--text.min-count 2')
    >>> flag_of("compile=True"), flag_of("table.standardize=False")
    ('--compile', '--table.no-standardize')
    """
    name, given, value = setting.partition("=")
    match value:
        case "False":
            prefix, dot, last = name.rpartition(".")
            return flag_name(f"{prefix}{dot}no_{last}")
        case "True":
            return flag_name(name)
    return f"{flag_name(name)} {shlex.quote(value)}" if given else flag_name(name)
