"""Classes by name or number, for class-conditional models."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from danlu.errors import UsageError, nearest
from danlu.printable import printable
from danlu.verbs import has, verbs_of


def labels_of(model: Any, label: str | int | None, n: int) -> Int[Tensor, "n"] | None:
    """The class number of each example; None if no label is given.

    Args:
        model: the model.
        label: name or number of a class for all examples, or "all" for each class in turn.
        n: number of examples.

    Raises:
        UsageError: if the model is not class-conditional, or the class does not exist.
    """
    if label is None:
        return None
    if not has(model, "class_conditional"):
        raise UsageError(
            f"{type(model).__name__} is not class-conditional (its verbs: {', '.join(verbs_of(model))}); remove label",
            settings=("label",),
        )
    info = model.info
    names = info.label_names
    if str(label) == "all" and "all" not in names:
        return torch.arange(n) % info.classes
    shown = [printable(name) for name in names]  # a message shows the name with escapes
    for known in (names, shown):
        if str(label) in known:
            return torch.full((n,), known.index(str(label)))
    if str(label).isdecimal() and int(label) < info.classes:
        return torch.full((n,), int(label))
    hint = f"{nearest(str(label), shown)} (or all, or a number from 0 to {info.classes - 1})"
    raise UsageError(f"label: there is no class {str(label)!r}; {hint}", settings=("label",))
