"""The two networks of a variational autoencoder: inference q(z | x) and generation p(x | z)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from danlu.losses.variational import gaussian_log_prob, importance_bound
from danlu.models.latent.iaf_posterior import POSTERIOR_HIDDEN
from danlu.models.latent.likelihood import LEVELS, Family, Likelihood, Spread
from danlu.models.latent.posterior import Posterior
from danlu.models.latent.posterior_by_name import POSTERIOR_LAYERS, PosteriorName, posterior_of
from danlu.nn.activations import Activation
from danlu.nn.dense import check_width
from danlu.nn.encoder_decoder import Decoder, Encoder
from danlu.nn.norm.by_name import Norm


class Inference(nn.Module):
    """A function from examples to a distribution of codes, q(z | x), or q(z | x, y) for labeled examples."""

    def __init__(self, encoder: Encoder, posterior: nn.Module):
        super().__init__()
        self.encoder, self.posterior = encoder, posterior

    def forward(self, x: Tensor, label: Tensor | None = None) -> Posterior:
        return self.posterior(self.encoder(x, label))


class Generation(nn.Module):
    """A function from codes to a distribution of examples, p(x | z), or p(x | z, y) for labeled examples."""

    def __init__(self, decoder: Decoder, likelihood: Likelihood):
        super().__init__()
        self.decoder, self.likelihood = decoder, likelihood

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        return self.decoder(z if label is None else torch.cat([z, label], dim=-1))


class Pass(NamedTuple):
    """Result of encoding and decoding examples.

    Attributes:
        output: output of the decoder, (k · n, outputs, *shape), starting with the n rows of the first sample.
        posterior: posterior of each example.
        z: codes, (k, n, latent).
        log_q: their log-densities under the posterior, (k, n).
    """

    output: Tensor
    posterior: Posterior
    z: Tensor
    log_q: Tensor

    def kl(self) -> Float[Tensor, "n d"]:
        """KL divergence of each unit from the prior, in nats.

        Without a closed form it is a Monte Carlo estimate of their sum, log q(z | x) − log p(z), as a single unit.
        """
        exact = self.posterior.kl()
        return (self.log_q - _log_prior(self.z)).mean(0)[:, None] if exact is None else exact


class Autoencoder(nn.Module):
    """Inference and generation networks, and the lower bound of the likelihood.

    Args:
        shape: shape of one decoded example.
        latent: number of latent units.
        hidden: width of each fully connected layer of the encoder; the decoder has them in reverse order.
        channels: output channels of each convolution of the encoder; empty for a fully connected network.
        likelihood: distribution of the values.
        spread: standard deviation or scale of the distribution, see ``Likelihood``.
        classes: number of labels, or 0.
        activation: activation function after each layer.
        norm: normalization before each activation.
        dropout: fraction of the hidden units of the encoder that are set to zero during training.
        input_shape: shape of one encoder input, if it differs from ``shape``.
        posterior: distribution of codes, by its name or as a module from features to a distribution; None is
            "gaussian". A module whose distributions have a closed-form ``kl`` for each unit has the attribute
            ``unit_kl`` = True; without it, the task refuses free bits and a capacity.
        levels: number of levels of the values, for the likelihood "logistic".
        posterior_layers: number of layers of the flow of the posterior, see ``posterior_of``.
        posterior_hidden: width of each hidden layer of the networks of this flow.
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
        input_shape: Sequence[int] | None = None,
        posterior: PosteriorName | nn.Module | None = "gaussian",
        levels: int = LEVELS,
        posterior_layers: int = POSTERIOR_LAYERS,
        posterior_hidden: Sequence[int] = POSTERIOR_HIDDEN,
    ):
        super().__init__()
        check_width("latent", latent)
        self.shape, self.latent = tuple(shape), latent
        encoder = Encoder(input_shape or shape, hidden, channels, classes, activation, norm, dropout)
        if not isinstance(posterior, nn.Module):
            posterior = posterior_of(
                posterior or "gaussian", encoder.features, latent, posterior_layers, posterior_hidden, activation
            )
        self.inference = Inference(encoder, posterior)
        distribution = Likelihood(likelihood, spread, levels)
        decoder = Decoder(latent + classes, shape, hidden, channels, distribution.outputs, activation, norm)
        self.generation = Generation(decoder, distribution)

    @property
    def likelihood(self) -> Likelihood:
        """The distribution of the values of an example."""
        return self.generation.likelihood

    @property
    def capabilities(self) -> frozenset[str]:
        """The capability "unit_kl", if the posterior says that its units have KL divergences of their own."""
        return frozenset({"unit_kl"}) if getattr(self.inference.posterior, "unit_kl", False) else frozenset()

    def forward(self, x: Tensor, noise: Float[Tensor, "k n d"], label: Tensor | None = None) -> Pass:
        """Encode, draw k codes for each example, decode."""
        posterior = self.inference(x, label)
        z, log_q = posterior.draw(noise)
        repeated = None if label is None else label.repeat(len(z), 1)
        return Pass(self.generation(z.flatten(0, 1), repeated), posterior, z, log_q)

    def reconstruction(self, x: Tensor, result: Pass) -> Float[Tensor, "k n"]:
        """−log p(x | z) of each sample, in nats."""
        return -self.likelihood.log_prob(x, result.output.unflatten(0, result.z.shape[:2]))

    def log_weights(self, x: Tensor, result: Pass) -> Float[Tensor, "k n"]:
        r"""The importance weight :math:`\log p(x \mid z) + \log p(z) - \log q(z \mid x)` of each sample, in nats."""
        return _log_prior(result.z) - result.log_q - self.reconstruction(x, result)

    def bound(
        self,
        x: Tensor,
        samples: int,
        label: Tensor | None = None,
        generator: torch.Generator | None = None,
        encoder_input: Tensor | None = None,
        rows: int = 5000,
    ) -> Float[Tensor, "n"]:
        """A lower bound of log p(x) of each example in nats.

        Args:
            x: the examples, (n, *shape).
            samples: number of codes per example.
            label: one-hot labels of a conditional model.
            generator: random number generator.
            encoder_input: input of the encoder, if it differs from ``x``.
            rows: maximum number of rows that are decoded at a time.

        Raises:
            ValueError: if samples is below 1.
        """
        if samples < 1:
            raise ValueError(f"samples={samples} must be at least 1")
        weights, batch = [], max(1, rows // max(1, len(x)))
        for start in range(0, samples, batch):
            draws = range(min(batch, samples - start))
            # drawn one sample at a time, so that the numbers do not depend on the number decoded at a time
            noise = torch.stack([_normal(x, self.latent, generator) for _ in draws])
            weights.append(self.log_weights(x, self(x if encoder_input is None else encoder_input, noise, label)))
        return importance_bound(torch.cat(weights))


def _log_prior(z: Float[Tensor, "k n d"]) -> Float[Tensor, "k n"]:
    return gaussian_log_prob(z, torch.zeros_like(z), 0.0, batch_dims=2)


def _normal(x: Tensor, latent: int, generator: torch.Generator | None) -> Float[Tensor, "n d"]:
    return torch.randn(len(x), latent, generator=generator, device=x.device, dtype=x.dtype)
