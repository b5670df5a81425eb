"""Compilation of the players with torch.compile."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

from torch import nn


@runtime_checkable
class StaysEager(Protocol):
    """A module with work that torch.compile must leave to Python, for example a loop over the steps of a sequence.

    A module declares it by having the method; the trainer calls the method before it compiles.
    """

    def stay_eager(self) -> None:
        """Exclude this work from compilation (``torch.compiler.disable``); a second call changes nothing."""
        ...


def compile_modules(modules: Iterable[nn.Module]) -> None:
    """Compile modules in place, except for the parts that declare that they stay eager.

    Args:
        modules: each is compiled as a whole.

    >>> class Loop(nn.Module):
    ...     def stay_eager(self):
    ...         print("not compiled")
    >>> compile_modules([nn.Sequential(Loop())])
    not compiled
    """
    for module in modules:
        for part in module.modules():
            if isinstance(part, StaysEager):
                part.stay_eager()
        module.compile()
