"""The weights alone, as safetensors."""

from __future__ import annotations

from danlu.app.export.content import Content
from danlu.models.base import Model
from danlu.nn.state_dict import named_tensors


def applies(model: Model) -> bool:
    """Every model has weights."""
    return True


def write(model: Model, verb: str | None, metadata: dict[str, str]) -> Content:
    """The weights under the names of the published models, where there are such names."""
    from safetensors.torch import save

    tensors = {name: values.cpu().contiguous() for name, values in named_tensors(model).items()}
    return Content(save(tensors, {"format": "pt", **metadata}))
