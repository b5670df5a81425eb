"""The variational autoencoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from danlu.data.base.effects import Needs
from danlu.models.base import FromData, Model
from danlu.models.latent.autoencoder import Autoencoder, Pass
from danlu.models.latent.iaf_posterior import POSTERIOR_HIDDEN
from danlu.models.latent.inpainting import checked_mask, fill_in
from danlu.models.latent.likelihood import LEVELS, SPREAD_NEEDS, Family, Spread
from danlu.models.latent.posterior import Posterior
from danlu.models.latent.posterior_by_name import POSTERIOR_LAYERS, POSTERIOR_NEEDS, PosteriorName
from danlu.nn.activations import Activation
from danlu.nn.norm.by_name import Norm
from danlu.sampling.latent_interpolation import lerp


class VAE(Model):
    r"""A decoder p(x | z) with a standard normal prior p(z), and an encoder q(z | x) that approximates the posterior.

    .. math:: \log p(x) \ge \mathbb E_{q(z \mid x)}[\log p(x \mid z)] - \mathrm{KL}(q(z \mid x) \,\|\, p(z))

    Kingma and Welling, "Auto-encoding variational Bayes", 2014, equation 3. The other model of the notes, with a normal
    decoder of variance 1, is ``VAE(shape, likelihood="gaussian", spread=1.0)``.

    With the posterior "planar" or "iaf", q(z | x) is a normalizing flow: see ``danlu.models.PlanarPosterior`` and
    ``IAFPosterior``. Its density is exact, and its KL divergence is estimated from the draws.

    Args:
        shape: shape of one example.
        latent: number of latent units.
        hidden: width of each fully connected layer of the encoder; the decoder has them in reverse order.
        channels: output channels of each convolution of the encoder, which halves the image; empty for fully connected
            layers only.
        likelihood: distribution of the values: "bernoulli" for values from 0 to 1, "gaussian" for any real values,
            "logistic" for gray values on equidistant levels.
        spread: standard deviation of "gaussian" or scale of "logistic": a fixed number, "shared" to learn one for all
            values, or "each" to learn one per value.
        activation: activation function after each layer.
        norm: normalization before each activation.
        dropout: fraction of the hidden units of the encoder that are set to zero during training.
        masks: whether a mask of the given values is a second input of the encoder, for examples with missing values.
        posterior: distribution of codes: "gaussian", independent normal units, or "planar" or "iaf", a normalizing flow
            of such units; in Python also a module from features of the encoder to a distribution. Such a
            module has ``unit_kl`` = True if ``kl`` of its distributions is the closed form for each unit.
        posterior_layers: number of layers of the flow of the posterior.
        posterior_hidden: width of each hidden layer of the networks of "iaf".
        levels: number of levels of the values, for the likelihood "logistic"; 256 for bytes.

    Raises:
        ValueError: if an argument is out of range, or the image is too small for the convolutions.

    >>> vae = VAE(shape=(1, 8, 8), latent=4, hidden=(32,)).eval()
    >>> vae.sample(3).shape, vae.log_prob_bound(torch.zeros(2, 1, 8, 8), samples=5).shape
    (torch.Size([3, 1, 8, 8]), torch.Size([2]))
    """

    needs: ClassVar[tuple[Needs, ...]] = (*SPREAD_NEEDS, *POSTERIOR_NEEDS)

    def __init__(
        self,
        shape: Sequence[int],
        latent: int = 50,
        hidden: Sequence[int] = (500, 500),
        channels: Sequence[int] = (),
        likelihood: Family = "bernoulli",
        spread: Spread = "shared",
        activation: Activation = "relu",
        norm: Norm | None = None,
        dropout: float = 0.0,
        masks: bool = False,
        posterior: PosteriorName | nn.Module | None = "gaussian",
        posterior_layers: int = POSTERIOR_LAYERS,
        posterior_hidden: Sequence[int] = POSTERIOR_HIDDEN,
        levels: Annotated[int, FromData] = LEVELS,
    ):
        super().__init__()
        self.masks = masks
        input_shape = (2 * shape[0], *shape[1:]) if masks else None
        self.autoencoder = Autoencoder(
            shape,
            latent,
            hidden,
            channels,
            likelihood,
            spread,
            0,
            activation,
            norm,
            dropout,
            input_shape,
            posterior,
            levels,
            posterior_layers,
            posterior_hidden,
        )

    @property
    def capabilities(self) -> frozenset[str]:
        """The capabilities of the model, see ``danlu.verbs.CAPABILITIES``."""
        common = frozenset({"generator", "value_sampling"})
        return common | self.autoencoder.capabilities | ({"masks"} if self.masks else frozenset())

    @property
    def latent(self) -> int:
        """Number of latent units."""
        return self.autoencoder.latent

    def forward(self, x: Tensor, noise: Float[Tensor, "k n d"], mask: Tensor | None = None) -> Pass:
        """Encode the given values of each example, draw k codes, decode them."""
        return self.autoencoder(self._encoder_input(x, mask), noise)

    def posterior(self, x: Tensor, mask: Tensor | None = None) -> Posterior:
        """The distribution of codes, q(z | x)."""
        return self.autoencoder.inference(self._encoder_input(x, mask))

    def encode(self, x: Float[Tensor, "n *shape"], mask: Tensor | None = None) -> Float[Tensor, "n latent"]:
        """The posterior mean, the code of an example; for a flow, an estimate from draws that are always the same."""
        return self.posterior(x, mask).mean

    def decode(self, z: Float[Tensor, "n latent"]) -> Float[Tensor, "n *shape"]:
        """The mean of p(x | z)."""
        return self.autoencoder.likelihood.mean(self.autoencoder.generation(z))

    def reconstruct(self, x: Float[Tensor, "n *shape"], mask: Tensor | None = None) -> Float[Tensor, "n *shape"]:
        """Encode and decode each example."""
        return self.decode(self.encode(x, mask))

    def prior(self, n: int, *, generator: torch.Generator | None = None) -> Float[Tensor, "n latent"]:
        """Draw n standard normal codes."""
        weight = next(self.parameters())
        return torch.randn(n, self.latent, generator=generator, device=weight.device, dtype=weight.dtype)

    def sample(
        self, n: int, *, generator: torch.Generator | None = None, values: bool = False
    ) -> Float[Tensor, "n *shape"]:
        """Decode codes drawn from the prior.

        Args:
            n: number of examples.
            generator: random number generator.
            values: draw each value from p(x | z) as well; by default its mean is returned.
        """
        z = self.prior(n, generator=generator)
        if not values:
            return self.decode(z)
        return self.autoencoder.likelihood.draw(self.autoencoder.generation(z), generator)

    def interpolate(self, a: Tensor, b: Tensor, steps: int) -> Float[Tensor, "n steps *shape"]:
        """Decode the linear interpolation from the latent of each a to the latent of its b, both ends included."""
        z = lerp(self.encode(a), self.encode(b), steps)
        return self.decode(z.flatten(0, 1)).unflatten(0, (-1, steps))

    def inpaint(self, x: Float[Tensor, "n *shape"], mask: Tensor, rounds: int = 10) -> Float[Tensor, "n *shape"]:
        """Fill in missing values.

        A model with masks decodes the code of the given values. A model without masks sets missing values to 0 and
        reconstructs the example repeatedly, each time with the previous result in place of the missing values, see
        ``fill_in``.

        Args:
            x: the examples; missing values may be arbitrary numbers.
            mask: 1 for given and 0 for missing values, (n, *shape) or a shape that broadcasts to it.
            rounds: number of reconstructions by a model without masks.

        Raises:
            ValueError: if the shape of the mask does not match the examples, or it has values other than 0 and 1.
        """
        observed = checked_mask(x, mask)
        weights = observed.to(x.dtype)
        return fill_in(
            x, observed, lambda filled: self.decode(self.encode(filled, weights)), 1 if self.masks else rounds
        )

    def log_prob_bound(
        self, x: Float[Tensor, "n *shape"], samples: int = 1, *, generator: torch.Generator | None = None
    ) -> Float[Tensor, "n"]:
        """A lower bound of log p(x) in nats: the evidence lower bound for one sample, importance-weighted for several.

        Args:
            x: the examples, (n, *shape).
            samples: number of codes per example; the expected bound does not decrease with it.
            generator: random number generator.
        """
        return self.autoencoder.bound(x, samples, generator=generator, encoder_input=self._encoder_input(x, None))

    def _encoder_input(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Input of the encoder: the given values, and their mask for a model with masks."""
        if not self.masks:
            return x
        mask = torch.ones_like(x) if mask is None else mask.to(x.dtype).expand_as(x)
        return torch.cat([x * mask, mask], dim=1)
