r"""The GRU of the lecture notes: the reset gate acts on the input.

.. math::

    r_t &= \sigma(W_r x_t + U_r h_{t-1} + b_r) \\
    z_t &= \sigma(W_z x_t + U_z h_{t-1} + b_z) \\
    n_t &= \tanh(W_n (r_t \circ x_t) + U_n h_{t-1} + b_n) \\
    h_t &= (1 - z_t) \circ h_{t-1} + z_t \circ n_t

Section 3.3.3.3 of the notes, which omit the biases. Here r has the length of the input, and z is 1 - z of torch. The
order of the gates is that of torch: r, z, n.
"""

from __future__ import annotations

import torch
from torch import Tensor

from danlu.nn.recurrent.scan import Cell, Weights, sigmoid_backward, tanh_backward
from danlu.nn.recurrent.steps import Steps, align_rows, final_states


def forward(steps: Steps, x: Tensor, start: Tensor, weights: Weights) -> tuple[Tensor, Tensor, Weights]:
    """Outputs of all steps; the weights are input matrix, recurrent matrix and bias."""
    matrix, recurrent, bias = weights
    inputs, width = x.shape[1], recurrent.shape[1]
    squashed = inputs + width
    gates = x.new_empty(len(x), squashed + width)
    torch.addmm(bias[:squashed], x, matrix[:squashed].t(), out=gates[:, :squashed])
    gates[:, squashed:] = bias[squashed:]
    outputs, resets = gates.new_empty(len(x), width), torch.empty_like(x)
    recurrent_t, of_new = recurrent.t(), matrix[squashed:].t()
    h0 = h = start[:, 0]
    parts = (x, gates, gates[:, :squashed], *gates.split((inputs, width, width), 1), resets, outputs)
    for entry, a, both, r, z, new, reset, out in zip(*map(steps.split, parts), strict=True):
        h = align_rows(h, h0, len(a))
        a.addmm_(h, recurrent_t)
        both.sigmoid_()
        new.addmm_(torch.mul(r, entry, out=reset), of_new).tanh_()
        h = torch.lerp(h, new, z, out=out)
    return outputs, final_states(steps.split(outputs))[:, None], (gates, resets, outputs)


def backward(
    steps: Steps, x: Tensor, start: Tensor, weights: Weights, saved: Weights, by_output: Tensor, by_end: Tensor
) -> tuple[Tensor | None, Tensor, Weights]:
    """All gradients; the input gets one through the gates and one through the candidate and the reset gate."""
    matrix, recurrent, _ = weights
    gates, resets, outputs = saved
    inputs, width = x.shape[1], recurrent.shape[1]
    of_gates, of_new = matrix.split((inputs + width, width))
    h_before = steps.previous(outputs, start[:, 0])
    r, z, new = gates.split((inputs, width, width), 1)
    d = torch.empty_like(gates)
    d_r, d_z, d_new = d.split((inputs, width, width), 1)
    sigmoid_backward(x, r, d_r)
    sigmoid_backward(new - h_before, z, d_z)
    tanh_backward(z, new, d_new)
    keep, through = 1 - z, torch.empty_like(x)

    on_h = by_end[:, 0].clone(memory_format=torch.contiguous_format)
    later = d[:, inputs:].unflatten(1, (2, width))
    parts = [steps.split(part)[::-1] for part in (by_output, d, later, d_r, d_new, through, keep)]
    for gradient, whole, both, by_reset, by_new, by_input, kept in zip(*parts, strict=True):
        dh = on_h[: len(whole)]
        dh.add_(gradient)
        both.mul_(dh[:, None])
        by_reset.mul_(torch.mm(by_new, of_new, out=by_input))
        dh.mul_(kept).addmm_(whole, recurrent)
    d_gates = d[:, : inputs + width]
    for_matrix = torch.cat([d_gates.t() @ x, d_new.t() @ resets])
    for_x = through.mul_(r).addmm_(d_gates, of_gates) if x.requires_grad else None
    return for_x, on_h[:, None], (for_matrix, d.t() @ h_before, d.sum(0))


GRU_LECTURE_NOTES = Cell(forward, backward)
