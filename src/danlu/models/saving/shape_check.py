"""Build a model without memory for its tensors, to check the sizes in a file before anything is allocated."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules import module as hooks
from torch.overrides import TorchFunctionMode

from danlu.errors import DanluError, short
from danlu.limits import LAYERS, MODEL_PARTS
from danlu.nn.state_dict import named_tensors
from danlu.storage.available_memory import available_memory

M = TypeVar("M", bound=nn.Module)


def build_without_memory(build: Callable[[], M]) -> M:
    """Call a function that builds a model; the tensors of the model have shapes, but no values and no memory.

    Args:
        build: the function. The arguments of the model may come from a file that is not trusted.

    Raises:
        ValueError: if the arguments are invalid, or the model has too many parts.

    >>> build_without_memory(lambda: nn.Linear(10**9, 10**6)).weight.shape
    torch.Size([1000000, 1000000000])
    """
    try:
        with _limited_parts(), torch.device("meta"), _WithoutValues():
            return build()
    except (DanluError, TooManyParts):
        raise
    except Exception as error:  # arguments of any type and size can raise any exception in a constructor
        raise ValueError(short(str(error).partition("\n")[0], 300) or type(error).__name__) from error


class TooManyParts(ValueError):
    """A model has too many modules, parameters and buffers."""


def check_memory(build: Callable[[], nn.Module]) -> None:
    """Check that the parameters and buffers of a module fit in memory, before it is built.

    Other errors are left to the function, when it is called to build the module.

    Args:
        build: the function that builds the module.

    Raises:
        ValueError: if they do not fit, or the module has too many parts.

    >>> check_memory(lambda: nn.Linear(10**9, 10**6))
    Traceback (most recent call last):
    ValueError: the weights need 4,000,000,004,000,000 bytes, and ... are available; use smaller networks
    """
    try:
        module = build_without_memory(build)
    except TooManyParts:
        raise
    except ValueError:
        return
    needed, free = sum(tensor.nbytes for tensor in named_tensors(module).values()), available_memory()
    if needed > free:
        raise ValueError(
            f"the weights need {needed:,} bytes, and {free:,} bytes of memory are available; use smaller networks"
        )


def check_layers(arguments: dict[str, Any]) -> None:
    """Check arguments that are numbers of layers, which determine sizes of Python lists, before a module is created.

    Raises:
        ValueError: if one is too large.
    """
    for name in ("layers", "posterior_layers"):
        layers = arguments.get(name)
        if isinstance(layers, int | float) and layers > LAYERS:
            raise ValueError(f"{name}={layers} exceeds the limit of {LAYERS:,}")


@contextmanager
def _limited_parts() -> Iterator[None]:
    """Raise ValueError in this context if too many modules, parameters and buffers are created."""
    count = 0

    def add(*_: object) -> None:
        nonlocal count
        count += 1
        if count > MODEL_PARTS:
            raise TooManyParts(f"the model has more than {MODEL_PARTS:,} modules, parameters and buffers")

    handles = [
        hooks.register_module_module_registration_hook(add),
        hooks.register_module_parameter_registration_hook(add),
        hooks.register_module_buffer_registration_hook(add),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


_SIMPLER: dict[Any, Callable[..., Tensor]] = {
    torch.rand: torch.empty,
    torch.randn: torch.empty,
    torch.rand_like: lambda x, **_: x.new_empty(x.shape),
    torch.randn_like: lambda x, **_: x.new_empty(x.shape),
    torch.mv: lambda matrix, _, out=None: matrix.new_empty(matrix.shape[0]) if out is None else out,
    torch.dot: lambda x, _: x.new_empty(()),
    torch.Tensor.div: lambda x, _: x.new_empty(x.shape),  # by a number; torch.broadcast_shapes imports sympy
    functional.normalize: lambda x, *_, out=None, **__: x if out is None else out,
}
"""functions with results of the same shapes"""


class _WithoutValues(TorchFunctionMode):
    """Skip operations that only change values, which take time and, on the device meta, import large packages."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _SIMPLER:
            return _SIMPLER[func](*args, **{key: value for key, value in kwargs.items() if key != "generator"})
        name, changed = getattr(func, "__name__", ""), kwargs.get("out")
        if name.endswith("_") and not name.endswith("__") and name != "requires_grad_":  # in place
            changed = args[0] if args else kwargs.get("tensor")  # the name of the argument of torch.nn.init
        if isinstance(changed, Tensor) and changed.is_meta:
            return changed
        return func(*args, **kwargs)
