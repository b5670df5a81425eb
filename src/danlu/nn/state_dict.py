"""The parameters and persistent buffers of a module by name; a shared tensor is listed once, under its first name.

A tensor may be sharded over processes (a ``DTensor``); each process then holds a part of its first dimension.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from danlu.errors import UsageError


def named_tensors(module: nn.Module) -> dict[str, Tensor]:
    """The state dict, with a shared tensor under its first name only.

    It returns the tensors that the module holds now; ``state_dict()`` would shard gathered tensors again.

    >>> tied = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    >>> tied[1].weight = tied[0].weight
    >>> list(named_tensors(tied))
    ['0.weight']
    """
    names: dict[Tensor, str] = {}
    for path, owner in module.named_modules(remove_duplicate=False):
        non_persistent = owner._non_persistent_buffers_set
        buffers = {name: buffer for name, buffer in owner._buffers.items() if name not in non_persistent}
        for name, tensor in {**owner._parameters, **buffers}.items():
            if tensor is not None:
                names.setdefault(tensor, f"{path}.{name}" if path else name)
    return {name: tensor.detach() for tensor, name in names.items()}


@torch.no_grad()
def load_tensors(module: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Copy tensors into a module.

    Args:
        module: the module to change.
        tensors: full tensors, named as by ``named_tensors``.
        source: where the tensors come from, for error messages.

    Raises:
        UsageError: if names or shapes differ from those of the module.
    """
    expected = check_tensors(module, tensors, source)
    for name, tensor in tensors.items():
        expected[name].copy_(distribute_like(tensor, expected[name]))


def check_tensors(module: nn.Module, tensors: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """Check that tensors have the names and shapes of those of a module; arguments as in ``load_tensors``.

    Returns:
        The tensors of the module.

    Raises:
        UsageError: if names or shapes differ.
    """
    expected = named_tensors(module)
    if differing := sorted(tensors.keys() ^ expected.keys()):
        where = "only in the file" if differing[0] in tensors else "only in the model"
        raise UsageError(
            f"{source} is of another model: {len(differing)} names differ, first {differing[0]!r} ({where})"
        )
    for name, tensor in expected.items():
        if tensor.shape != tensors[name].shape:
            shape, expected_shape = tuple(tensors[name].shape), tuple(tensor.shape)
            raise UsageError(f"{source} is of another model: {name!r} has shape {shape}, expected {expected_shape}")
    return expected


class PrefixView(Mapping[str, Tensor]):
    """A view of the tensors whose names start with a prefix, with the prefix removed; tensors are read lazily.

    >>> dict(PrefixView({"a/b": torch.ones(1), "c/b": torch.zeros(1)}, "a/"))
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


def is_sharded(tensor: Tensor) -> bool:
    """Whether a tensor is sharded over processes."""
    return hasattr(tensor, "to_local")


def local_shard(tensor: Tensor) -> Tensor:
    """The part of a tensor that this process holds; it shares memory with the tensor.

    >>> local_shard(torch.ones(2))
    tensor([1., 1.])
    """
    return tensor.to_local() if is_sharded(tensor) else tensor  # type: ignore[operator]


def full_tensor(tensor: Tensor) -> Tensor:
    """The full tensor, gathered if it is sharded; then every process must call this."""
    return tensor.full_tensor() if is_sharded(tensor) else tensor  # type: ignore[operator]


def distribute_like(value: Tensor, like: Tensor) -> Tensor:
    """Shard a full tensor, which every process has, over the same processes and devices as another tensor."""
    if not is_sharded(like):
        return value
    from torch.distributed.tensor import DTensor, distribute_tensor  # takes time to import

    assert isinstance(like, DTensor)
    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements, src_data_rank=None)
