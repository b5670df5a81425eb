r"""The LSTM with peephole connections.

.. math::

    i_t &= \sigma(W_i x_t + U_i h_{t-1} + p_i \circ c_{t-1} + b_i) \\
    f_t &= \sigma(W_f x_t + U_f h_{t-1} + p_f \circ c_{t-1} + b_f) \\
    g_t &= \tanh(W_g x_t + U_g h_{t-1} + b_g) \\
    c_t &= f_t \circ c_{t-1} + i_t \circ g_t \\
    o_t &= \sigma(W_o x_t + U_o h_{t-1} + p_o \circ c_t + b_o) \\
    h_t &= o_t \circ \tanh(c_t)

Gers and Schmidhuber, "Recurrent nets that time and count", 2000; Graves, "Generating sequences with recurrent neural
networks", 2013, equations 7 to 11. The weights p are diagonal: 3·width parameters more than in the plain LSTM.
The output gate uses the current cell state.
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
    """Outputs of all steps; the weights are input matrix, recurrent matrix, bias, and the rows p_i, p_f, p_o."""
    matrix, recurrent, bias, peepholes = weights
    gates = input_projection(x, matrix, bias)
    cells, tanh_cells, outputs = gates.new_empty(3, len(x), recurrent.shape[1])
    blocks = gates.view(len(x), 4, -1)
    recurrent_t, (if_weights, o_weight) = recurrent.t(), peepholes.split((2, 1))
    h0, c0 = h, c = start.unbind(1)
    for a, if_gates, i, f, g, o, cell, tanh_cell, out in zip(
        *map(steps.split, (gates, blocks[:, :2], *blocks.unbind(1), cells, tanh_cells, outputs)), strict=True
    ):
        h, c = align_rows(h, h0, len(a)), align_rows(c, c0, len(a))
        a.addmm_(h, recurrent_t)
        if_gates.addcmul_(c[:, None], if_weights).sigmoid_()
        g.tanh_()
        torch.mul(f, c, out=cell).addcmul_(i, g)
        o.addcmul_(cell, o_weight).sigmoid_()
        torch.mul(o, torch.tanh(cell, out=tanh_cell), out=out)
        h, c = out, cell
    end = torch.stack([final_states(steps.split(outputs)), final_states(steps.split(cells))], 1)
    return outputs, end, (gates, cells, tanh_cells, outputs)


def backward(
    steps: Steps, x: Tensor, start: Tensor, weights: Weights, saved: Weights, grad_outputs: Tensor, grad_end: Tensor
) -> tuple[Tensor | None, Tensor, Weights]:
    """All gradients; terms that do not depend on later steps are computed for all steps at once, before the loop."""
    matrix, recurrent, _, peepholes = weights
    gates, cells, tanh_cells, outputs = saved
    previous_h, previous_c = steps.previous(outputs, start[:, 0]), steps.previous(cells, start[:, 1])
    i, f, g, o = gates.view(len(x), 4, -1).unbind(1)
    p_i, p_f, p_o = peepholes
    d = torch.empty_like(gates)
    blocks = d.view(len(x), 4, -1)
    d_i, d_f, d_g, d_o = blocks.unbind(1)
    sigmoid_backward(g, i, d_i)
    sigmoid_backward(previous_c, f, d_f)
    tanh_backward(i, g, d_g)
    sigmoid_backward(tanh_cells, o, d_o)
    to_cell = tanh_backward(o, tanh_cells, torch.empty_like(cells)).addcmul_(d_o, p_o)
    keep = torch.addcmul(f, d_i, p_i).addcmul_(d_f, p_f)

    grad_h, grad_c = grad_end.transpose(0, 1).clone(memory_format=torch.contiguous_format)
    parts = [steps.split(part)[::-1] for part in (grad_outputs, d, blocks[:, :3], d_o, to_cell, keep)]
    for gradient, d_step, d_ifg, d_out, slope, keep_step in zip(*parts, strict=True):
        dh, dc = grad_h[: len(d_step)], grad_c[: len(d_step)]
        dh.add_(gradient)
        dc.addcmul_(dh, slope)
        d_ifg.mul_(dc[:, None])
        d_out.mul_(dh)
        dc.mul_(keep_step)
        torch.mm(d_step, recurrent, out=dh)
    grad_peepholes = torch.stack([(d_i * previous_c).sum(0), (d_f * previous_c).sum(0), (d_o * cells).sum(0)])
    return (
        input_gradient(d, x, matrix),
        torch.stack([grad_h, grad_c], 1),
        (*weight_gradients(d, x, previous_h), grad_peepholes),
    )


PEEPHOLE_LSTM = Cell(forward, backward)
