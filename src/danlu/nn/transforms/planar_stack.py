r"""A stack of planar layers in both directions, each as one autograd function.

Layer k adds :math:`u_k h_k` with :math:`h_k = \tanh a_k` to its input. Its argument is therefore a sum over the earlier
layers, and with :math:`G = W U^\top` the whole stack is a recurrence in one number per layer and example:

.. math:: a_k = w_k^\top z + b_k + \sum_{j < k} G_{kj} h_j, \qquad x = z + \sum_k u_k h_k

From x to z the recurrence runs backward, and each step solves a scalar equation with :math:`c_k = G_{kk} > -1`
(``planar_root``):

.. math:: a_k + c_k \tanh a_k = w_k^\top x + b_k - \sum_{j > k} G_{kj} h_j

The log-determinant of a layer is :math:`\log(1 + c_k (1 - h_k^2))`, from the matrix determinant lemma. Instead of c the
functions get s = 1 + c: :math:`1 + c (1 - h^2) = s + (1 - s) h^2` has no cancellation near c = -1.

A step costs two small operations, whatever the dimension, and vectors of dimension d occur in matrix products only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from danlu.nn.derivatives import differentiable_gradients, needs_single_operations, without_autocast
from danlu.nn.transforms.planar_root import planar_root, planar_root_of_tensors

Stack = Callable[..., tuple[Tensor, Tensor]]


def planar_to_data(
    z: Float[Tensor, "n d"],
    w: Float[Tensor, "k d"],
    u: Float[Tensor, "k d"],
    s: Float[Tensor, "k"],
    b: Float[Tensor, "k #n"],
) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n"]]:
    """Apply the layers in order.

    Args:
        z: the latents.
        w: the vectors w of the layers.
        u: the vectors u, with wᵀu > −1.
        s: 1 + wᵀu of each layer; it must agree with w and u.
        b: the biases, the same for all examples or one for each.

    Returns:
        x, and log |det ∂x/∂z| of each example.
    """
    return _plain_to_data(z, w, u, s, b) if _is_transformed() else _ToData.apply(z, w, u, s, b)


def planar_to_latent(
    x: Float[Tensor, "n d"],
    w: Float[Tensor, "k d"],
    u: Float[Tensor, "k d"],
    s: Float[Tensor, "k"],
    b: Float[Tensor, "k #n"],
) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n"]]:
    """The inverse of ``planar_to_data``, with the same arguments: z, and log |det ∂z/∂x| of each example."""
    return _plain_to_latent(x, w, u, s, b) if _is_transformed() else _ToLatent.apply(x, w, u, s, b)


def _is_transformed() -> bool:
    """Whether the single operations are needed, as in exported code; compiled code calls the autograd functions."""
    return torch.compiler.is_exporting() or (not torch.compiler.is_compiling() and needs_single_operations())


class _ToData(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, w: Tensor, u: Tensor, s: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        # later layers have coefficient 0: whole rows cost less than slices of them
        products, a = (w @ u.t()).tril_(-1), torch.addmm(b, w, z.t())
        h = torch.zeros_like(a)
        columns = h.t()
        for a_k, h_k, row in zip(a.unbind(0), h.unbind(0), products.unbind(0), strict=True):
            torch.tanh(a_k.addmv_(columns, row), out=h_k)
        slope = _slope(h, s)
        ctx.save_for_backward(z, w, u, s, b, products, h, slope)
        return torch.addmm(z, h.t(), u), slope.log().sum(0)

    @staticmethod
    @without_autocast
    def backward(ctx: Any, *gradients: Tensor) -> Any:  # type: ignore[override]
        z, w, u, s, b, products, h, slope = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative may be requested
            return differentiable_gradients(_plain_to_data, (z, w, u, s, b), gradients)
        grad_x, grad_log_det = gradients
        derivative, ratio = 1 - h * h, grad_log_det / slope
        g = torch.addmm(2 * (1 - s[:, None]) * h * ratio, u, grad_x.t())
        m = torch.zeros_like(g)
        columns = m.t()
        for g_k, m_k, d_k, row in _backward(g, m, derivative, products.t()):
            torch.mul(g_k.addmv_(columns, row), d_k, out=m_k)
        grad_products = (m @ h.t()).tril_(-1)
        return (
            torch.addmm(grad_x, m.t(), w),
            torch.addmm(m @ z, grad_products, u),
            torch.addmm(h @ grad_x, grad_products.t(), w),
            (derivative * ratio).sum(1),
            _grad_bias(m, b),
        )


class _ToLatent(torch.autograd.Function):
    """The gradients follow from the implicit function theorem, applied to all equations of the stack at once."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, u: Tensor, s: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        products, r = (w @ u.t()).triu_(1), torch.addmm(b, w, x.t())
        h = torch.zeros_like(r)
        columns = h.t()
        for (r_k, h_k, row), s_k in zip(_backward(r, h, products), reversed(s.tolist()), strict=True):
            torch.tanh(planar_root(r_k.addmv_(columns, row, alpha=-1), s_k), out=h_k)
        slope = _slope(h, s)
        ctx.save_for_backward(x, w, u, s, b, products, h, slope)
        return torch.addmm(x, h.t(), u, alpha=-1), -slope.log().sum(0)

    @staticmethod
    @without_autocast
    def backward(ctx: Any, *gradients: Tensor) -> Any:  # type: ignore[override]
        x, w, u, s, b, products, h, slope = ctx.saved_tensors
        if torch.is_grad_enabled():
            return differentiable_gradients(_plain_to_latent, (x, w, u, s, b), gradients)
        grad_z, grad_log_det = gradients
        derivative, ratio = 1 - h * h, grad_log_det / slope
        g = torch.addmm(2 * (1 - s[:, None]) * h * ratio, u, grad_z.t(), beta=-1, alpha=-1)
        m, factors = torch.zeros_like(g), derivative / slope
        columns = m.t()
        for g_k, m_k, f_k, row in zip(*(x.unbind(0) for x in (g, m, factors, products.t())), strict=True):
            torch.mul(g_k.addmv_(columns, row, alpha=-1), f_k, out=m_k)
        grad_products = (m @ h.t()).triu_(1).neg_()
        return (
            torch.addmm(grad_z, m.t(), w),
            torch.addmm(m @ x, grad_products, u),
            torch.addmm(h @ grad_z, grad_products.t(), w, beta=-1),
            -(derivative * ratio + m * h).sum(1),
            _grad_bias(m, b),
        )


def _backward(*matrices: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """The rows of matrices together, from the last to the first."""
    return zip(*(reversed(matrix.unbind(0)) for matrix in matrices), strict=True)


def _slope(h: Float[Tensor, "k n"], s: Float[Tensor, "k"]) -> Float[Tensor, "k n"]:
    """1 + c (1 − h²), the derivative of a + c tanh a."""
    return torch.addcmul(s[:, None], h * h, 1 - s[:, None])


def _grad_bias(m: Tensor, b: Tensor) -> Tensor:
    return m if b.shape == m.shape else m.sum(1, keepdim=True)


def _plain_to_data(z: Tensor, w: Tensor, u: Tensor, s: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """``planar_to_data`` in operations that autograd differentiates, layer by layer."""
    log_det = z.new_zeros(z.shape[0])
    for w_k, u_k, s_k, b_k in zip(w, u, s, b, strict=True):
        h = (z @ w_k + b_k).tanh()
        z, log_det = z + h[:, None] * u_k, log_det + (s_k + (1 - s_k) * h.square()).log()
    return z, log_det


def _plain_to_latent(x: Tensor, w: Tensor, u: Tensor, s: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """``planar_to_latent`` in operations that autograd differentiates: two Newton steps from the exact root.

    Each step doubles the order up to which the derivatives of the root are exact, plus one: the result has exact
    derivatives up to the third.
    """
    log_det = x.new_zeros(x.shape[0])
    root = planar_root_of_tensors if _is_transformed() else planar_root
    for w_k, u_k, s_k, b_k in reversed(list(zip(w, u, s, b, strict=True))):
        r = x @ w_k + b_k
        a = root(r.detach(), s_k.detach())
        for _ in range(2):
            t = a.tanh()
            a = a - (a + (s_k - 1) * t - r) / (s_k + (1 - s_k) * t.square())
        h = a.tanh()
        x, log_det = x - h[:, None] * u_k, log_det - (s_k + (1 - s_k) * h.square()).log()
    return x, log_det
