"""Spectral normalization: weights with largest singular value 1."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

INITIAL_STEPS = 15
"""Steps of the power iteration at initialization."""


class SpectralNorm(nn.Module):
    r"""Divide a weight by an estimate of its largest singular value, :math:`\bar W = W / (u^\top W v)`.

    Miyato et al., "Spectral normalization for generative adversarial networks", 2018, equations 8 to 12. The vectors
    u and v change only in ``power_iteration_step`` and never in ``forward``, so every forward pass of a turn uses the
    same weights, for every division of the batch.

    Args:
        weight: the initial weight; all dimensions after the first are flattened into one.

    >>> layer = spectral_norm(nn.Linear(5, 3))
    >>> round(float(torch.linalg.matrix_norm(layer.weight.detach(), 2)), 2)
    1.0
    """

    u: Tensor
    v: Tensor

    def __init__(self, weight: Float[Tensor, "outputs ..."]):
        super().__init__()
        matrix = weight.detach().flatten(1)
        self.register_buffer("u", F.normalize(torch.randn_like(matrix[:, 0]), dim=0))
        self.register_buffer("v", F.normalize(torch.randn_like(matrix[0]), dim=0))
        for _ in range(INITIAL_STEPS):
            self.power_iteration_step(weight)

    def forward(self, weight: Tensor) -> Tensor:
        """The normalized weight; gradients treat u and v as constants."""
        u, v = self.u.clone(), self.v.clone()  # they may change before backward
        return weight / torch.dot(u, torch.mv(weight.flatten(1), v))

    @torch.no_grad()
    def power_iteration_step(self, weight: Tensor) -> None:
        """One step of the power iteration."""
        matrix = weight.detach().flatten(1)
        torch.mv(matrix.T, self.u, out=self.v)
        F.normalize(self.v, dim=0, out=self.v)
        torch.mv(matrix, self.v, out=self.u)
        F.normalize(self.u, dim=0, out=self.u)


def spectral_norm(module: nn.Module) -> nn.Module:
    """Apply spectral normalization to all linear and convolutional layers of a module, in place.

    >>> len(list(spectral_norm_weights(spectral_norm(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))))))
    2
    """
    for layer in list(module.modules()):
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            parametrize.register_parametrization(layer, "weight", SpectralNorm(layer.weight))
    return module


def spectral_norm_weights(module: nn.Module) -> Iterator[tuple[SpectralNorm, Tensor]]:
    """Each spectral normalization of a module with its unnormalized weight."""
    for chain in module.modules():
        if isinstance(chain, parametrize.ParametrizationList) and isinstance(first := chain[0], SpectralNorm):
            yield first, chain.original


def power_iteration_step(module: nn.Module) -> None:
    """One step of the power iteration for every normalized weight of a module."""
    for normalization, weight in spectral_norm_weights(module):
        normalization.power_iteration_step(weight)
