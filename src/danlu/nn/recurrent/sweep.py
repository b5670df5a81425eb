"""One layer in one direction, over all time steps, as one operation with derivatives of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from danlu.nn.recurrent.steps import Steps

Weights = tuple[Tensor, ...]
"""input and recurrent matrix, the bias, and what else a cell has"""


class Cell(NamedTuple):
    """A kind of cell as two loops over the steps.

    Attributes:
        forward: (steps, x, start, weights) to what comes out, the state in the end and what backward needs.
        backward: (steps, x, start, weights, saved, gradients of the two) to the gradients of x, start and weights.
    """

    forward: Callable[[Steps, Tensor, Tensor, Weights], tuple[Tensor, Tensor, Weights]]
    backward: Callable[..., tuple[Tensor | None, Tensor, Weights]]


def sweep(
    cell: Cell, steps: Steps, x: Float[Tensor, "m inputs"], start: Float[Tensor, "n parts width"], weights: Weights
) -> tuple[Float[Tensor, "m width"], Float[Tensor, "n parts width"]]:
    """What a layer puts out at every step, and its state in the end.

    The input's product is taken for all steps at once, and so are the gradients of the weights; a step multiplies by
    the recurrent matrix alone. Under autocast it computes in the weights' own type.

    Args:
        cell: which one.
        steps: how x lies in memory.
        x: what goes in, by time step.
        start: the state before the first step.
        weights: what the cell takes.
    """
    x, start = x.to(weights[0].dtype), start.to(weights[0].dtype)
    with torch.autocast(x.device.type, enabled=False):
        return _Sweep.apply(cell, steps, x, start, *weights)


class _Sweep(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, cell: Cell, steps: Steps, x: Tensor, start: Tensor, *weights: Tensor) -> Any:
        outputs, end, saved = cell.forward(steps, x, start, weights)
        ctx.cell, ctx.steps, ctx.given = cell, steps, 2 + len(weights)
        ctx.save_for_backward(x, start, *weights, *saved)
        return outputs, end

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (x, start, *weights), saved = ctx.saved_tensors[: ctx.given], ctx.saved_tensors[ctx.given :]
        with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            for_x, for_start, for_weights = ctx.cell.backward(ctx.steps, x, start, tuple(weights), saved, *gradients)
        found = (for_x, for_start, *for_weights)
        if torch.is_grad_enabled():  # somebody means to derive once more
            found = _Once.apply(*(x.new_zeros(()).requires_grad_(), *found))
        return None, None, *found


class _Once(torch.autograd.Function):
    """Gradients that say so when they are derived again; left to themselves they would count as constants."""

    @staticmethod
    def forward(ctx: Any, flag: Tensor, *gradients: Tensor) -> Any:
        return gradients

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        raise RuntimeError(
            "a peephole or coupled LSTM, and a GRU with reset='before' or 'notes', have first derivatives only; for "
            "a penalty on gradients use kind='rnn', or kind='gru' with reset='after'"
        )


def matrices(
    d: Float[Tensor, "m gates"], x: Float[Tensor, "m inputs"], previous: Float[Tensor, "m width"]
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of input matrix, recurrent matrix and bias from those of the gates before their squashing."""
    return d.t() @ x, d.t() @ previous, d.sum(0)


def by_input(d: Tensor, x: Tensor, weight: Tensor) -> Tensor | None:
    """Gradient of the input, if somebody wants it."""
    return d @ weight if x.requires_grad else None


def hoisted(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The input's share of the gates, for all steps at once."""
    return torch.addmm(bias, x, weight.t())


def sigmoid_slope(factor: Tensor, y: Tensor, out: Tensor) -> Tensor:
    """Write the factor times the derivative of the sigmoid whose value is y."""
    return torch.ops.aten.sigmoid_backward.grad_input(factor, y, grad_input=out)


def tanh_slope(factor: Tensor, y: Tensor, out: Tensor) -> Tensor:
    """Write the factor times the derivative of the tanh whose value is y."""
    return torch.ops.aten.tanh_backward.grad_input(factor, y, grad_input=out)
