"""The tensors of a module by name, each once: a tensor that two names share is kept under the first.

A tensor may be split over processes (a ``DTensor``); each then holds a part of its first dimension.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from danlu.errors import UsageError


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """The state dict, with a shared tensor under its first name only.

    It gives what the module holds now; ``state_dict()`` would split again what has been gathered.

    >>> tied = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    >>> tied[1].weight = tied[0].weight
    >>> list(tensors_of(tied))
    ['0.weight']
    """
    names: dict[Tensor, str] = {}
    for path, owner in module.named_modules(remove_duplicate=False):
        passing = owner._non_persistent_buffers_set
        buffers = {name: buffer for name, buffer in owner._buffers.items() if name not in passing}
        for name, tensor in {**owner._parameters, **buffers}.items():
            if tensor is not None:
                names.setdefault(tensor, f"{path}.{name}" if path else name)
    return {name: tensor.detach() for tensor, name in names.items()}


@torch.no_grad()
def load_tensors(module: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Copy tensors into a module.

    Args:
        module: where to.
        tensors: as ``tensors_of`` gives them, whole.
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
    for name, tensor in tensors.items():
        expected[name].copy_(place(tensor, expected[name]))


class Below(Mapping[str, Tensor]):
    """The tensors whose names begin so, under the rest of their names; none is read before it is asked for.

    >>> dict(Below({"a/b": torch.ones(1), "c/b": torch.zeros(1)}, "a/"))
    {'b': tensor([1.])}
    """

    def __init__(self, tensors: Mapping[str, Tensor], start: str):
        self._tensors, self._start = tensors, start
        self._names = [name.removeprefix(start) for name in tensors if name.startswith(start)]

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[self._start + name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def is_split(tensor: Tensor) -> bool:
    """Whether a tensor is split over processes."""
    return hasattr(tensor, "to_local")


def own_part(tensor: Tensor) -> Tensor:
    """What this process holds of a tensor; the same memory.

    >>> own_part(torch.ones(2))
    tensor([1., 1.])
    """
    return tensor.to_local() if is_split(tensor) else tensor  # type: ignore[operator]


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor, gathered if it is split; every process must then ask."""
    return tensor.full_tensor() if is_split(tensor) else tensor  # type: ignore[operator]


def place(value: Tensor, like: Tensor) -> Tensor:
    """A whole tensor, which every process has, split in the way and on the device of another one."""
    if not is_split(like):
        return value
    from torch.distributed.tensor import DTensor, distribute_tensor  # takes time to import

    assert isinstance(like, DTensor)
    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements, src_data_rank=None)
