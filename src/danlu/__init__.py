"""danlu (丹炉): the classic deep-learning models in one library.

Each command of the command line is a function here: ``danlu.train("cnn", lr=1e-3)`` is ``danlu train cnn --lr 1e-3``.
Names are loaded when they are first used, so that importing danlu costs nothing.
"""

from __future__ import annotations

import builtins
from importlib import import_module
from typing import Any

from danlu.app.command_table import COMMANDS

_CALLS = {call.partition(":")[2]: call for command in COMMANDS.values() if (call := command.call) is not None}
_CALLS["list"] = _CALLS.pop("all_recipes")
_CALLS["load"] = "danlu.app.inference.load:load"

# all but list, which would hide Python's own after `from danlu import *`
__all__ = [name for name in _CALLS if name != "list"]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("danlu")
    if name not in _CALLS:
        raise AttributeError(f"danlu has no {name!r}; it has {', '.join(sorted(_CALLS))}")
    module, attribute = _CALLS[name].split(":")
    return getattr(import_module(module), attribute)


def __dir__() -> builtins.list[str]:
    return [*_CALLS, "__version__"]
