"""Loading of public weights into models: parameter names and checks. The module ``weights_file`` reads the files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from torch import Tensor, nn

from danlu.errors import DanluError, UsageError
from danlu.models.saving.shape_check import build_without_memory

M = TypeVar("M", bound=nn.Module)
Renames = Mapping[str, str | Callable[[re.Match[str]], str]]

FAMILIES = {
    r"features\.denseblock1\.": "a DenseNet of torchvision",
    r"layer1\.0\.conv1\.": "a ResNet of torchvision",
    r"(resnet\.)?encoder\.stages\.0\.layers\.0\.layer\.0\.convolution\.": "a ResNet of transformers",
    r"(vit\.)?encoder\.layer\.0\.attention\.|encoder\.layers\.encoder_layer_0\.": "a ViT",
    r"(swin\.)?encoder\.layers\.0\.blocks\.0\.": "a Swin",
    r"(blocks|stages|layers)\.0\.": "a model of timm",
    r"features\.0\.": "an AlexNet, a VGG or a MobileNet of torchvision",
    r"(bert|roberta|gpt2|transformer|model|encoder|decoder|shared)\.": "a language model",
}


def renamed(tensors: Mapping[str, Tensor], renames: Renames) -> dict[str, Tensor]:
    """Rename tensors.

    Args:
        tensors: tensors by name.
        renames: patterns and their replacements, as in ``re.sub``.

    >>> renamed({"a.1": torch.zeros(1)}, {r"^a\\.": "b."})
    {'b.1': tensor([0.])}
    """

    def renamed_name(name: str) -> str:
        for pattern, replacement in renames.items():
            name = re.sub(pattern, replacement, name)
        return name

    return {renamed_name(name): tensor for name, tensor in tensors.items()}


def distinct(pattern: str, names: Iterable[str]) -> int:
    """Count the different matches of the group of a pattern at the start of names.

    Args:
        pattern: regular expression with one group.
        names: names to match.

    >>> distinct(r"layer(\\d+)", ["layer1.a", "layer1.b", "layer2.a", "head"])
    2
    """
    return len({match[1] for name in names if (match := re.match(pattern, name))})


def check_convolutions(tensors: Mapping[str, Tensor], needed: Sequence[str], problem: str) -> None:
    """Check that the tensors include the convolutions from which the sizes of a network are derived.

    Args:
        tensors: tensors by name.
        needed: names of the weights of the convolutions.
        problem: first part of the error message.

    Raises:
        UsageError: if one is missing or not a convolution. The message names the model that they resemble.

    >>> check_convolutions({"features.denseblock1.w": torch.zeros(1)}, ("conv1.weight",), "x.pth is not a ResNet")
    Traceback (most recent call last):
    danlu.errors.UsageError: x.pth is not a ResNet: it has no 'conv1.weight', but 'features.denseblock1.w';
    it looks like a DenseNet of torchvision
    """
    for name in needed:
        if name not in tensors:
            raise UsageError(f"{problem}: it has no {name!r}, but {_first(tensors)}; {looks_like(tensors)}")
        if tensors[name].ndim != 4 or not tensors[name].numel():
            raise UsageError(f"{problem}: {name!r} has shape {tuple(tensors[name].shape)}, so it is not a convolution")


def looks_like(names: Iterable[str]) -> str:
    """Describe the model that tensors with these names look like."""
    names = list(names)
    for pattern, family in FAMILIES.items():
        if any(re.match(pattern, name) for name in names):
            return f"it looks like {family}"
    return "it is not a network that danlu recognizes"


def classes_in(tensors: Mapping[str, Tensor], head: str, source: str | Path) -> int:
    """The number of classes of the last layer.

    Args:
        tensors: tensors by name.
        head: name of the weight of the last layer.
        source: name of the file in error messages.

    Raises:
        UsageError: if there is no last layer, or it is not linear.
    """
    if head not in tensors:
        raise UsageError(f"{source} has no last layer {head!r}, so the number of classes is unknown; give classes=…")
    if tensors[head].ndim != 2:
        raise UsageError(f"{source}: {head!r} has shape {tuple(tensors[head].shape)}, so it is not a linear layer")
    return len(tensors[head])


def spread_channels(weight: Tensor, channels: int) -> Tensor:
    r"""Adapt the weights of a first convolution to another number of input channels.

    .. math:: W'_{o,c} = \frac{1}{C'} \sum_{c'=1}^{C} W_{o,c'} \qquad (c = 1, …, C')

    The output for a gray image, equal in all channels, does not change, so later layers remain useful. For one channel
    the result is the sum over the colors. Differences between colors are lost and must be learned again.

    Args:
        weight: weights, (outputs, channels, height, width).
        channels: number C' of input channels.

    >>> spread_channels(torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1), 2).flatten()
    tensor([3., 3.])
    """
    if weight.shape[1] == channels:
        return weight
    return (weight.sum(1, keepdim=True) / channels).repeat(1, channels, 1, 1)


def build_and_fill(
    build: Callable[[], M], tensors: Mapping[str, Tensor], source: str | Path, first: str, head: str
) -> tuple[M, tuple[str, ...]]:
    """Build a model for public weights and copy them into it, after the sizes are checked without memory.

    Args:
        build: builds the model.
        tensors: the weights by parameter names of the model.
        source: name of the file in error messages.
        first: name of the weight of the first convolution.
        head: name of the last layer.

    Returns:
        the model, and the names of the parameters that keep their values.

    Raises:
        UsageError: if the model cannot be built, or the weights do not fit.
    """
    try:
        without_memory = build_without_memory(build)
    except DanluError:
        raise
    except ValueError as error:
        raise UsageError(f"{source}: the network of these weights cannot be built: {error}") from error
    _fitting(without_memory.state_dict(), tensors, source, first, head)
    model = build()
    return model, fill(model, tensors, source, first, head)


def fill(model: nn.Module, tensors: Mapping[str, Tensor], source: str | Path, first: str, head: str) -> tuple[str, ...]:
    """Copy public weights into a model.

    Args:
        model: the model; it is changed in place.
        tensors: the weights by parameter names of the model.
        source: name of the file in error messages.
        first: name of the weight of the first convolution, which is adapted to the number of channels.
        head: name of the last layer, which keeps its values if the weights lack it or have another number of classes.

    Returns:
        names of the parameters that keep their values.

    Raises:
        UsageError: if other weights are missing, unexpected, or have a different shape.
    """
    expected = model.state_dict()
    loaded, kept = _fitting(expected, tensors, source, first, head)
    model.load_state_dict({**expected, **loaded})
    return kept


def _fitting(
    expected: Mapping[str, Tensor], tensors: Mapping[str, Tensor], source: str | Path, first: str, head: str
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The weights as the model needs them, and the names of the parameters that keep their values; see ``fill``."""
    loaded = dict(tensors)
    head_names = [name for name in expected if name.startswith(f"{head}.")]
    weight = loaded.get(f"{head}.weight")
    kept = tuple(head_names) if weight is None or len(weight) != len(expected[f"{head}.weight"]) else ()
    for name in kept:
        loaded.pop(name, None)
    loaded[first] = spread_channels(loaded[first], expected[first].shape[1])

    counts = {name for name in expected if name.endswith("num_batches_tracked")}  # not in files before torch 0.4.1
    _check_names(expected.keys() - counts - set(kept), expected.keys(), loaded, source)
    for name, tensor in loaded.items():
        _check_tensor(name, tensor, expected[name], source)
    return loaded, kept


def _check_names(needed: set[str], names: Iterable[str], loaded: Mapping[str, Tensor], source: str | Path) -> None:
    names = dict.fromkeys(names)
    problems = []
    if missing := [name for name in names if name in needed and name not in loaded]:
        problems.append(f"missing {_first(missing)}")
    if unexpected := [name for name in loaded if name not in names]:
        problems.append(f"unexpected {_first(unexpected)}")
    if problems:
        raise UsageError(f"{source} does not match the network: {'; '.join(problems)}")


def _check_tensor(name: str, tensor: Tensor, expected: Tensor, source: str | Path) -> None:
    if tensor.shape != expected.shape:
        raise UsageError(
            f"{source} does not match the network: {name!r} has shape {tuple(tensor.shape)}, expected "
            f"{tuple(expected.shape)}, so the widths of the network differ"
        )
    if expected.is_floating_point() and not tensor.is_floating_point():
        raise UsageError(
            f"{source} does not match the network: {name!r} has dtype {tensor.dtype}, expected floating-point numbers"
        )


def _first(names: Iterable[str], most: int = 3) -> str:
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(repr, names[:most])) + more if names else "nothing"
