"""Compilation of the players with torch.compile, and training without loading the compiler."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

from torch import nn
from torch.optim import Optimizer

from danlu.errors import UsageError
from danlu.storage.access import Access
from danlu.storage.private_folder import private_folder

_DISABLED = "__dynamo_disable"
"""attribute in which torch stores the version of a function that is excluded from compilation"""


def keep_compiled_code_private() -> None:
    """Let torch store compiled code in the user's cache, unless TORCHINDUCTOR_CACHE_DIR names a folder.

    By default torch stores it in the folder for temporary files under a name that every user can guess, and loads what
    it finds there.

    Raises:
        UsageError: if the folder belongs to another user or cannot be created.
    """
    if "TORCHINDUCTOR_CACHE_DIR" not in os.environ:
        folder = Access().cache / f"compiled-{os.getuid()}"  # the cache may be common to several users
        try:
            private = private_folder(folder, "TORCHINDUCTOR_CACHE_DIR")
        except OSError as error:
            raise UsageError(
                f"{folder} cannot be created: {error.strerror}; set the environment variable TORCHINDUCTOR_CACHE_DIR "
                f"to a folder of your own"
            ) from error
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(private.absolute())


@runtime_checkable
class StaysEager(Protocol):
    """A module with code that torch.compile must not compile, for example a loop over the steps of a sequence.

    A module declares it by having the method; the trainer calls the method before it compiles.
    """

    def stay_eager(self) -> None:
        """Exclude this code from compilation (``torch.compiler.disable``); a second call changes nothing."""
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


@contextmanager
def compiler_not_loaded() -> Iterator[None]:
    """Run methods of optimizers without importing torch's compiler, which takes longer than importing torch.

    torch excludes these methods from compilation, and imports the compiler at the first call for this purpose. This is
    unnecessary while the compiler is not loaded. If it is loaded, nothing changes.
    """
    methods: list[Any] = [Optimizer.add_param_group, Optimizer.load_state_dict, Optimizer.state_dict]
    originals = [method.__wrapped__ for method in methods if hasattr(method, "__wrapped__")]
    fresh = [f for f in originals if "torch._dynamo" not in sys.modules and not hasattr(f, _DISABLED)]
    for function in fresh:
        setattr(function, _DISABLED, function)
    try:
        yield
    finally:
        for function in fresh:
            delattr(function, _DISABLED)
