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
    sigmoid_size = inputs + width
    gates = x.new_empty(len(x), sigmoid_size + width)
    torch.addmm(bias[:sigmoid_size], x, matrix[:sigmoid_size].t(), out=gates[:, :sigmoid_size])
    gates[:, sigmoid_size:] = bias[sigmoid_size:]
    outputs, resets = gates.new_empty(len(x), width), torch.empty_like(x)
    recurrent_t, new_weight = recurrent.t(), matrix[sigmoid_size:].t()
    h0 = h = start[:, 0]
    parts = (x, gates, gates[:, :sigmoid_size], *gates.split((inputs, width, width), 1), resets, outputs)
    for entry, a, rz_gates, r, z, new, reset, out in zip(*map(steps.split, parts), strict=True):
        h = align_rows(h, h0, len(a))
        a.addmm_(h, recurrent_t)
        rz_gates.sigmoid_()
        new.addmm_(torch.mul(r, entry, out=reset), new_weight).tanh_()
        h = torch.lerp(h, new, z, out=out)
    return outputs, final_states(steps.split(outputs))[:, None], (gates, resets, outputs)


def backward(
    steps: Steps, x: Tensor, start: Tensor, weights: Weights, saved: Weights, grad_outputs: Tensor, grad_end: Tensor
) -> tuple[Tensor | None, Tensor, Weights]:
    """All gradients; the input gets one through the gates and one through the candidate and the reset gate."""
    matrix, recurrent, _ = weights
    gates, resets, outputs = saved
    inputs, width = x.shape[1], recurrent.shape[1]
    gate_weight, new_weight = matrix.split((inputs + width, width))
    previous_h = steps.previous(outputs, start[:, 0])
    r, z, new = gates.split((inputs, width, width), 1)
    d = torch.empty_like(gates)
    d_r, d_z, d_new = d.split((inputs, width, width), 1)
    sigmoid_backward(x, r, d_r)
    sigmoid_backward(new - previous_h, z, d_z)
    tanh_backward(z, new, d_new)
    keep, products = 1 - z, torch.empty_like(x)

    grad_h = grad_end[:, 0].clone(memory_format=torch.contiguous_format)
    d_later = d[:, inputs:].unflatten(1, (2, width))
    parts = [steps.split(part)[::-1] for part in (grad_outputs, d, d_later, d_r, d_new, products, keep)]
    for gradient, d_step, d_zn, d_reset, d_candidate, d_input, keep_step in zip(*parts, strict=True):
        dh = grad_h[: len(d_step)]
        dh.add_(gradient)
        d_zn.mul_(dh[:, None])
        d_reset.mul_(torch.mm(d_candidate, new_weight, out=d_input))
        dh.mul_(keep_step).addmm_(d_step, recurrent)
    d_gates = d[:, : inputs + width]
    grad_matrix = torch.cat([d_gates.t() @ x, d_new.t() @ resets])
    grad_x = products.mul_(r).addmm_(d_gates, gate_weight) if x.requires_grad else None
    return grad_x, grad_h[:, None], (grad_matrix, d.t() @ previous_h, d.sum(0))


GRU_LECTURE_NOTES = Cell(forward, backward)
