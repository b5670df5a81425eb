"""What a finished model is good for, as commands: whatever verbs it has."""

from __future__ import annotations

import shlex
from typing import Any

from danlu.data.base.dataset import DataInfo
from danlu.verbs import can, has

_COMMANDS = {
    "classify": "danlu classify RUN FILES…",
    "sample": "danlu sample RUN",
    "reconstruct": "danlu reconstruct RUN FILES…",
    "interpolate": "danlu interpolate RUN FILE FILE",
    "complete": "danlu complete RUN TEXT",
}


def ways_to_use(model: Any, info: DataInfo) -> list[tuple[str, str]]:
    """What to do with a model first: a word for it, and the command with RUN in place of the folder.

    >>> class Coin:
    ...     def sample(self, n): return torch.zeros(n)
    >>> ways_to_use(Coin(), DataInfo("table", (1,)))
    [('use it', 'danlu sample RUN')]
    """
    use = [_COMMANDS[verb] for verb in ("classify", "sample", "complete") if can(model, verb)]
    ways: list[tuple[str, str]] = list(zip(("use it", ""), use, strict=False))
    if has(model, "masks") and info.kind == "images":
        ways.append(("fill in", _fill_in(info)))
    return ways


def commands(verbs: list[str], info: DataInfo, by_class: bool = False) -> list[str]:
    """Every command that a model of these verbs understands, with RUN in place of the folder.

    Args:
        verbs: of the model.
        info: of its data.
        by_class: whether it draws of a class that it is told.

    >>> commands(["classify", "inpaint"], DataInfo("table", (1,)))
    ['danlu classify RUN FILES…', 'danlu inpaint RUN FILES…']
    >>> commands(["prior", "decode"], DataInfo("images", (1, 8, 8)))
    ['danlu interpolate RUN 3 17', 'danlu arithmetic RUN 3 - 17 + 20']
    """
    known = [_COMMANDS.get(verb) or _fill_in(info) for verb in verbs if verb in _COMMANDS or verb == "inpaint"]
    label = f" --label {shlex.quote(info.label_names[-1])}" if by_class else ""
    if by_class:
        known = [command.replace("sample RUN", f"sample RUN{label}") for command in known]
    if {"prior", "decode"} <= {*verbs}:
        if "interpolate" not in verbs:
            known.append(f"danlu interpolate RUN 3 17{label}")
        known.append(f"danlu arithmetic RUN 3 - 17 + 20{label}")
    return known


def _fill_in(info: DataInfo) -> str:
    return f"danlu inpaint RUN FILES…{' --mask half' if info.kind == 'images' else ''}"
