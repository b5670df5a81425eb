r"""The LSTM with coupled input and forget gates, the simplified LSTM of the lecture notes.

.. math::

    i_t &= \sigma(W_i x_t + U_i h_{t-1} + b_i) \\
    g_t &= \tanh(W_g x_t + U_g h_{t-1} + b_g) \\
    o_t &= \sigma(W_o x_t + U_o h_{t-1} + b_o) \\
    c_t &= (1 - i_t) \circ c_{t-1} + i_t \circ g_t \\
    h_t &= o_t \circ \tanh(c_t)

Greff et al., "LSTM: a search space odyssey", 2017, variant CIFG, here without their peephole
connections. The order of the gates is i, g, o.
"""

from __future__ import annotations

import torch
from torch import Tensor

from danlu.nn.recurrent.scan import (
    Cell,
    Weights,
    input_gradient,
    input_projection,
    sigmoid_backward,
    tanh_backward,
    weight_gradients,
)
from danlu.nn.recurrent.steps import Steps, align_rows, final_states


def forward(steps: Steps, x: Tensor, start: Tensor, weights: Weights) -> tuple[Tensor, Tensor, Weights]:
    """Outputs of all steps; the weights are input matrix, recurrent matrix and bias."""
    matrix, recurrent, bias = weights
    gates = input_projection(x, matrix, bias)
    cells, tanh_cells, outputs = gates.new_empty(3, len(x), recurrent.shape[1])
    recurrent_t = recurrent.t()
    h0, c0 = h, c = start.unbind(1)
    blocks = gates.view(len(x), 3, -1).unbind(1)
    for a, i, g, o, cell, tanh_cell, out in zip(
        *map(steps.split, (gates, *blocks, cells, tanh_cells, outputs)), strict=True
    ):
        h, c = align_rows(h, h0, len(a)), align_rows(c, c0, len(a))
        a.addmm_(h, recurrent_t)
        torch.lerp(c, g.tanh_(), i.sigmoid_(), out=cell)
        torch.mul(o.sigmoid_(), torch.tanh(cell, out=tanh_cell), out=out)
        h, c = out, cell
    end = torch.stack([final_states(steps.split(outputs)), final_states(steps.split(cells))], 1)
    return outputs, end, (gates, cells, tanh_cells, outputs)


def backward(
    steps: Steps, x: Tensor, start: Tensor, weights: Weights, saved: Weights, grad_outputs: Tensor, grad_end: Tensor
) -> tuple[Tensor | None, Tensor, Weights]:
    """All gradients; terms that do not depend on later steps are computed for all steps at once, before the loop."""
    matrix, recurrent, _ = weights
    gates, cells, tanh_cells, outputs = saved
    previous_h, previous_c = steps.previous(outputs, start[:, 0]), steps.previous(cells, start[:, 1])
    i, g, o = gates.view(len(x), 3, -1).unbind(1)
    d = torch.empty_like(gates)
    blocks = d.view(len(x), 3, -1)
    d_i, d_g, d_o = blocks.unbind(1)
    sigmoid_backward(g - previous_c, i, d_i)
    tanh_backward(i, g, d_g)
    sigmoid_backward(tanh_cells, o, d_o)
    to_cell = tanh_backward(o, tanh_cells, torch.empty_like(cells))
    forget = 1 - i

    grad_h, grad_c = grad_end.transpose(0, 1).clone(memory_format=torch.contiguous_format)
    parts = [steps.split(part)[::-1] for part in (grad_outputs, d, blocks[:, :2], d_o, to_cell, forget)]
    for gradient, d_step, d_ig, d_out, slope, forget_step in zip(*parts, strict=True):
        dh, dc = grad_h[: len(d_step)], grad_c[: len(d_step)]
        dh.add_(gradient)
        dc.addcmul_(dh, slope)
        d_ig.mul_(dc[:, None])
        d_out.mul_(dh)
        dc.mul_(forget_step)
        torch.mm(d_step, recurrent, out=dh)
    return input_gradient(d, x, matrix), torch.stack([grad_h, grad_c], 1), weight_gradients(d, x, previous_h)


COUPLED_LSTM = Cell(forward, backward)
