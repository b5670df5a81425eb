"""Loading of public weights: files of state dicts, parameter names, and checks."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from danlu.errors import UsageError
from danlu.storage.disk import diagnose_weights

Renames = Mapping[str, str | Callable[[re.Match[str]], str]]

FILES = ("model.safetensors", "pytorch_model.bin")
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


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """Read the tensors in a file of safetensors or of ``torch.save``, by name. No code in the file is run.

    The format is determined from the first bytes of the file, not from its name. A state dict may be nested under
    "state_dict" or "model", as in a checkpoint, and all names may start with "module.", as with ``DataParallel``.

    Args:
        path: the file, or a folder with ``model.safetensors`` or ``pytorch_model.bin``.

    Raises:
        UsageError: if the file does not exist, is damaged, has another format, or can be read only by running code.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     torch.save({"epoch": 3, "state_dict": {"module.w": torch.ones(1)}}, f"{folder}/pytorch_model.bin")
    ...     read_tensors(folder)
    {'w': tensor([1.])}
    """
    file = _file(Path(path))
    try:
        with file.open("rb") as stream:
            start = stream.read(200)
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {(error.strerror or str(error)).lower()}") from None
    if start[4:9] == b"\0\0\0\0{":  # last bytes of the header length, and first of the header
        return _read_safetensors(file)
    if start[:2] == b"PK" or start[:1] == b"\x80":
        return _state_dict(_read_pickle(file), file)
    raise UsageError(
        f"{file} {diagnose_weights(start)}; give a safetensors file, or a state dict written by torch.save"
    )


def own_arguments(path: str | Path, model: str) -> dict[str, Any] | None:
    """Constructor arguments of the network in an export or model folder of danlu, or None for other files.

    A state dict is not enough to derive them, because activations, poolings and strides have no weights.

    Args:
        path: a file that ``danlu export`` wrote, or a model folder.
        model: catalogue name of the expected model.

    Raises:
        UsageError: if it is a different model of danlu.
    """
    file = _file(Path(path))
    page = _page_of_folder(file) if Path(path).is_dir() else _page_of_file(file)
    if page is None:
        return None
    if page["model"] != model:
        raise UsageError(f"{path} has a {page['model']}, not a {model}")
    return {name: tuple(v) if isinstance(v, list) else v for name, v in page["arguments"].items()}


def _page_of_folder(file: Path) -> dict[str, Any] | None:
    """The description in model.json of a model folder."""
    try:
        return _page(json.loads((file.parent / "model.json").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None


def _page_of_file(file: Path) -> dict[str, Any] | None:
    """The description in the metadata of a safetensors file."""
    try:
        with safetensors.safe_open(file, "pt") as stream:
            return _page(json.loads((stream.metadata() or {}).get("danlu", "null")))
    except (safetensors.SafetensorError, OSError, ValueError):
        return None


def _page(page: Any) -> dict[str, Any] | None:
    is_description = isinstance(page, dict) and isinstance(page.get("arguments"), dict) and "model" in page
    return page if is_description else None


def _file(path: Path) -> Path:
    if not path.exists():
        raise UsageError(f"{path} does not exist; give a file of weights, or a folder with {' or '.join(FILES)}")
    if not path.is_dir():
        return path
    file = next((path / name for name in FILES if (path / name).is_file()), None)
    if file is None:
        raise UsageError(f"{path} has no {' or '.join(FILES)}; give the file of weights itself")
    return file


def _read_safetensors(file: Path) -> dict[str, Tensor]:
    try:
        return _without_wrappers(load_file(file))
    except (
        safetensors.SafetensorError,
        ValueError,
        KeyError,
    ) as error:  # the last two: a data type that torch does not have
        raise UsageError(f"{file} is damaged, although it starts like a safetensors file; download it again") from error


def _read_pickle(file: Path) -> Any:
    try:
        with (
            file.open("rb") as stream,
            warnings.catch_warnings(action="ignore"),
        ):  # torch warns about the suffix of the file
            return torch.load(stream, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle may raise any exception
        message = str(error).casefold()
        if "global" in message or "torchscript" in message:
            raise UsageError(
                f"{file} is a pickle with objects other than tensors, and reading it would run code from the file; "
                f"use a safetensors file, or the state dict alone"
            ) from None
        raise UsageError(
            f"{file} is damaged, or a pickle that torch.save did not write; "
            f"download it again, or use a safetensors file"
        ) from None


def _state_dict(value: Any, file: Path) -> dict[str, Tensor]:
    """The tensors by name in the content of a pickle."""
    for key in ("state_dict", "model"):
        if isinstance(value, Mapping) and isinstance(value.get(key), Mapping):
            value = value[key]
    if not isinstance(value, Mapping) or not value:
        raise UsageError(f"{file} does not have a state dict, but {_kind(value)}; save model.state_dict()")
    for name, tensor in value.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise UsageError(f"{file} does not have a state dict: {name!r} is {_kind(tensor)}, not a tensor")
    return _without_wrappers(dict(value))


def _kind(value: Any) -> str:
    return f"a {type(value).__name__}" if value or not isinstance(value, Mapping) else "an empty dict"


def _without_wrappers(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Remove the parts of names that torch's wrappers add: ``_orig_mod`` (compile) and ``module`` (data parallel)."""
    tensors = {re.sub(r"(^|\.)(_orig_mod\.)+", r"\1", name): tensor for name, tensor in tensors.items()}
    if all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    return tensors


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
    expected, loaded = model.state_dict(), dict(tensors)
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
    model.load_state_dict({**expected, **loaded})
    return kept


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
