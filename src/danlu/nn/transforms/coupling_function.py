"""A stack of affine couplings of rows with ReLU networks, as one autograd function.

With small networks most of the time is spent in starting operations, so the function has few: about a third of those
that autograd would record. Inside, values have one row for each unit and one column for each example. The two halves of
an example are then blocks of memory, a coupling replaces one of them and does not touch the other, and products with
few units take a third of the time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from danlu.nn import linear
from danlu.nn.derivatives import differentiable_gradients, without_autocast


class Step(NamedTuple):
    """A coupling of a stack.

    Attributes:
        swap: whether the first half is changed instead of the second one.
        inverse: whether shift and scale are removed.
        tensors: the factors γ, (changed,), then weight and bias of each layer of the network in turn, with ReLU between
            layers.
    """

    swap: bool
    inverse: bool
    tensors: list[Tensor]


class Kind(NamedTuple):
    """A step without its tensors, whose number is given instead."""

    swap: bool
    inverse: bool
    size: int


def coupling_stack(
    x: Float[Tensor, "n d"], context: Float[Tensor, "n c"] | None, steps: Sequence[Step]
) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n"]]:
    """Apply couplings one after another, see ``danlu.nn.Coupling``.

    Args:
        x: the examples.
        context: more inputs of the networks, or None.
        steps: the couplings in the order in which they are applied.

    Returns:
        z, and the log-determinant of each example.
    """
    kinds = [Kind(step.swap, step.inverse, len(step.tensors)) for step in steps]
    return _Couplings.apply(x, context, kinds, *(tensor for step in steps for tensor in step.tensors))


class _Couplings(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, context: Tensor | None, kinds: list[Kind], *tensors: Tensor
    ) -> tuple[Tensor, Tensor]:
        halves, more = list(x.t().contiguous().chunk(2)), None if context is None else context.t()
        log_scales, saved = (list[Tensor](), list[Tensor]()), list[Tensor]()
        for (swap, inverse, _), (limit, *layers) in _with_tensors(kinds, tensors):
            kept, changed = halves[swap], halves[not swap]
            levels = _evaluate(kept if more is None else torch.cat([kept, more]), layers)
            raw, shift = levels.pop().chunk(2)
            bounded = raw.tanh_()
            log_scale = bounded * limit.unsqueeze(1)
            scale = log_scale.exp()
            if inverse:
                changed = changed - shift
                halves[not swap] = changed / scale
            else:
                halves[not swap] = torch.addcmul(shift, changed, scale)
            log_scales[inverse].append(log_scale)
            saved += [changed, scale, bounded, *levels]
        ctx.kinds = kinds
        ctx.save_for_backward(x, context, *tensors, *saved)
        log_det = x.new_zeros(len(x))
        for sign, added in zip((1, -1), log_scales, strict=True):
            if added:
                log_det.add_(torch.cat(added).sum(0), alpha=sign)
        return torch.cat(halves).t(), log_det

    @staticmethod
    @without_autocast
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        kinds, (x, context, *rest) = ctx.kinds, ctx.saved_tensors
        count = sum(kind.size for kind in kinds)
        tensors, saved = rest[:count], rest[count:]
        if torch.is_grad_enabled():  # a second derivative may be requested
            return _differentiable(x, context, kinds, tensors, gradients)
        halves, of_log_det = list(gradients[0].t().contiguous().chunk(2)), gradients[1]
        of_log_det = (of_log_det, -of_log_det)
        of_tensors, of_more = list[list[Tensor]](), list[Tensor]()
        # the gradients of raw log-scales and shifts: couplings of the same number of values use the same memory
        memory = {size: x.new_empty(2 * size, len(x)) for size in {len(half) for half in halves}}
        for (swap, inverse, _), (limit, *layers) in reversed(list(_with_tensors(kinds, tensors))):
            number = 3 + len(layers) // 2
            (changed, scale, bounded, *levels), saved = saved[-number:], saved[:-number]
            kept, of_result = halves[swap], halves[not swap]
            of_outputs = memory[len(scale)]
            of_raw, of_shift = of_outputs.chunk(2)
            if inverse:
                of_changed = of_result / scale
                torch.neg(of_changed, out=of_shift)
            else:
                of_changed = of_result * scale
                of_shift.copy_(of_result)
            of_log_scale = torch.addcmul(of_log_det[inverse], of_changed, changed, value=-1 if inverse else 1)
            torch.ops.aten.tanh_backward.grad_input(of_log_scale * limit.unsqueeze(1), bounded, grad_input=of_raw)
            of_layers, of_inputs = _propagate(of_outputs, layers, levels)
            of_tensors.append([of_log_scale.mul_(bounded).sum(1), *of_layers])
            if context is not None:
                of_more.append(of_inputs[len(kept) :])
                of_inputs = of_inputs[: len(kept)]
            halves[not swap], halves[swap] = of_changed, kept + of_inputs
        of_context = torch.stack(of_more).sum(0).t() if of_more else None
        return torch.cat(halves).t(), of_context, None, *(t for step in reversed(of_tensors) for t in step)


def _with_tensors(kinds: Sequence[Kind], tensors: Sequence[Tensor]) -> Iterator[tuple[Kind, Sequence[Tensor]]]:
    """The couplings of a stack, each with its tensors."""
    start = 0
    for kind in kinds:
        yield kind, tensors[start : start + kind.size]
        start += kind.size


def _product() -> Callable[[Tensor, Tensor], Tensor]:
    """The product of matrices: torch's own, without the choice of a library, where there is none."""
    return linear.product if linear.PREFER_ONEDNN else torch.mm


def _evaluate(inputs: Tensor, layers: Sequence[Tensor]) -> list[Tensor]:
    """The inputs, the values of each hidden layer, and the outputs."""
    levels, last, product = [inputs], len(layers) // 2 - 1, _product()
    for k in range(last + 1):
        level = product(layers[2 * k], levels[k]).add_(layers[2 * k + 1].unsqueeze(1))
        levels.append(level.relu_() if k < last else level)
    return levels


def _propagate(of_outputs: Tensor, layers: Sequence[Tensor], levels: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
    """The gradients of weights and biases, and those of the inputs."""
    gradient, of_layers, product = of_outputs, list[Tensor](), _product()
    for k in reversed(range(len(levels))):
        of_layers += [gradient.sum(1), product(gradient, levels[k].t())]
        gradient = product(layers[2 * k].t(), gradient)
        if k:
            torch.ops.aten.threshold_backward.grad_input(gradient, levels[k], 0, grad_input=gradient)
    return of_layers[::-1], gradient


def _differentiable(
    x: Tensor,
    context: Tensor | None,
    kinds: list[Kind],
    tensors: Sequence[Tensor],
    gradients: tuple[Tensor, ...],
) -> tuple[Tensor | None, ...]:
    """The gradients with a graph of their own."""

    def plain(x: Tensor, context: Tensor | None, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        halves, log_det = list(x.chunk(2, 1)), x.new_zeros(len(x))
        for (swap, inverse, _), (limit, *layers) in _with_tensors(kinds, tensors):
            y = halves[swap] if context is None else torch.cat([halves[swap], context], 1)
            for k in range(0, len(layers), 2):
                y = F.linear(y.relu() if k else y, layers[k], layers[k + 1])
            raw, shift = y.chunk(2, 1)
            scale, changed = limit * raw.tanh(), halves[not swap]
            halves[not swap] = (changed - shift) * (-scale).exp() if inverse else changed * scale.exp() + shift
            log_det = log_det + (-scale if inverse else scale).sum(1)
        return torch.cat(halves, 1), log_det

    of_x, of_context, *rest = differentiable_gradients(plain, (x, context, *tensors), gradients)
    return of_x, of_context, None, *rest
