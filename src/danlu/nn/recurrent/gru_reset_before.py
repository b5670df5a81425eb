r"""The GRU as published: the reset gate is applied to the state before the matrix.

.. math::

    r_t &= \sigma(W_r x_t + U_r h_{t-1} + b_r) \\
    z_t &= \sigma(W_z x_t + U_z h_{t-1} + b_z) \\
    n_t &= \tanh(W_n x_t + U_n (r_t \circ h_{t-1}) + b_n) \\
    h_t &= (1 - z_t) \circ n_t + z_t \circ h_{t-1}

Cho et al., "Learning phrase representations using RNN encoder-decoder for statistical machine translation", 2014,
equations 5 to 8 of the published version. torch's GRU, with :math:`r_t \circ (U_n h_{t-1} + b)`, is that of the first
version. Order and names of the gates and the meaning of z are those of torch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from danlu.nn.recurrent.scan import Cell, Weights, input_gradient, input_projection, sigmoid_backward, tanh_backward
from danlu.nn.recurrent.steps import Steps, align_rows, final_states


def forward(steps: Steps, x: Tensor, start: Tensor, weights: Weights) -> tuple[Tensor, Tensor, Weights]:
    """Outputs of all steps; the weights are input matrix, recurrent matrix and bias."""
    matrix, recurrent, bias = weights
    width = recurrent.shape[1]
    gates = input_projection(x, matrix, bias)
    outputs, resets = gates.new_empty(2, len(x), width)
    gate_weight, new_weight = recurrent[: 2 * width].t(), recurrent[2 * width :].t()
    h0 = h = start[:, 0]
    parts = (gates[:, : 2 * width], *gates.split(width, 1), resets, outputs)
    for a, r, z, new, reset, out in zip(*map(steps.split, parts), strict=True):
        h = align_rows(h, h0, len(a))
        a.addmm_(h, gate_weight).sigmoid_()
        new.addmm_(torch.mul(r, h, out=reset), new_weight).tanh_()
        h = torch.lerp(new, h, z, out=out)
    return outputs, final_states(steps.split(outputs))[:, None], (gates, resets, outputs)


def backward(
    steps: Steps, x: Tensor, start: Tensor, weights: Weights, saved: Weights, grad_outputs: Tensor, grad_end: Tensor
) -> tuple[Tensor | None, Tensor, Weights]:
    """All gradients; the state gets one through the candidate and the reset gate, and one through the gates."""
    matrix, recurrent, _ = weights
    gates, resets, outputs = saved
    width = recurrent.shape[1]
    gate_weight, new_weight = recurrent.split((2 * width, width))
    previous_h = steps.previous(outputs, start[:, 0])
    r, z, new = gates.split(width, 1)
    d = torch.empty_like(gates)
    d_r, d_z, d_new = d.split(width, 1)
    sigmoid_backward(previous_h, r, d_r)
    sigmoid_backward(previous_h - new, z, d_z)
    tanh_backward(1 - z, new, d_new)

    grad_h = grad_end[:, 0].clone(memory_format=torch.contiguous_format)
    scratch = torch.empty_like(grad_h)
    d_later = d.view(len(x), 3, width)[:, 1:]
    parts = [steps.split(part)[::-1] for part in (grad_outputs, d[:, : 2 * width], d_later, d_r, d_new, r, z)]
    for gradient, d_gates, d_zn, d_reset, d_candidate, reset, z_step in zip(*parts, strict=True):
        dh, product = grad_h[: len(gradient)], scratch[: len(gradient)]
        dh.add_(gradient)
        d_zn.mul_(dh[:, None])
        torch.mm(d_candidate, new_weight, out=product)
        d_reset.mul_(product)
        dh.mul_(z_step).addcmul_(product, reset).addmm_(d_gates, gate_weight)
    grad_recurrent = torch.cat([d[:, : 2 * width].t() @ previous_h, d_new.t() @ resets])
    return input_gradient(d, x, matrix), grad_h[:, None], (d.t() @ x, grad_recurrent, d.sum(0))


GRU_RESET_BEFORE = Cell(forward, backward)
