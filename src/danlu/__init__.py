"""danlu (丹炉): the classic deep-learning models in one library.

The same words as on the command line: ``danlu.train("cnn", lr=1e-3)`` is ``danlu train cnn --lr 1e-3``. Names are
loaded when they are first used, so that importing danlu costs nothing.
"""

from __future__ import annotations

import builtins
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from danlu.app.arithmetic import arithmetic as arithmetic
    from danlu.app.complete import complete as complete
    from danlu.app.data import survey as survey
    from danlu.app.doctor import doctor as doctor
    from danlu.app.experiment import experiment as experiment
    from danlu.app.export import export as export
    from danlu.app.generate import interpolate as interpolate
    from danlu.app.generate import reconstruct as reconstruct
    from danlu.app.generate import sample as sample
    from danlu.app.inpaint import inpaint as inpaint
    from danlu.app.pages import check as check
    from danlu.app.pages import show as show
    from danlu.app.pages import summary as summary
    from danlu.app.score import score as score
    from danlu.app.score_images import score_images as score_images
    from danlu.app.train import resume as resume
    from danlu.app.train import train as train
    from danlu.app.use import classify as classify
    from danlu.app.use import evaluate as evaluate
    from danlu.app.use import load as load
    from danlu.catalogue import recipes as list  # noqa: F401

_HOMES = {
    "arithmetic": "danlu.app.arithmetic:arithmetic",
    "check": "danlu.app.pages:check",
    "classify": "danlu.app.use:classify",
    "complete": "danlu.app.complete:complete",
    "doctor": "danlu.app.doctor:doctor",
    "evaluate": "danlu.app.use:evaluate",
    "export": "danlu.app.export:export",
    "experiment": "danlu.app.experiment:experiment",
    "inpaint": "danlu.app.inpaint:inpaint",
    "interpolate": "danlu.app.generate:interpolate",
    "list": "danlu.catalogue:recipes",
    "load": "danlu.app.use:load",
    "reconstruct": "danlu.app.generate:reconstruct",
    "resume": "danlu.app.train:resume",
    "sample": "danlu.app.generate:sample",
    "score": "danlu.app.score:score",
    "score_images": "danlu.app.score_images:score_images",
    "show": "danlu.app.pages:show",
    "summary": "danlu.app.pages:summary",
    "survey": "danlu.app.data:survey",
    "train": "danlu.app.train:train",
}

# all but list, which would hide Python's own after `from danlu import *`
__all__ = [name for name in _HOMES if name != "list"]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("danlu")
    if name not in _HOMES:
        raise AttributeError(f"danlu has no {name!r}; it has {', '.join(_HOMES)}")
    module, attribute = _HOMES[name].split(":")
    return getattr(import_module(module), attribute)


def __dir__() -> builtins.list[str]:
    return [*_HOMES, "__version__"]
