"""Weights whose largest singular value is held at 1."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

FIRST = 15
"""steps of the power iteration before the first use"""


class Spectral(nn.Module):
    r"""Divide a weight by an estimate of its largest singular value, :math:`\bar W = W / (u^\top W v)`.

    Miyato et al., "Spectral normalization for generative adversarial networks", 2018, equations 8 to 12. The vectors
    u and v move by ``advance`` alone and never in ``forward``, so that everybody who runs the network in a turn sees
    the same weights, however the batch is divided.

    Args:
        weight: as it is at first; all but its first dimension make one.

    >>> layer = spectral(nn.Linear(5, 3))
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
        for _ in range(FIRST):
            self.advance(weight)

    def forward(self, weight: Tensor) -> Tensor:
        """The weight, normalized; the vectors count as constants."""
        u, v = self.u.clone(), self.v.clone()  # which may move before backward
        return weight / torch.dot(u, torch.mv(weight.flatten(1), v))

    @torch.no_grad()
    def advance(self, weight: Tensor) -> None:
        """A step of the power iteration."""
        matrix = weight.detach().flatten(1)
        torch.mv(matrix.T, self.u, out=self.v)
        F.normalize(self.v, dim=0, out=self.v)
        torch.mv(matrix, self.v, out=self.u)
        F.normalize(self.u, dim=0, out=self.u)


def spectral(module: nn.Module) -> nn.Module:
    """Normalize the weights of all linear and convolutional layers in a module; it is changed, and given back.

    >>> len(list(spectral_weights(spectral(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))))))
    2
    """
    for layer in list(module.modules()):
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            parametrize.register_parametrization(layer, "weight", Spectral(layer.weight))
    return module


def spectral_weights(module: nn.Module) -> Iterator[tuple[Spectral, Tensor]]:
    """Each normalization in a module, and the weight before it."""
    for chain in module.modules():
        if isinstance(chain, parametrize.ParametrizationList) and isinstance(first := chain[0], Spectral):
            yield first, chain.original


def advance(module: nn.Module) -> None:
    """A step of the power iteration for every normalized weight of a module."""
    for normalization, weight in spectral_weights(module):
        normalization.advance(weight)
