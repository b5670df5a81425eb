"""The roles of layers: a model declares which of its weights are embeddings, output layers or separate vectors.

Optimizers that treat hidden matrices differently, such as Muon, read the roles. They do not depend on names of layers.
"""

from __future__ import annotations

from typing import Literal, TypeVar

from torch import Tensor, nn

Role = Literal["embedding", "output", "vectors"]
"""Embedding: one row or column per token or class, selected by an index or a one-hot vector. Output: the layer that
computes an output of the model, for example logits, scores, pixels or the parameters of a distribution. Vectors: the
rows are separate vectors, for example diagonal matrices, and the tensor is no linear map."""

Layer = TypeVar("Layer", bound=nn.Module)

_EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)
_OUTPUTS = (nn.AdaptiveLogSoftmaxWithLoss,)


def set_role(layer: Layer, role: Role, *names: str) -> Layer:
    """Declare the role of the parameters of a module, and return the module.

    Args:
        layer: the module.
        role: the role.
        names: names of its own parameters; without names, all parameters of the module and of its parts have the role.

    >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), output_layer(nn.Linear(3, 1)))
    >>> [role for role in roles(net).values()]
    ['output', 'output']
    """
    declared: dict[str, Role] = getattr(layer, "declared_roles", {})
    layer.declared_roles = {**declared, **dict.fromkeys(names or ("",), role)}  # type: ignore[assignment]
    return layer


def output_layer(layer: Layer) -> Layer:
    """Declare that a module computes an output of its model, and return the module.

    >>> len(roles(output_layer(nn.Linear(3, 1))))
    2
    """
    return set_role(layer, "output")


def roles(module: nn.Module) -> dict[Tensor, Role]:
    """The parameters of a module that have a role, and their roles; torch's embeddings have theirs by type.

    >>> roles(nn.Sequential(nn.Embedding(5, 2), nn.Linear(2, 2))).values()
    dict_values(['embedding'])
    """
    result: dict[Tensor, Role] = {}
    for part in module.modules():
        if isinstance(part, _EMBEDDINGS):
            result.update(dict.fromkeys(part.parameters(), "embedding"))
        elif isinstance(part, _OUTPUTS):
            result.update(dict.fromkeys(part.parameters(), "output"))
        declared: dict[str, Role] = getattr(part, "declared_roles", {})
        for name, role in declared.items():
            parameters = [part.get_parameter(name)] if name else part.parameters()
            result.update(dict.fromkeys(parameters, role))
    return result
