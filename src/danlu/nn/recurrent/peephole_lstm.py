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
    cells, squashed, outputs = gates.new_empty(3, len(x), recurrent.shape[1])
    blocks = gates.view(len(x), 4, -1)
    recurrent_t, (of_memory, of_output) = recurrent.t(), peepholes.split((2, 1))
    h0, c0 = h, c = start.unbind(1)
    for a, memory, i, f, g, o, now, tanh, out in zip(
        *map(steps.split, (gates, blocks[:, :2], *blocks.unbind(1), cells, squashed, outputs)), strict=True
    ):
        h, c = align_rows(h, h0, len(a)), align_rows(c, c0, len(a))
        a.addmm_(h, recurrent_t)
        memory.addcmul_(c[:, None], of_memory).sigmoid_()
        g.tanh_()
        torch.mul(f, c, out=now).addcmul_(i, g)
        o.addcmul_(now, of_output).sigmoid_()
        torch.mul(o, torch.tanh(now, out=tanh), out=out)
        h, c = out, now
    end = torch.stack([final_states(steps.split(outputs)), final_states(steps.split(cells))], 1)
    return outputs, end, (gates, cells, squashed, outputs)


def backward(
    steps: Steps, x: Tensor, start: Tensor, weights: Weights, saved: Weights, by_output: Tensor, by_end: Tensor
) -> tuple[Tensor | None, Tensor, Weights]:
    """All gradients; terms that do not depend on later steps are computed for all steps at once, before the loop."""
    matrix, recurrent, _, peepholes = weights
    gates, cells, squashed, outputs = saved
    h_before, c_before = steps.previous(outputs, start[:, 0]), steps.previous(cells, start[:, 1])
    i, f, g, o = gates.view(len(x), 4, -1).unbind(1)
    p_i, p_f, p_o = peepholes
    d = torch.empty_like(gates)
    blocks = d.view(len(x), 4, -1)
    d_i, d_f, d_g, d_o = blocks.unbind(1)
    sigmoid_backward(g, i, d_i)
    sigmoid_backward(c_before, f, d_f)
    tanh_backward(i, g, d_g)
    sigmoid_backward(squashed, o, d_o)
    to_cell = tanh_backward(o, squashed, torch.empty_like(cells)).addcmul_(d_o, p_o)
    keep = torch.addcmul(f, d_i, p_i).addcmul_(d_f, p_f)

    on_h, on_c = by_end.transpose(0, 1).clone(memory_format=torch.contiguous_format)
    parts = [steps.split(part)[::-1] for part in (by_output, d, blocks[:, :3], d_o, to_cell, keep)]
    for gradient, whole, first, last, slope, kept in zip(*parts, strict=True):
        dh, dc = on_h[: len(whole)], on_c[: len(whole)]
        dh.add_(gradient)
        dc.addcmul_(dh, slope)
        first.mul_(dc[:, None])
        last.mul_(dh)
        dc.mul_(kept)
        torch.mm(whole, recurrent, out=dh)
    for_peepholes = torch.stack([(d_i * c_before).sum(0), (d_f * c_before).sum(0), (d_o * cells).sum(0)])
    return (
        input_gradient(d, x, matrix),
        torch.stack([on_h, on_c], 1),
        (*weight_gradients(d, x, h_before), for_peepholes),
    )


PEEPHOLE_LSTM = Cell(forward, backward)
