"""The import of matplotlib in the programs of danlu: it does not read ``matplotlibrc`` in the current folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType


def ignore_matplotlibrc_here() -> None:
    """Let matplotlib ignore the file ``matplotlibrc`` of the current folder when it is imported.

    It reads this file first, and a stranger may have written it. Older versions evaluate some of its values, and
    ``text.usetex`` starts LaTeX. The file in the user's configuration folder is still read.
    """
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path, target) if fullname == "matplotlib" else None
        if spec is not None and spec.loader is not None:
            spec.loader = _WithoutFileHere(spec.loader)
        return spec


class _WithoutFileHere(Loader):
    """Executes a module while no file ``matplotlibrc`` is seen under its relative name."""

    def __init__(self, loader: Loader):
        self.loader = loader

    def __getattr__(self, name: str) -> object:  # for the readers of package data
        return getattr(self.loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        exists = os.path.exists
        os.path.exists = lambda path: path != "matplotlibrc" and exists(path)
        try:
            self.loader.exec_module(module)
        finally:
            os.path.exists = exists
