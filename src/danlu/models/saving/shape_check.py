"""Build a model without memory for its tensors, to check the sizes in a file before anything is allocated."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules import module as hooks
from torch.overrides import TorchFunctionMode

from danlu.errors import DanluError, short
from danlu.limits import LAYERS, MODEL_PARTS

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
    except DanluError:
        raise
    except Exception as error:  # arguments of any type and size can raise any exception in a constructor
        raise ValueError(short(str(error).partition("\n")[0], 300) or type(error).__name__) from error


def check_layers(arguments: dict[str, Any]) -> None:
    """Check the arguments named ``layers``, which determine sizes of Python lists before a module is created.

    Raises:
        ValueError: if one is too large.
    """
    layers = arguments.get("layers")
    if isinstance(layers, int | float) and layers > LAYERS:
        raise ValueError(f"layers={layers} exceeds the limit of {LAYERS:,}")


@contextmanager
def _limited_parts() -> Iterator[None]:
    """Raise ValueError in this context if too many modules, parameters and buffers are created."""
    count = 0

    def add(*_: object) -> None:
        nonlocal count
        count += 1
        if count > MODEL_PARTS:
            raise ValueError(f"the model has more than {MODEL_PARTS:,} modules, parameters and buffers")

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


class _WithoutValues(TorchFunctionMode):
    """Skip operations that only change values, which take time and, on the device meta, import large packages."""

    _RANDOM = (torch.rand, torch.randn)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in self._RANDOM:
            return torch.empty(*args, **{key: value for key, value in kwargs.items() if key != "generator"})
        name = getattr(func, "__name__", "")
        in_place = name.endswith("_") and not name.endswith("__") and name != "requires_grad_"
        if in_place and args and isinstance(args[0], Tensor) and args[0].is_meta:
            return args[0]
        return func(*args, **kwargs)
