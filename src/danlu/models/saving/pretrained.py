"""Reading weights that others published: files of state dicts, their names, and what fits."""

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
    r"features\.denseblock1\.": "a DenseNet as torchvision writes it",
    r"layer1\.0\.conv1\.": "a ResNet as torchvision writes it",
    r"(resnet\.)?encoder\.stages\.0\.layers\.0\.layer\.0\.convolution\.": "a ResNet as transformers writes it",
    r"(vit\.)?encoder\.layer\.0\.attention\.|encoder\.layers\.encoder_layer_0\.": "a ViT",
    r"(swin\.)?encoder\.layers\.0\.blocks\.0\.": "a Swin",
    r"(blocks|stages|layers)\.0\.": "a model as timm writes it",
    r"features\.0\.": "an AlexNet, a VGG or a MobileNet as torchvision writes it",
    r"(bert|roberta|gpt2|transformer|model|encoder|decoder|shared)\.": "a language model",
}


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """The tensors by name in a file of safetensors or of ``torch.save``; no code in it is run.

    What the file begins with decides how it is read, not what it is called. A state dict may lie under "state_dict" or
    "model", as in a checkpoint, and its names may all begin with "module.", as ``DataParallel`` makes them.

    Args:
        path: the file, or a folder with ``model.safetensors`` or ``pytorch_model.bin``.

    Raises:
        UsageError: if it is not there, is damaged or something else, or could be read only by running code.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     torch.save({"epoch": 3, "state_dict": {"module.w": torch.ones(1)}}, f"{folder}/pytorch_model.bin")
    ...     read_tensors(folder)
    {'w': tensor([1.])}
    """
    file = _file(Path(path))
    try:
        with file.open("rb") as opened:
            start = opened.read(200)
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {(error.strerror or str(error)).lower()}") from None
    if start[4:9] == b"\0\0\0\0{":  # the end of the header's length, and the header
        return _read_safetensors(file)
    if start[:2] == b"PK" or start[:1] == b"\x80":
        return _named(_read_pickle(file), file)
    raise UsageError(
        f"{file} {diagnose_weights(start)}; give a file of safetensors, or a state dict that torch.save wrote"
    )


def own_arguments(path: str | Path, model: str) -> dict[str, Any] | None:
    """How danlu built the network that a file or a model folder of its own holds; None if it is not one of those.

    A state dict does not tell everything: an activation, a pooling, a stride have no weights.

    Args:
        path: a file that ``danlu export`` wrote, or a model folder.
        model: which model it should be.

    Raises:
        UsageError: if it is another model of danlu.
    """
    file = _file(Path(path))
    page = _page_beside(file) if Path(path).is_dir() else _page_in(file)
    if page is None:
        return None
    if page["model"] != model:
        raise UsageError(f"{path} holds a {page['model']}, and not a {model}")
    return {name: tuple(v) if isinstance(v, list) else v for name, v in page["arguments"].items()}


def _page_beside(file: Path) -> dict[str, Any] | None:
    """What model.json says, in a model folder."""
    try:
        return _page(json.loads((file.parent / "model.json").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None


def _page_in(file: Path) -> dict[str, Any] | None:
    """What the metadata of a safetensors file says."""
    try:
        with safetensors.safe_open(file, "pt") as opened:
            return _page(json.loads((opened.metadata() or {}).get("danlu", "null")))
    except (safetensors.SafetensorError, OSError, ValueError):
        return None


def _page(page: Any) -> dict[str, Any] | None:
    described = isinstance(page, dict) and isinstance(page.get("arguments"), dict) and "model" in page
    return page if described else None


def _file(path: Path) -> Path:
    if not path.exists():
        raise UsageError(f"{path} is not there; give a file of weights, or a folder with {' or '.join(FILES)}")
    if not path.is_dir():
        return path
    found = next((path / name for name in FILES if (path / name).is_file()), None)
    if found is None:
        raise UsageError(f"{path} holds neither {' nor '.join(FILES)}; give the file of weights itself")
    return found


def _read_safetensors(file: Path) -> dict[str, Tensor]:
    try:
        return _without_module(load_file(file))
    except (safetensors.SafetensorError, ValueError, KeyError) as error:  # those two: a kind of number unknown to torch
        raise UsageError(f"{file} is damaged, though it begins like safetensors; fetch it again") from error


def _read_pickle(file: Path) -> Any:
    try:
        with file.open("rb") as opened, warnings.catch_warnings(action="ignore"):  # a path is read as its ending says
            return torch.load(opened, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle fails in any way
        said = str(error).casefold()
        if "global" in said or "torchscript" in said:
            raise UsageError(
                f"{file} is a pickle with more than tensors in it, which could be read only by running code from it; "
                f"ask for safetensors, or for the state dict alone"
            ) from None
        raise UsageError(
            f"{file} is damaged, or a pickle of another kind than torch.save writes; "
            f"fetch it again, or ask for safetensors"
        ) from None


def _named(value: Any, file: Path) -> dict[str, Tensor]:
    """The tensors by name in what a pickle held."""
    for key in ("state_dict", "model"):
        if isinstance(value, Mapping) and isinstance(value.get(key), Mapping):
            value = value[key]
    if not isinstance(value, Mapping) or not value:
        raise UsageError(f"{file} holds no state dict but {_kind(value)}; save model.state_dict()")
    for name, tensor in value.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise UsageError(f"{file} holds no state dict: {name!r} is {_kind(tensor)}, not a tensor")
    return _without_module(dict(value))


def _kind(value: Any) -> str:
    return f"a {type(value).__name__}" if value or not isinstance(value, Mapping) else "an empty dict"


def _without_module(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    if all(name.startswith("module.") for name in tensors):
        return {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    return tensors


def renamed(tensors: Mapping[str, Tensor], renames: Renames) -> dict[str, Tensor]:
    """The tensors under other names.

    Args:
        tensors: by name.
        renames: patterns, and what takes the place of the part of a name that fits one, as in ``re.sub``.

    >>> renamed({"a.1": torch.zeros(1)}, {r"^a\\.": "b."})
    {'b.1': tensor([0.])}
    """

    def new(name: str) -> str:
        for pattern, replacement in renames.items():
            name = re.sub(pattern, replacement, name)
        return name

    return {new(name): tensor for name, tensor in tensors.items()}


def distinct(pattern: str, names: Iterable[str]) -> int:
    """How many different things the group in a pattern stands for, where names begin so.

    >>> distinct(r"layer(\\d+)", ["layer1.a", "layer1.b", "layer2.a", "head"])
    2
    """
    return len({found[1] for name in names if (found := re.match(pattern, name))})


def check_convolutions(tensors: Mapping[str, Tensor], needed: Sequence[str], refusal: str) -> None:
    """These convolutions are among the tensors, so that a network's sizes can be read off them.

    Raises:
        UsageError: if one is not; it begins with the refusal and says what the tensors look like instead.

    >>> check_convolutions({"features.denseblock1.w": torch.zeros(1)}, ("conv1.weight",), "x.pth holds no ResNet")
    Traceback (most recent call last):
    danlu.errors.UsageError: x.pth holds no ResNet: it has no 'conv1.weight', but 'features.denseblock1.w';
    it looks like a DenseNet as torchvision writes it
    """
    for name in needed:
        if name not in tensors:
            raise UsageError(f"{refusal}: it has no {name!r}, but {_first(tensors)}; {looks_like(tensors)}")
        if tensors[name].ndim != 4 or not tensors[name].numel():
            raise UsageError(f"{refusal}: {name!r} has shape {tuple(tensors[name].shape)}, and is no convolution")


def looks_like(names: Iterable[str]) -> str:
    """Whose tensors these are, as far as their names tell."""
    names = list(names)
    for pattern, family in FAMILIES.items():
        if any(re.match(pattern, name) for name in names):
            return f"it looks like {family}"
    return "it looks like no network that is known here"


def classes_in(tensors: Mapping[str, Tensor], head: str, source: str | Path) -> int:
    """The number of classes of the last layer.

    Raises:
        UsageError: if there is no last layer.
    """
    if head not in tensors:
        raise UsageError(f"{source} has no last layer {head!r}, so it knows no classes; say how many: classes=…")
    if tensors[head].ndim != 2:
        raise UsageError(f"{source}: {head!r} has shape {tuple(tensors[head].shape)}, and is no linear layer")
    return len(tensors[head])


def spread_channels(weight: Tensor, channels: int) -> Tensor:
    r"""The weights of a first convolution for another number of input channels.

    .. math:: W'_{o,c} = \frac{1}{C'} \sum_{c'=1}^{C} W_{o,c'} \qquad (c = 1, …, C')

    A picture that is gray, so equal in all channels, then gives what it gave before, which keeps the later layers at
    work; for one channel it is the sum over the colors. What told the colors apart is lost and has to be learned.

    Args:
        weight: (outputs, channels, height, width).
        channels: number C' of channels that are wanted.

    >>> spread_channels(torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1), 2).flatten()
    tensor([3., 3.])
    """
    if weight.shape[1] == channels:
        return weight
    return (weight.sum(1, keepdim=True) / channels).repeat(1, channels, 1, 1)


def fill(model: nn.Module, tensors: Mapping[str, Tensor], source: str | Path, first: str, head: str) -> tuple[str, ...]:
    """Copy public weights into a model that was built for them, and name the parameters that keep their own.

    Args:
        model: where to; it is changed.
        tensors: the weights by the model's names.
        source: what errors call their origin.
        first: the weight of the first convolution, which is spread over other channels.
        head: the last layer, which stays as it is if it is not among the weights, or for other classes.

    Raises:
        UsageError: if other weights are missing, superfluous, or of another shape.
    """
    expected, given = model.state_dict(), dict(tensors)
    own = [name for name in expected if name.startswith(f"{head}.")]
    weight = given.get(f"{head}.weight")
    fresh = tuple(own) if weight is None or len(weight) != len(expected[f"{head}.weight"]) else ()
    for name in fresh:
        given.pop(name, None)
    given[first] = spread_channels(given[first], expected[first].shape[1])

    counts = {name for name in expected if name.endswith("num_batches_tracked")}  # not in files before torch 0.4.1
    _check_names(expected.keys() - counts - set(fresh), expected.keys(), given, source)
    for name, tensor in given.items():
        _check_tensor(name, tensor, expected[name], source)
    model.load_state_dict({**expected, **given})
    return fresh


def _check_names(needed: set[str], known: Iterable[str], given: Mapping[str, Tensor], source: str | Path) -> None:
    known = dict.fromkeys(known)
    wrong = []
    if missing := [name for name in known if name in needed and name not in given]:
        wrong.append(f"it lacks {_first(missing)}")
    if unexpected := [name for name in given if name not in known]:
        wrong.append(f"nothing here is called {_first(unexpected)}")
    if wrong:
        raise UsageError(f"{source} does not fit: {', and '.join(wrong)}")


def _check_tensor(name: str, tensor: Tensor, expected: Tensor, source: str | Path) -> None:
    if tensor.shape != expected.shape:
        there, here = tuple(tensor.shape), tuple(expected.shape)
        raise UsageError(
            f"{source} does not fit: {name!r} has shape {there} there and {here} here, "
            f"so it is of a network of other widths"
        )
    if expected.is_floating_point() and not tensor.is_floating_point():
        raise UsageError(f"{source} does not fit: {name!r} holds {tensor.dtype}, not floating-point numbers")


def _first(names: Iterable[str], most: int = 3) -> str:
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(repr, names[:most])) + more if names else "nothing"
