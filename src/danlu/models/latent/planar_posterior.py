"""The posterior with planar layers."""

from __future__ import annotations

import math
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from danlu.models.latent.flow_posterior import FlowPosterior, Layers
from danlu.nn.dense import check_width
from danlu.nn.linear import Linear
from danlu.nn.roles import output_layer
from danlu.nn.transforms.planar import IDENTITY, constrained, planar_of_each

_SPREAD = 0.1


class PlanarPosterior(FlowPosterior):
    r"""Planar layers :math:`z_k = z_{k-1} + \hat u_k \tanh(w_k^\top z_{k-1} + b_k)` with parameters for each example.

    The vectors and biases of all layers are linear in the features, as the mean and the log-variance of z₀ are. Rezende
    and Mohamed, "Variational inference with normalizing flows", 2015, equations 10 to 13 and appendix A.1; the
    constraint of u has the offset of ``danlu.nn.transforms.planar.constrained`` with which u = 0 is the identity. The
    first weights make every layer almost the identity.

    Args:
        features: number of features.
        latent: number of latent units d.
        layers: number of layers K.

    >>> z, log_q = PlanarPosterior(features=5, latent=2, layers=3)(torch.zeros(4, 5)).draw(torch.zeros(7, 4, 2))
    >>> z.shape, log_q.shape
    (torch.Size([7, 4, 2]), torch.Size([7, 4]))
    """

    def __init__(self, features: int, latent: int, layers: int):
        super().__init__(features, latent)
        check_width("posterior_layers", layers)
        self.count, self.latent = layers, latent
        self.layers = output_layer(Linear(features, layers * (2 * latent + 1)))
        if not self.layers.weight.is_meta:  # there are no values, and views would import large packages
            self._start_near_identity()

    @torch.no_grad()
    def _start_near_identity(self) -> None:
        """Small vectors u, and vectors w that differ from layer to layer and are not 0."""
        _, u, _ = self._split(self.layers.weight.t())
        u.mul_(_SPREAD)
        w, u, b = self._split(self.layers.bias[None])
        for bias, scale in ((w, 1.0), (u, _SPREAD)):
            nn.init.normal_(bias, std=scale / math.sqrt(self.latent))
        nn.init.zeros_(b)

    def layers_for(self, features: Float[Tensor, "n f"]) -> Layers:
        """The planar layers of each example."""
        # with autocast, the precision of the product is too low for u and 1 + wᵀu to agree
        w, u, b = self._split(self.layers(features).to(self.noise.dtype))
        u, slope = constrained(w, u, IDENTITY)
        return partial(planar_of_each, w=w, u=u, s=slope, b=b)

    def _split(self, outputs: Float[Tensor, "n p"]) -> tuple[Tensor, Tensor, Tensor]:
        """w and u, (n, layers, d), and b, (n, layers), as views."""
        d = self.latent
        w, u, b = outputs.unflatten(1, (self.count, 2 * d + 1)).split([d, d, 1], -1)
        return w, u, b.squeeze(-1)
