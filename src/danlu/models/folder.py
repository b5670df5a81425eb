"""The model folder: weights and the words that say how to use them, enough without the data it was trained on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from danlu.catalogue import find_model, name_of_model
from danlu.data.dataset import DataInfo
from danlu.errors import RunError, UsageError
from danlu.nn.model import Model

FORMAT = 1


def save_model(model: object, folder: str | Path, info: DataInfo, made_with: dict[str, Any] | None = None) -> None:
    """Write ``model.safetensors`` and ``model.json`` into a folder.

    Args:
        model: a model of the catalogue, whose networks (if it takes any) are of the catalogue too.
        folder: where to write; it is made if it is not there.
        info: what the model's inputs and classes are.
        made_with: anything else worth keeping beside the weights (recipe, scores, versions).

    Raises:
        UsageError: if the model is not in the catalogue, since nothing could build it again.
    """
    description = {"format": FORMAT, **describe(model), "data": info.to_json(), "made_with": made_with or {}}
    assert isinstance(model, Model)  # describe has refused everything else
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: values.detach().cpu().contiguous() for name, values in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors")
    (folder / "model.json").write_text(json.dumps(description, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def load_model(folder: str | Path) -> Model:
    """Build the model that a model folder holds, in evaluation mode; ``model.info`` says what its inputs are.

    Raises:
        UsageError: if there is no model in the folder, or it was written by a newer danlu.
        RunError: if the weights are damaged or do not fit the description.
    """
    folder = Path(folder)
    page = folder / "model.json"
    if not page.is_file():
        raise UsageError(f"{folder} holds no model: there is no model.json; give a run folder or its model/ folder")
    description = _read(page)
    if description["format"] > FORMAT:
        raise UsageError(f"{page} has format {description['format']}, of a newer danlu; this one reads {FORMAT}")
    model = build(description)
    weights = folder / "model.safetensors"
    try:
        model.load_state_dict(load_file(weights))
    except FileNotFoundError:
        raise UsageError(f"{weights} is missing; the description beside it is not enough") from None
    except (SafetensorError, RuntimeError) as error:
        raise RunError(f"{weights} does not hold the weights of this model: {error}") from error
    model.info = DataInfo.from_json(description["data"])
    return model.eval()


def describe(model: object) -> dict[str, Any]:
    """A model as name and arguments; a model among its arguments likewise.

    >>> from danlu.models.classify.mlp import MLP
    >>> describe(MLP(shape=(4,), classes=2))["model"]
    'MLP'
    """
    name = name_of_model(type(model))
    if name is None or not isinstance(model, Model):
        raise UsageError(
            f"a {type(model).__name__} cannot be saved as a model, because it is not in the catalogue and nothing "
            f"could build it again; keep its state_dict() yourself, or add the class to the catalogue"
        )
    arguments = {key: _describe_argument(value) for key, value in model.arguments.items()}
    return {"model": name, "arguments": arguments}


def build(description: dict[str, Any]) -> Model:
    """The model of a description, with fresh weights."""
    arguments = {
        key: build(value) if isinstance(value, dict) and "model" in value else value
        for key, value in description["arguments"].items()
    }
    return find_model(description["model"])(**arguments)


def _describe_argument(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return describe(value) if isinstance(value, Model) else value


def _read(page: Path) -> dict[str, Any]:
    try:
        return json.loads(page.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"{page} is damaged: {error}") from error
