"""The distribution q(z | x) of the code of an example: the interface, and independent normal units."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from danlu.losses.variational import gaussian_log_prob, kl_to_standard_normal
from danlu.nn.linear import Linear
from danlu.nn.roles import output_layer


@runtime_checkable
class Posterior(Protocol):
    """A distribution q(z | x) for each example."""

    @property
    def mean(self) -> Tensor:
        """The mean, (n, latent): the code of an example."""
        ...

    def draw(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Draw codes from standard normal noise (k, n, latent), and compute their log-densities (k, n)."""
        ...

    def kl(self) -> Tensor | None:
        """Exact KL divergence of each unit from the prior in nats, (n, latent); None without a closed form."""
        ...


class Diagonal(NamedTuple):
    r"""Independent normal units, :math:`z = \mu + \exp(\tfrac12 \log \sigma^2) \, \varepsilon`.

    Kingma and Welling, "Auto-encoding variational Bayes", 2014, equation 10.

    >>> z, log_q = Diagonal(torch.zeros(3, 2), torch.zeros(3, 2)).draw(torch.zeros(1, 3, 2))
    >>> z.shape, log_q
    (torch.Size([1, 3, 2]), tensor([[-1.8379, -1.8379, -1.8379]]))
    """

    mean: Float[Tensor, "n d"]
    log_variance: Float[Tensor, "n d"]

    def draw(self, noise: Float[Tensor, "k n d"]) -> tuple[Tensor, Tensor]:
        """Draw codes from standard normal noise, and compute their log-densities."""
        z = self.mean + (0.5 * self.log_variance).exp() * noise
        return z, gaussian_log_prob(noise, torch.zeros_like(noise), 0.0, batch_dims=2) - 0.5 * self.log_variance.sum(1)

    def kl(self) -> Float[Tensor, "n d"]:
        """The KL divergence of each unit in closed form."""
        return kl_to_standard_normal(self.mean, self.log_variance)


class DiagonalPosterior(nn.Module):
    """Mean and log-variance of each unit, both linear in the features.

    Args:
        features: number of features.
        latent: number of latent units.

    Attributes:
        unit_kl: True: the KL divergence of each unit has a closed form.
    """

    unit_kl = True

    def __init__(self, features: int, latent: int):
        super().__init__()
        self.linear = output_layer(Linear(features, 2 * latent))

    def forward(self, features: Float[Tensor, "*n f"]) -> Diagonal:
        """The distribution for each row of features."""
        return Diagonal(*self.linear(features).chunk(2, dim=-1))
