"""Planar layers."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from danlu.nn.context import check_context
from danlu.nn.dense import check_width
from danlu.nn.roles import set_role
from danlu.nn.transforms.planar_stack import Stack, planar_to_data, planar_to_latent
from danlu.nn.transforms.transform import Transform

IDENTITY = math.log(math.e - 1)
"""the product wᵀu of the parameters at which a layer is the identity in the direction of w"""
_SPREAD = 0.1
_LEAST_SLOPE = 1e-10
"""smallest 1 + wᵀû: without it, the softplus rounds to 0 in float32, and the layer has no inverse"""
_LEAST_SQUARE = 1e-20
"""smallest ‖w‖² for which wᵀu is changed: with w = 0 a layer is a shift, and not NaN"""


class Planar(Transform):
    r"""Layers that each add a multiple of a vector, which depends on one projection; from latents to data

    .. math:: f_k(z) = z + \hat u_k \tanh(w_k^\top z + b_k), \qquad
        \hat u_k = u_k + (m(w_k^\top u_k) - w_k^\top u_k) \frac{w_k}{\lVert w_k \rVert^2}, \quad
        m(x) = \log(1 + e^x) - 1

    so that :math:`w_k^\top \hat u_k > -1`, and every layer is invertible. The logarithm in m is at least
    :math:`10^{-10}`, so that this also holds in float32. ``inverse`` is :math:`f_K \circ \dots \circ
    f_1`. ``forward``, from data to latents, solves a scalar equation for each layer and example to the precision of the
    type; its derivatives are exact up to the third order. Rezende and Mohamed, "Variational inference with normalizing
    flows", 2015, equations 10 to 12 and appendix A.1.

    With a context y, the bias is :math:`b_k + v_k^\top y`. The time of a layer is linear in the dimension.

    Args:
        size: dimension d.
        layers: number of layers K.
        context: size of the context, or 0.

    Raises:
        ValueError: if a number is less than 1.

    >>> planar, z = Planar(2, layers=8), torch.randn(5, 2)
    >>> x, log_det = planar.inverse(z)
    >>> torch.allclose(planar(x)[0], z, atol=1e-5)
    True
    """

    def __init__(self, size: int, layers: int = 16, context: int = 0):
        super().__init__()
        check_width("size", size)
        check_width("layers", layers)
        self.weight, self.direction = (nn.Parameter(torch.empty(layers, size)) for _ in range(2))
        self.bias = nn.Parameter(torch.zeros(layers))
        self.context = nn.Parameter(torch.zeros(layers, context)) if context else None
        set_role(self, "vectors", "weight", "direction")
        if context:
            set_role(self, "embedding", "context")
        for parameter, scale in ((self.weight, 1.0), (self.direction, _SPREAD)):
            nn.init.normal_(parameter, std=scale / math.sqrt(size))
        if not self.weight.is_meta:  # there are no values, and these operations would import large packages
            self._start_at_identity()

    @torch.no_grad()
    def _start_at_identity(self) -> None:
        """Move each u along w so that wᵀû is 0 but for the random part of u."""
        self.direction.addcdiv_(self.weight, self.weight.square().sum(1, keepdim=True), value=IDENTITY)

    def forward(
        self, x: Float[Tensor, "n d"], context: Float[Tensor, "n c"] | None = None
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n"]]:
        """From data to latents."""
        return self._run(planar_to_latent, x, context)

    def inverse(
        self, z: Float[Tensor, "n d"], context: Float[Tensor, "n c"] | None = None
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n"]]:
        """From latents to data: the layers in order."""
        return self._run(planar_to_data, z, context)

    def _run(self, stack: Stack, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        x = x.to(self.weight.dtype)
        with torch.autocast(x.device.type, enabled=False):
            return stack(x, self.weight, *self._constrained(), self._biases(context))

    def _constrained(self) -> tuple[Float[Tensor, "k d"], Float[Tensor, "k"]]:
        """û, and 1 + wᵀû."""
        return constrained(self.weight, self.direction)

    def _biases(self, context: Tensor | None) -> Float[Tensor, "k #n"]:
        check_context(self.context is not None, context)
        if self.context is None or context is None:
            return self.bias[:, None]
        return torch.addmm(self.bias[:, None], self.context, context.t().to(self.context.dtype))


def constrained(
    w: Float[Tensor, "*k d"], u: Float[Tensor, "*k d"], offset: float = 0.0
) -> tuple[Float[Tensor, "*k d"], Float[Tensor, "*k"]]:
    r"""The vectors :math:`\hat u` of invertible layers, and :math:`1 + w^\top \hat u`, which is at least 1e-10.

    .. math:: \hat u = u + (m(w^\top u) - w^\top u) \frac{w}{\lVert w \rVert^2}, \qquad
        m(x) = \log(1 + e^{x + \text{offset}}) - 1

    Rezende and Mohamed, "Variational inference with normalizing flows", 2015, appendix A.1, without the offset. With
    the offset ``IDENTITY``, m(0) = 0: then u = 0 gives the identity, and :math:`\hat u` has no pole at w = 0.

    Where :math:`\lVert w \rVert < 10^{-10}`, :math:`\hat u = u`: the layer is almost a shift, and has an inverse as it
    is.

    Args:
        w: the vectors w of the layers.
        u: the vectors u of the layers.
        offset: the offset in m.

    >>> u, slope = constrained(torch.tensor([1.0, 0.0]), torch.tensor([-100.0, 3.0]))
    >>> u, slope
    (tensor([-1.,  3.]), tensor(1.0000e-10))
    """
    product, square = (w * u).sum(-1), w.square().sum(-1)
    shifts = square < _LEAST_SQUARE
    slope = F.softplus(product + offset if offset else product)
    slope = torch.where(shifts, 1 + product, slope).clamp(min=_LEAST_SLOPE)
    along = (slope - 1 - product) / square.masked_fill(shifts, 1)
    return torch.addcmul(u, w, along.unsqueeze(-1)), slope


def planar_of_each(
    z: Float[Tensor, "k n d"],
    w: Float[Tensor, "n layers d"],
    u: Float[Tensor, "n layers d"],
    s: Float[Tensor, "n layers"],
    b: Float[Tensor, "n layers"],
) -> tuple[Float[Tensor, "k n d"], Float[Tensor, "k n"]]:
    """Apply planar layers that are different for each example, in order, to k vectors of each example.

    Args:
        z: the vectors.
        w: the vectors w of the layers of each example.
        u: the vectors u, with wᵀu > −1.
        s: 1 + wᵀu of each layer; it must agree with w and u.
        b: the biases.

    Returns:
        the results, and their log-determinants.
    """
    outputs = []
    for w_i, u_i, b_i in zip(w.unbind(1), u.unbind(1), b.unbind(1), strict=True):
        h = ((z * w_i).sum(-1) + b_i).tanh()
        z = torch.addcmul(z, u_i, h.unsqueeze(-1))
        outputs.append(h)
    # s + (1 - s) h² is 1 + (1 - h²) wᵀu without cancellation near wᵀu = -1
    return z, torch.addcmul(s, 1 - s, torch.stack(outputs, -1).square()).log().sum(-1)
