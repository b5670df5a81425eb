"""What autograd functions with a hand-written backward pass share: their use, autocast, second derivatives."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad


def needs_single_operations() -> bool:
    """Whether a transform of ``torch.func`` or a forward-mode derivative looks at each operation.

    >>> needs_single_operations(), torch.func.vmap(lambda x: x + needs_single_operations())(torch.zeros(1))
    (False, tensor([1.]))
    """
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def records_backward(x: Tensor) -> bool:
    """Whether autograd records operations on x for a backward pass, and nothing else looks at them.

    Transforms of ``torch.func``, forward-mode derivatives, autocast, compilation and subclasses of tensors need the
    single operations.

    >>> records_backward(torch.zeros(1)), torch.func.vmap(lambda x: x + records_backward(x))(torch.zeros(1))
    (True, tensor([0.]))
    """
    return (
        not torch.compiler.is_compiling()  # first, because the compiler does not know what the others call
        and torch.is_grad_enabled()
        and type(x) is Tensor
        and not needs_single_operations()
        and not torch.is_autocast_enabled(x.device.type)
    )


def is_plain(x: Tensor) -> bool:
    """Whether x is a tensor on a CPU whose memory NumPy can use, and no transform, tracing or compilation looks at it.

    >>> is_plain(torch.zeros(1)), is_plain(torch.zeros(1, device="meta"))
    (True, False)
    """
    return (
        not torch.compiler.is_compiling()
        and type(x) is Tensor
        and x.device.type == "cpu"
        and not needs_single_operations()
        and not torch.jit.is_tracing()
    )


def is_observed(module: nn.Module) -> bool:
    """Whether the module has hooks or a ``forward`` of its own, so that a function must not replace a call of it.

    >>> is_observed(nn.ReLU())
    False
    """
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        or "forward" in vars(module)
    )


def without_autocast(backward: Callable[..., Any]) -> Callable[..., Any]:
    """A backward pass whose products have the type of the saved tensors, also inside of ``torch.autocast``.

    >>> product = without_autocast(lambda ctx, gradient: gradient @ gradient)
    >>> with torch.autocast("cpu", torch.bfloat16):
    ...     print(product(None, torch.ones(1, 1)).dtype)
    torch.float32
    """

    @functools.wraps(backward)
    def run(ctx: Any, *gradients: Tensor) -> Any:
        device = gradients[0].device.type
        if not torch.is_autocast_enabled(device):  # the usual case: less time than a context manager
            return backward(ctx, *gradients)
        with torch.autocast(device, enabled=False):
            return backward(ctx, *gradients)

    return run


def differentiable_gradients(
    function: Callable[..., tuple[Tensor, ...]], inputs: tuple[Tensor | None, ...], gradients: tuple[Tensor, ...]
) -> tuple[Tensor | None, ...]:
    """The gradients of a function with a graph of their own, for derivatives of higher order.

    Args:
        function: the function in operations that autograd differentiates.
        inputs: its inputs; None for a missing one.
        gradients: the gradients of its outputs.

    Returns:
        The gradient of each input that needs one, and None for the others.

    >>> x = torch.tensor(2.0, requires_grad=True)
    >>> (gradient,) = differentiable_gradients(lambda x: (x**3,), (x,), (torch.ones(()),))
    >>> gradient, torch.autograd.grad(gradient, x)
    (tensor(12., grad_fn=...), (tensor(12.),))
    """
    with torch.enable_grad():
        # views, because one input may depend on another one: this path is not the function's
        views = [x.view_as(x) if x is not None and x.requires_grad else x for x in inputs]
        needed = [x for x in views if x is not None and x.requires_grad]
        outputs = zip(function(*views), gradients, strict=True)
        # an output of constants alone has no gradient
        differentiable, of_outputs = zip(*((y, g) for y, g in outputs if y.requires_grad), strict=True)
        results = iter(torch.autograd.grad(differentiable, needed, of_outputs, create_graph=True))
    return tuple(next(results) if x is not None and x.requires_grad else None for x in inputs)
