"""One layer in one direction over all time steps, as one autograd function with hand-written derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from danlu.nn.recurrent.steps import Steps

Weights = tuple[Tensor, ...]
"""Input matrix, recurrent matrix, bias, and further parameters of a cell."""


class Cell(NamedTuple):
    """A type of cell, as two loops over the steps.

    Attributes:
        forward: maps (steps, x, start, weights) to the outputs, the final state and the tensors saved for backward.
        backward: maps (steps, x, start, weights, saved, gradients of outputs and final state) to the gradients of x,
            start and weights.
    """

    forward: Callable[[Steps, Tensor, Tensor, Weights], tuple[Tensor, Tensor, Weights]]
    backward: Callable[..., tuple[Tensor | None, Tensor, Weights]]


def scan(
    cell: Cell, steps: Steps, x: Float[Tensor, "m inputs"], start: Float[Tensor, "n parts width"], weights: Weights
) -> tuple[Float[Tensor, "m width"], Float[Tensor, "n parts width"]]:
    """Outputs of a layer at every step, and its final state.

    The input projection and the gradients of the weights are computed for all steps at once; a step multiplies only by
    the recurrent matrix. Under autocast the dtype of the weights is used.

    Args:
        cell: the type of cell.
        steps: the memory layout of x.
        x: inputs, ordered by time step.
        start: the state before the first step.
        weights: the parameters of the cell.
    """
    x, start = x.to(weights[0].dtype), start.to(weights[0].dtype)
    with torch.autocast(x.device.type, enabled=False):
        return _Scan.apply(cell, steps, x, start, *weights)


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, cell: Cell, steps: Steps, x: Tensor, start: Tensor, *weights: Tensor) -> Any:
        outputs, end, saved = cell.forward(steps, x, start, weights)
        ctx.cell, ctx.steps, ctx.num_inputs = cell, steps, 2 + len(weights)
        ctx.save_for_backward(x, start, *weights, *saved)
        return outputs, end

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (x, start, *weights), saved = ctx.saved_tensors[: ctx.num_inputs], ctx.saved_tensors[ctx.num_inputs :]
        with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            grad_x, grad_start, grad_weights = ctx.cell.backward(ctx.steps, x, start, tuple(weights), saved, *gradients)
        input_gradients = (grad_x, grad_start, *grad_weights)
        if torch.is_grad_enabled():  # a second derivative may be requested
            origins = (x, start, *weights, *gradients)
            input_gradients = _FirstDerivativesOnly.apply(len(origins), *origins, *input_gradients)
        return None, None, *input_gradients


class _FirstDerivativesOnly(torch.autograd.Function):
    """Raise an error when gradients are differentiated again; otherwise they would silently count as constants.

    The gradients are connected to all tensors on which they depend, so that no second derivative bypasses the error.
    """

    @staticmethod
    def forward(ctx: Any, num_origins: int, *tensors: Tensor) -> Any:
        return tensors[num_origins:]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        raise RuntimeError(
            "peephole and coupled LSTM, and GRU with reset='before' or 'notes', have first derivatives only; for "
            "a gradient penalty use kind='rnn', or kind='gru' with reset='after'"
        )


def weight_gradients(
    d: Float[Tensor, "m gates"], x: Float[Tensor, "m inputs"], previous: Float[Tensor, "m width"]
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of input matrix, recurrent matrix and bias, from the gradients of the gates' preactivations."""
    return d.t() @ x, d.t() @ previous, d.sum(0)


def input_gradient(d: Tensor, x: Tensor, weight: Tensor) -> Tensor | None:
    """Gradient of the input, or None if it is not required."""
    return d @ weight if x.requires_grad else None


def input_projection(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The contribution of the input to the gates, for all steps at once."""
    return torch.addmm(bias, x, weight.t())


def sigmoid_backward(factor: Tensor, y: Tensor, out: Tensor) -> Tensor:
    """Write ``factor`` times the derivative of the sigmoid at output y."""
    return torch.ops.aten.sigmoid_backward.grad_input(factor, y, grad_input=out)


def tanh_backward(factor: Tensor, y: Tensor, out: Tensor) -> Tensor:
    """Write ``factor`` times the derivative of tanh at output y."""
    return torch.ops.aten.tanh_backward.grad_input(factor, y, grad_input=out)
