"""Suggested commands for a trained model, from the table of commands and the model's verbs."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from typing import Any

from danlu.app.command_table import COMMANDS, Usage
from danlu.app.files.outputs import can_write
from danlu.data.base.dataset import DataInfo
from danlu.data.kinds import find_kind
from danlu.verbs import has, verbs_of


def after_training(model: Any, info: DataInfo) -> list[tuple[str, str]]:
    """The commands to try first with a trained model: a label and the command, with RUN for the run folder.

    >>> from danlu.data.tables.info import TableInfo
    >>> class Coin:
    ...     def sample(self, n): return torch.zeros(n)
    >>> after_training(Coin(), TableInfo((1,)))
    [('use', 'danlu sample RUN')]
    """
    usages = list(_usages(verbs_of(model), info))
    always = [_command(name, usage, info) for name, usage in usages if usage.after_training == "always"]
    first = list(zip(("use", ""), always, strict=False))
    masked = has(model, "masks") and info.image_size is not None
    fill_in = [_command(name, usage, info) for name, usage in usages if usage.after_training == "masked images"]
    return [*first, *(("inpaint", command) for command in fill_in if masked)]


def commands(verbs: Iterable[str], info: DataInfo, by_class: bool = False) -> list[str]:
    """Every command that applies to a model, with RUN for the run folder.

    Args:
        verbs: the verbs of the model.
        info: properties of its data.
        by_class: whether it is class-conditional.

    >>> from danlu.data.tables.info import TableInfo
    >>> from danlu.data.images.info import ImageInfo
    >>> commands(["classify", "inpaint"], TableInfo((1,)))
    ['danlu classify RUN FILES…', 'danlu inpaint RUN FILES…']
    >>> commands(["prior", "decode"], ImageInfo((1, 8, 8)))
    ['danlu interpolate RUN 3 17', 'danlu arithmetic RUN 3 - 17 + 20']
    """
    return [_command(name, usage, info, by_class) for name, usage in _usages(verbs, info)]


def _usages(verbs: Iterable[str], info: DataInfo) -> Iterable[tuple[str, Usage]]:
    """Each command with its first example that the verbs and the kind of data allow."""
    verbs, reads, writes = {*verbs}, bool(find_kind(info.kind).read_files), can_write(info)
    for name, command in COMMANDS.items():
        for usage in command.usage:
            files = (reads or "FILE" not in usage.words) and (writes or not usage.writes)
            if files and verbs.issuperset(usage.verbs):
                yield name, usage
                break


def _command(name: str, usage: Usage, info: DataInfo, by_class: bool = False) -> str:
    label = f" --label {shlex.quote(info.label_names[-1])}" if by_class else ""
    mask = "" if info.image_size is None else " --mask half"
    return f"danlu {name} {usage.words.format(label=label, mask=mask)}"
