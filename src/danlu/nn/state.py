"""The tensors of a module by name, each once: a tensor that two names share is kept under the first."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from danlu.errors import UsageError


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """The state dict, with a shared tensor under its first name only.

    >>> tied = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    >>> tied[1].weight = tied[0].weight
    >>> list(tensors_of(tied))
    ['0.weight']
    """
    state = module.state_dict(keep_vars=True)
    names: dict[int, str] = {}
    for name, tensor in state.items():
        names.setdefault(id(tensor), name)
    return {name: state[name].detach() for name in names.values()}


def load_tensors(module: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Copy tensors into a module.

    Args:
        module: where to.
        tensors: as ``tensors_of`` gives them.
        source: what errors call their origin.

    Raises:
        UsageError: if names or shapes are not the module's.
    """
    expected = tensors_of(module)
    if wrong := sorted(tensors.keys() ^ expected.keys()):
        where = "only there" if wrong[0] in tensors else "only here"
        raise UsageError(f"{source} is of another model: {len(wrong)} tensors differ, first {wrong[0]!r} ({where})")
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape:
            there, here = tuple(tensor.shape), tuple(expected[name].shape)
            raise UsageError(f"{source} is of another model: {name!r} has shape {there} there and {here} here")
    module.load_state_dict(dict(tensors), strict=False)  # not strict: the other names of shared tensors are missing
