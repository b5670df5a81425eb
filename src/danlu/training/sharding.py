"""Players sharded over the processes: each process holds a part of the weights, gradients and optimizer state.

torch's ``fully_shard`` gathers the weights of a module when it runs, and frees them afterwards. It does not know which
modules of a task run as a unit: players may share modules, have methods besides ``forward``, and be used in turns
without an optimizer step. This module determines the units.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from danlu.errors import UsageError
from danlu.nn.memory_format import set_format
from danlu.nn.state_dict import distribute_like
from danlu.training.runtime import Runtime

BLOCK = 1_000_000
"""minimal number of parameters of a layer that is gathered separately"""


class Shards:
    """The sharded players of a task.

    Args:
        players: all players, by name.
        split: names of the players to shard.
        runtime: the processes; nothing is sharded in a single process.
        block: layers of a stack with at least this many parameters are gathered one at a time, to save memory.

    Raises:
        UsageError: if a player cannot be sharded.

    >>> Shards({"net": nn.Linear(2, 1)}, {"net"}, Runtime()).units
    []
    """

    def __init__(self, players: Mapping[str, nn.Module], split: set[str], runtime: Runtime, block: int = BLOCK):
        self.units: list[Any] = []
        self._layers: list[Any] = []
        if not split or runtime.world == 1:
            return
        for unit in units(players, split):
            self._layers += [_shard(layer, runtime, reshard=True) for layer in layers(unit, block)]
            self.units.append(_shard(unit, runtime, reshard=False))

    def reshard(self) -> None:
        """Free the gathered weights; every module then holds only its part."""
        for unit in [*self.units, *self._layers]:
            unit.reshard()

    @contextmanager
    def gathered(self, keep: bool = False) -> Iterator[None]:
        """A context in which every module holds all its weights; no process then waits for another.

        Args:
            keep: whether to keep changes of the weights that are made in the context.
        """
        self.reshard()
        modules = [*self.units, *self._layers]
        parts = [parameter for unit in modules for parameter in unit.parameters()]
        for unit in modules:
            unit.set_reshard_after_forward(False, recurse=False)
            unit.unshard()
        try:
            yield
            if keep:
                gathered = [parameter for unit in modules for parameter in unit.parameters()]
                with torch.no_grad():
                    for part, full in zip(parts, gathered, strict=True):
                        part.copy_(distribute_like(full.detach(), part))
        finally:
            for layer in self._layers:
                layer.set_reshard_after_forward(True, recurse=False)
            self.reshard()


def units(players: Mapping[str, nn.Module], split: set[str]) -> list[nn.Module]:
    """The modules to gather as units: players, or parts of players that share modules or have no ``forward``.

    >>> encoder = nn.Linear(2, 2)
    >>> a, b = nn.Sequential(encoder, nn.Linear(2, 1)), nn.Sequential(encoder, nn.Linear(2, 3))
    >>> units({"a": a, "b": b}, {"a", "b"}) == [encoder, a[1], b[1]]
    True

    Raises:
        UsageError: if a weight belongs to no module with ``forward``, to two units, or also to a player that is not
            sharded.
    """
    owners: dict[Tensor, frozenset[str]] = {}
    for name, player in players.items():
        for parameter in player.parameters():
            owners[parameter] = owners.get(parameter, frozenset()) | {name}
    for parameter, names in owners.items():
        if names & split and parameter.ndim == 0:
            raise UsageError(f"player {min(names)!r} has a weight that is a single number, which cannot be sharded")
        if names & split and not names <= split:
            raise UsageError(f"players {', '.join(sorted(names))} share weights; shard all of them, or none")
    modules: dict[nn.Module, None] = {}
    for name in sorted(split):
        modules.update(dict.fromkeys(_units_in(players[name], owners, name)))
    claimed: set[Tensor] = set()
    for unit in modules:
        unit_weights = set(unit.parameters())
        if claimed & unit_weights:
            raise UsageError("two parts of a player that run separately share weights, which cannot be sharded")
        claimed |= unit_weights
    return list(modules)


def _units_in(module: nn.Module, owners: Mapping[Tensor, frozenset[str]], player: str) -> Iterator[nn.Module]:
    has_forward = type(module).forward is not nn.Module.forward
    if has_forward and len({owners[parameter] for parameter in module.parameters()}) == 1:
        yield module
        return
    if own_names := [name for name, _ in module.named_parameters(recurse=False)]:
        raise UsageError(
            f"player {player!r} cannot be sharded: {', '.join(own_names)} of {type(module).__name__} is shared with "
            f"another player or belongs to a module without forward"
        )
    for child in module.children():
        yield from _units_in(child, owners, player)


def layers(unit: nn.Module, block: int) -> list[nn.Module]:
    """The large layers in the stacks of a unit. They run one after the other, so they can be gathered one at a time.

    >>> stack = nn.Sequential(nn.Linear(9, 9), nn.Sequential(nn.Linear(9, 9), nn.Linear(9, 9)))
    >>> [sum(p.numel() for p in layer.parameters()) for layer in layers(stack, block=90)]
    [90, 180]
    """
    all_parameters = [parameter for module in unit.modules() for parameter in module.parameters(recurse=False)]
    large_layers = []
    for child in unit.children():
        parameters = list(child.parameters())
        tied = any(sum(p is other for other in all_parameters) > 1 for p in parameters)
        large = sum(p.numel() for p in parameters) >= block and type(child).forward is not nn.Module.forward
        if isinstance(unit, (nn.Sequential, nn.ModuleList)) and large and not tied:
            large_layers.append(child)
        else:
            large_layers += layers(child, block)
    return large_layers


def _shard(module: nn.Module, runtime: Runtime, reshard: bool) -> nn.Module:
    """Shard a module. Its methods and ``forward`` gather the weights, and free them afterwards if ``reshard``."""
    from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method  # takes time to import

    public = _public_methods(module)
    set_format(module, torch.contiguous_format)  # fully_shard supports no other
    fully_shard(module, mesh=runtime.mesh(), reshard_after_forward=reshard)
    assert isinstance(module, FSDPModule)
    # gradients are summed here and divided once, by the trainer; gloo supports only sums
    module.set_gradient_divide_factor(1.0)
    module.set_force_sum_reduction_for_comms(True)
    for name in public:
        register_fsdp_forward_method(module, name)
        setattr(module, name, _with_gradient_check(getattr(module, name)))
    module.register_forward_hook(lambda module, inputs, output: _check_derivatives(output))
    return module


def _public_methods(module: nn.Module) -> list[str]:
    """Public methods besides ``forward``, for example log_prob; torch's own methods need no weights."""
    classes = [cls for cls in type(module).__mro__ if not cls.__module__.startswith("torch.") and cls is not object]
    names = dict.fromkeys(name for cls in classes for name, value in vars(cls).items() if callable(value))
    return [name for name in names if not name.startswith("_") and name != "forward" and _is_method(module, name)]


def _is_method(module: nn.Module, name: str) -> bool:
    return getattr(getattr(module, name), "__self__", None) is module


def _with_gradient_check(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def checked(*args: Any, **kwargs: Any) -> Any:
        output = method(*args, **kwargs)
        _check_derivatives(output)
        return output

    return checked


def _check_derivatives(output: Any) -> None:
    """Refuse second derivatives of the outputs of a sharded module: torch can compute them incorrectly."""
    for tensor in tree_leaves(output):
        if isinstance(tensor, Tensor) and tensor.requires_grad:
            tensor.register_hook(_refuse_second_derivatives)


def _refuse_second_derivatives(gradient: Tensor) -> None:
    if torch.is_grad_enabled():  # in a backward pass, true only with create_graph
        raise UsageError(
            "second derivatives of a player, as for a gradient penalty, are not available for sharded networks; "
            "set shard=False"
        )
