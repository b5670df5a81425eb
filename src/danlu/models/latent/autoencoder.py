"""The two halves of every variational autoencoder: inference q(z | x) and generation p(x | z)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from danlu.losses.variational import gaussian_log_prob, importance_bound, kl_to_standard_normal
from danlu.models.latent.likelihood import Family, Likelihood, Spread
from danlu.nn.activations import Activation
from danlu.nn.dense import check_width
from danlu.nn.encoder_decoder import Decoder, Encoder
from danlu.nn.linear import Linear
from danlu.nn.norm.by_name import Norm


@runtime_checkable
class Posterior(Protocol):
    """A distribution q(z | x) for each example."""

    @property
    def mean(self) -> Tensor:
        """Where it lies, (n, latent): the code of the example."""
        ...

    def draw(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Codes from standard normal noise (k, n, latent), and their log-densities (k, n)."""
        ...

    def divergence(self) -> Tensor | None:
        """Exact divergence of each unit from the prior in nats, (n, latent); None where only draws can tell."""
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
        """Codes from standard normal noise, and their log-densities."""
        z = self.mean + (0.5 * self.log_variance).exp() * noise
        return z, gaussian_log_prob(noise, torch.zeros_like(noise), 0.0, given=2) - 0.5 * self.log_variance.sum(1)

    def divergence(self) -> Float[Tensor, "n d"]:
        """The closed form."""
        return kl_to_standard_normal(self.mean, self.log_variance)


class DiagonalPosterior(nn.Module):
    """Mean and log-variance of each unit, both linear in the features.

    Args:
        features: length of the features.
        latent: number of units.
    """

    def __init__(self, features: int, latent: int):
        super().__init__()
        self.linear = Linear(features, 2 * latent)

    def forward(self, features: Float[Tensor, "*n f"]) -> Diagonal:
        """A distribution for each row of features."""
        return Diagonal(*self.linear(features).chunk(2, dim=-1))


class Inference(nn.Module):
    """From examples to a distribution of codes, q(z | x), or q(z | x, y) of labeled ones."""

    def __init__(self, encoder: Encoder, posterior: nn.Module):
        super().__init__()
        self.encoder, self.posterior = encoder, posterior

    def forward(self, x: Tensor, label: Tensor | None = None) -> Posterior:
        return self.posterior(self.encoder(x, label))


class Generation(nn.Module):
    """From codes to a distribution of examples, p(x | z), or p(x | z, y) of labeled ones."""

    def __init__(self, decoder: Decoder, likelihood: Likelihood):
        super().__init__()
        self.decoder, self.likelihood = decoder, likelihood

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        return self.decoder(z if label is None else torch.cat([z, label], dim=-1))


class Pass(NamedTuple):
    """What comes out when examples pass through both halves.

    Attributes:
        output: of the decoder, (k · n, outputs, *shape), all of the first draw first.
        posterior: of each example.
        z: codes, (k, n, latent).
        log_q: their log-densities under the posterior, (k, n).
    """

    output: Tensor
    posterior: Posterior
    z: Tensor
    log_q: Tensor


class Autoencoder(nn.Module):
    """Inference and generation, with the sums that make a bound of them.

    Args:
        shape: of one example, as it is decoded.
        latent: number of latent units.
        hidden: width of each fully connected layer of the encoder; the decoder has them the other way round.
        channels: output channels of each convolution of the encoder.
        likelihood: distribution of the values.
        spread: of the distribution, see Likelihood.
        classes: number of labels, or 0.
        activation: the function after each layer.
        norm: normalization before each activation.
        dropout: share of the encoder's hidden units that are zeroed while training.
        seen: shape of one example as it is encoded, if it is another.
        posterior: maps features to a distribution of codes; a diagonal normal one if not given.
    """

    def __init__(
        self,
        shape: Sequence[int],
        latent: int,
        hidden: Sequence[int],
        channels: Sequence[int],
        likelihood: Family,
        spread: Spread,
        classes: int = 0,
        activation: Activation = "relu",
        norm: Norm | None = None,
        dropout: float = 0.0,
        seen: Sequence[int] | None = None,
        posterior: nn.Module | None = None,
    ):
        super().__init__()
        check_width("latent", latent)
        self.shape, self.latent = tuple(shape), latent
        encoder = Encoder(seen or shape, hidden, channels, classes, activation, norm, dropout)
        self.inference = Inference(encoder, posterior or DiagonalPosterior(encoder.features, latent))
        values = Likelihood(likelihood, spread)
        decoder = Decoder(latent + classes, shape, hidden, channels, values.outputs, activation, norm)
        self.generation = Generation(decoder, values)

    @property
    def likelihood(self) -> Likelihood:
        """Of the values of an example."""
        return self.generation.likelihood

    def forward(self, x: Tensor, noise: Float[Tensor, "k n d"], label: Tensor | None = None) -> Pass:
        """Encode, draw k codes of each example, decode."""
        posterior = self.inference(x, label)
        z, log_q = posterior.draw(noise)
        repeated = None if label is None else label.repeat(len(z), 1)
        return Pass(self.generation(z.flatten(0, 1), repeated), posterior, z, log_q)

    def distortion(self, x: Tensor, through: Pass) -> Float[Tensor, "k n"]:
        """Minus log p(x | z) of each draw, in nats."""
        return -self.likelihood.log_prob(x, through.output.unflatten(0, through.z.shape[:2]))

    def log_weights(self, x: Tensor, through: Pass) -> Float[Tensor, "k n"]:
        r"""Of each draw, :math:`\log p(x \mid z) + \log p(z) - \log q(z \mid x)`, in nats."""
        prior = gaussian_log_prob(through.z, torch.zeros_like(through.z), 0.0, given=2)
        return prior - through.log_q - self.distortion(x, through)

    def bound(
        self,
        x: Tensor,
        samples: int,
        label: Tensor | None = None,
        generator: torch.Generator | None = None,
        seen: Tensor | None = None,
        rows: int = 5000,
    ) -> Float[Tensor, "n"]:
        """Lower bound of log p(x) of each example in nats, from so many draws, so many rows at a time.

        Raises:
            ValueError: if samples is below 1.
        """
        if samples < 1:
            raise ValueError(f"samples={samples} must be at least 1")
        weights, each = [], max(1, rows // max(1, len(x)))
        for start in range(0, samples, each):
            draws = range(min(each, samples - start))
            # one by one, so that the numbers do not depend on how many draws go through at a time
            noise = torch.stack([_normal(x, self.latent, generator) for _ in draws])
            weights.append(self.log_weights(x, self(x if seen is None else seen, noise, label)))
        return importance_bound(torch.cat(weights))


def _normal(x: Tensor, latent: int, generator: torch.Generator | None) -> Float[Tensor, "n d"]:
    return torch.randn(len(x), latent, generator=generator, device=x.device, dtype=x.dtype)
