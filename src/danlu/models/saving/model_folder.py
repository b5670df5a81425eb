"""The model folder: weights and a description, sufficient to use a model without its training data."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, NotRequired

import torch
from pydantic import ConfigDict
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn
from typing_extensions import TypedDict  # pydantic needs it before Python 3.12

from danlu.catalogue.models import find_model, name_of_model
from danlu.data.base.dataset import DataInfo
from danlu.data.base.tokenizer import Tokenizer
from danlu.data.kinds import info_from_json
from danlu.data.text.info import TextInfo
from danlu.data.text.tokenizer_files import FILE
from danlu.data.text.tokenizer_files import load as load_tokenizer
from danlu.data.text.tokenizer_files import save as save_tokenizer
from danlu.errors import DanluError, RunError, UsageError, short
from danlu.models.base import Model
from danlu.models.saving.shape_check import build_without_memory, check_layers
from danlu.nn.state_dict import check_tensors, load_tensors, named_tensors
from danlu.storage.atomic import write_bytes, write_text
from danlu.storage.disk import check_header, diagnose_weights
from danlu.storage.json_page import read_page, to_json
from danlu.storage.plain_files import check_files, check_parents
from danlu.storage.regular_file import read_regular

FORMAT = 1


class _Page(TypedDict):
    """The types of the values in model.json. ``build`` and ``info_from_json`` check what is in them."""

    __pydantic_config__ = ConfigDict(extra="allow")  # pyright: ignore[reportGeneralTypeIssues]
    model: str
    arguments: dict[str, Any]
    data: dict[str, Any]
    sha256: str
    tokenizer: NotRequired[str]
    usage: NotRequired[dict[str, Any]]
    made_with: NotRequired[dict[str, Any]]


def save_model(
    model: object,
    folder: str | Path,
    info: DataInfo,
    made_with: dict[str, Any] | None = None,
    usage: dict[str, Any] | None = None,
) -> None:
    """Write ``model.safetensors`` and ``model.json`` into a folder, and a tokenizer if the model has one.

    Args:
        model: a model of the catalogue; models among its arguments must be in the catalogue too.
        folder: the folder to write to; it is created if it does not exist.
        info: description of the inputs and classes of the model.
        made_with: other information to store with the weights (recipe, scores, versions).
        usage: settings of the recipe that are needed to use the model; a loaded model has them as ``model.usage``.

    Raises:
        UsageError: if the model is not in the catalogue or its arguments cannot be written as JSON.

    >>> from tempfile import TemporaryDirectory
    >>> from danlu.data.tables.info import TableInfo
    >>> from danlu.models import MLP
    >>> with TemporaryDirectory() as folder:
    ...     save_model(MLP((4,), 2), folder, TableInfo((4,), 2))
    ...     load_model(folder).info.classes
    2
    """
    extra = {"data": info.to_json(), "made_with": made_with or {}, "usage": usage or {}}
    description = {"format": FORMAT, **describe(model), **extra}
    assert isinstance(model, Model)  # describe raises an error for other objects
    folder = Path(folder)
    weights = save({name: values.cpu().contiguous() for name, values in named_tensors(model).items()})
    description["sha256"] = sha256(weights).hexdigest()
    if model.tokenizer is not None:
        description["tokenizer"] = sha256(model.tokenizer.to_json().encode()).hexdigest()
    try:
        page = to_json(description, indent=2)
    except TypeError as error:
        raise UsageError(f"the arguments of this {type(model).__name__} cannot be saved: {error}") from error
    check_parents(folder / FILE)
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes(folder / "model.safetensors", weights)
    if model.tokenizer is not None:
        save_tokenizer(model.tokenizer, folder / FILE)
    write_text(folder / "model.json", page + "\n")  # last: it has the SHA-256 of the other files


def load_model(folder: str | Path) -> Model:
    """Load a model from a model folder, in evaluation mode. ``model.info`` describes its inputs.

    Args:
        folder: a model folder, written by ``save_model``.

    Raises:
        UsageError: if there is no model in the folder, its files are links, or it was written by a newer danlu.
        RunError: if weights, tokenizer or description are damaged or do not match.
    """
    folder = Path(folder)
    if not (folder / "model.json").is_file():
        reason = "has no model.json" if folder.is_dir() else "does not exist"
        raise UsageError(f"{folder} {reason}; give a run folder or its model/ folder")
    check_files(*(folder / name for name in ("model.json", "model.safetensors", FILE)))
    page = read_page(folder / "model.json", FORMAT, _Page)
    weights = folder / "model.safetensors"
    tensors = _weights(weights, page["sha256"])
    path = folder / "model.json"
    with _explained(page, path):
        without_memory, info = build_without_memory(lambda: build(page)), info_from_json(page["data"])
    check_tensors(without_memory, tensors, str(weights))
    with _explained(page, path):  # a number may still be one that cannot initialize a tensor
        model = build(page)
    model.info, model.usage = info, page.get("usage", {})
    if any(tensor.dtype == torch.float64 for tensor in tensors.values()):
        model.double()
    load_tensors(model, tensors, str(weights))
    if (folder / FILE).is_file():
        model.tokenizer = _tokenizer(folder / FILE, page.get("tokenizer"), model.info)
    return model.eval()


@contextmanager
def _explained(page: dict[str, Any], path: Path) -> Iterator[None]:
    """Turn every error in this context into one that names the file: its values may be wrong in every way."""
    try:
        yield
    except DanluError as error:
        raise type(error)(f"{path}: {error}", settings=error.settings) from error
    except MemoryError:
        raise
    except Exception as error:
        text = f"missing {error}" if isinstance(error, KeyError) else str(error).partition("\n")[0]
        problem = short(text or type(error).__name__, 300)
        raise RunError(f"{path} does not describe a valid {short(page['model'])}: {problem}") from error


def _tokenizer(path: Path, digest: str | None, info: DataInfo) -> Tokenizer:
    """Load the tokenizer and check that its file is unchanged."""
    tokenizer = load_tokenizer(path)
    vocabulary = info.vocabulary if isinstance(info, TextInfo) else 0
    if tokenizer.vocabulary != vocabulary:
        raise RunError(
            f"{path} has {tokenizer.vocabulary:,} tokens, expected {vocabulary:,}; it is damaged or of another model"
        )
    if digest is not None and (actual := sha256(read_regular(path)).hexdigest()) != digest:
        raise RunError(f"{path} is damaged or of another model: its SHA-256 is {actual[:12]}…, expected {digest[:12]}…")
    return tokenizer


def describe(model: object) -> dict[str, Any]:
    """Describe a model by its name and arguments; models among its arguments in the same way.

    Raises:
        UsageError: if the model is not in the catalogue.

    >>> from danlu.models import MLP
    >>> describe(MLP(shape=(4,), classes=2))["model"]
    'MLP'
    """
    kind = model.kind if isinstance(model, Model) else type(model)
    name = name_of_model(kind)
    if name is None or not isinstance(model, Model):
        raise UsageError(
            f"a {kind.__name__} cannot be saved as a model, because it is not in the catalogue; "
            f"save its state_dict(), or add the class to the catalogue"
        )
    arguments = {key: _describe_argument(value) for key, value in model.arguments.items()}
    return {"model": name, "arguments": arguments}


def build(description: dict[str, Any]) -> Model:
    """Build a model from its description, with new weights."""
    arguments = {
        key: build(value) if isinstance(value, dict) and "model" in value else value
        for key, value in description["arguments"].items()
    }
    check_layers(arguments)
    return find_model(description["model"])(**arguments)


def _describe_argument(value: Any) -> Any:
    if isinstance(value, nn.Module):
        return describe(value)
    return [_describe_argument(item) for item in value] if isinstance(value, (tuple, list)) else value


def _weights(path: Path, digest: str) -> dict[str, Tensor]:
    """Load the tensors of a weights file and check that it is unchanged."""
    try:
        content = read_regular(path)
    except FileNotFoundError:
        raise UsageError(f"{path} is missing: model.json needs these weights") from None
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror or error}") from error
    if (actual := sha256(content).hexdigest()) != digest:
        raise RunError(
            f"{path} {diagnose_weights(content)}: its SHA-256 is {actual[:12]}…, expected {str(digest)[:12]}…"
        )
    try:
        check_header(content)
        return load(content)
    except (SafetensorError, ValueError, KeyError) as error:  # the last: a data type that torch does not have
        raise RunError(f"{path} {diagnose_weights(content)}: {error}") from error
