"""Public weights of the densely connected network: names of parameters, and the configuration derived from them."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count, takewhile
from pathlib import Path
from typing import Any

from torch import Tensor

from danlu.models.classify.densenet_sizes import SIZES, Form
from danlu.models.saving.pretrained import Renames, check_convolutions, distinct, renamed
from danlu.models.saving.weights_file import own_arguments, read_tensors

STEM = "features.conv0.weight"
FIRST = "features.denseblock1.denselayer1"
OLDER: Renames = {r"(\.denselayer\d+\.(?:norm|conv))\.([12]\.)": r"\1\2"}


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a file, under their present names.

    Raises:
        UsageError: if the file does not exist, has no state dict, or has the weights of a different network.
    """
    tensors = renamed(read_tensors(path), OLDER)
    check_convolutions(tensors, (STEM, f"{FIRST}.conv1.weight"), f"{path} is not a DenseNet")
    return tensors


def arguments_in(path: str | Path, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Constructor arguments: those stored with the weights if danlu wrote them, else derived from the weights."""
    if (own := own_arguments(path, "DenseNet")) is not None:
        return own
    form = _form_in(tensors)
    size = next((size for size, known in SIZES.items() if known == form), None)
    return {"size": size} if size else form._asdict()


def _form_in(tensors: Mapping[str, Tensor]) -> Form:
    """The configuration derived from names and shapes of the tensors."""
    last = tensors.get(f"{FIRST}.conv2.weight")
    inner = len(tensors[f"{FIRST}.conv1.weight"])
    growth = inner if last is None or last.ndim != 4 or not last.numel() else len(last)
    basic = f"{FIRST}.norm2.weight" not in tensors
    layers = (distinct(rf"features\.denseblock{number}\.denselayer(\d+)\.", tensors) for number in count(1))
    return Form(
        layer="basic" if basic else "bottleneck",
        blocks=tuple(takewhile(bool, layers)),
        growth=growth,
        width=len(tensors[STEM]),
        stem="7x7" if tensors[STEM].shape[-1] == 7 else "3x3",
        compression=_compression(tensors),
        bottleneck=4 if basic else max(1, inner // growth),
    )


def _compression(tensors: Mapping[str, Tensor]) -> float:
    """The fraction of channels that transitions keep: one that gives, rounded down, the sizes of all transitions."""
    low, high = 0.0, 2.0
    for number in count(1):
        weight = tensors.get(f"features.transition{number}.conv.weight")
        if weight is None or weight.ndim < 2:
            break
        low, high = max(low, weight.shape[0] / weight.shape[1]), min(high, (weight.shape[0] + 1) / weight.shape[1])
    common = [fraction for fraction in (0.5, 1.0) if low <= fraction < high]
    return common[0] if common else min(1.0, (low + high) / 2)
