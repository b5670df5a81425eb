"""The variational autoencoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from danlu.models.base import Model
from danlu.models.latent.autoencoder import Autoencoder, Pass, Posterior
from danlu.models.latent.inpainting import checked_mask, fill_in
from danlu.models.latent.likelihood import Family, Spread
from danlu.nn.activations import Activation
from danlu.nn.norm.by_name import Norm


class VAE(Model):
    r"""A decoder p(x | z) of codes from a standard normal prior, and an encoder q(z | x) that guesses the code.

    .. math:: \log p(x) \ge \mathbb E_{q(z \mid x)}[\log p(x \mid z)] - \mathrm{KL}(q(z \mid x) \,\|\, p(z))

    Kingma and Welling, "Auto-encoding variational Bayes", 2014, equation 3. The other model of the notes, with a normal
    decoder of variance 1, is ``VAE(shape, likelihood="gaussian", spread=1.0)``.

    Args:
        shape: shape of one example.
        latent: number of latent units.
        hidden: width of each fully connected layer of the encoder; the decoder has them the other way round.
        channels: output channels of each convolution of the encoder, which halves the picture; none for fully connected
            layers alone.
        likelihood: distribution of the values: bernoulli for values from 0 to 1, gaussian for any, logistic for bytes.
        spread: deviation of gaussian or scale of logistic: a number, "shared" to learn one, or "each" for one of each
            value.
        activation: the function after each layer.
        norm: normalization before each activation.
        dropout: share of the encoder's hidden units that are zeroed while training.
        masks: whether the encoder is told which values there are, so that it can do without the others.
        posterior: maps the encoder's features to a distribution of codes; a diagonal normal one if not given.

    Raises:
        ValueError: if an argument is out of range, or the picture is too small for the convolutions.

    >>> vae = VAE(shape=(1, 8, 8), latent=4, hidden=(32,)).eval()
    >>> vae.sample(3).shape, vae.log_prob_bound(torch.zeros(2, 1, 8, 8), samples=5).shape
    (torch.Size([3, 1, 8, 8]), torch.Size([2]))
    """

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
        posterior: nn.Module | None = None,
    ):
        super().__init__()
        self.masks = masks
        seen = (2 * shape[0], *shape[1:]) if masks else None
        self.autoencoder = Autoencoder(
            shape, latent, hidden, channels, likelihood, spread, 0, activation, norm, dropout, seen, posterior
        )

    @property
    def capabilities(self) -> frozenset[str]:
        """What the model can do beyond its verbs, see ``danlu.verbs.CAPABILITIES``."""
        always = frozenset({"generator", "value_sampling", "unit_divergence"})
        return always | {"masks"} if self.masks else always

    @property
    def latent(self) -> int:
        """Number of latent units."""
        return self.autoencoder.latent

    def forward(self, x: Tensor, noise: Float[Tensor, "k n d"], mask: Tensor | None = None) -> Pass:
        """Encode what there is of each example, draw k codes, decode them."""
        return self.autoencoder(self._seen(x, mask), noise)

    def posterior(self, x: Tensor, mask: Tensor | None = None) -> Posterior:
        """The distribution of codes, q(z | x)."""
        return self.autoencoder.inference(self._seen(x, mask))

    def encode(self, x: Float[Tensor, "n *shape"], mask: Tensor | None = None) -> Float[Tensor, "n latent"]:
        """The mean of the posterior, which is the code of the example."""
        return self.posterior(x, mask).mean

    def decode(self, z: Float[Tensor, "n latent"]) -> Float[Tensor, "n *shape"]:
        """The mean of p(x | z)."""
        return self.autoencoder.likelihood.mean(self.autoencoder.generation(z))

    def reconstruct(self, x: Float[Tensor, "n *shape"], mask: Tensor | None = None) -> Float[Tensor, "n *shape"]:
        """Each example by way of its code."""
        return self.decode(self.encode(x, mask))

    def prior(self, n: int, *, generator: torch.Generator | None = None) -> Float[Tensor, "n latent"]:
        """So many codes, standard normal."""
        some = next(self.parameters())
        return torch.randn(n, self.latent, generator=generator, device=some.device, dtype=some.dtype)

    def sample(
        self, n: int, *, generator: torch.Generator | None = None, values: bool = False
    ) -> Float[Tensor, "n *shape"]:
        """Decoded codes from the prior.

        Args:
            n: how many.
            generator: of the random numbers.
            values: draw each value from p(x | z), too; else its mean is given, as is usual for pictures.
        """
        z = self.prior(n, generator=generator)
        if not values:
            return self.decode(z)
        return self.autoencoder.likelihood.draw(self.autoencoder.generation(z), generator)

    def interpolate(self, a: Tensor, b: Tensor, steps: int) -> Float[Tensor, "n steps *shape"]:
        """The straight way from the code of each a to that of its b, decoded; both ends included."""
        share = torch.linspace(0, 1, steps, device=a.device, dtype=a.dtype)[:, None]
        walk = self.encode(a)[:, None].lerp(self.encode(b)[:, None], share)
        return self.decode(walk.flatten(0, 1)).unflatten(0, (-1, steps))

    def inpaint(self, x: Float[Tensor, "n *shape"], mask: Tensor, rounds: int = 10) -> Float[Tensor, "n *shape"]:
        """Fill in what is missing.

        A model that is told which values there are decodes their code. Another one begins with 0 for what is missing
        and passes the example through itself so often, each time with what came out in place of what is missing, see
        ``fill_in``.

        Args:
            x: the examples; what is missing may be anything.
            mask: 1 where the value is there and 0 where it is missing, (n, *shape) or what broadcasts to it.
            rounds: how often an example passes through a model that is not told.

        Raises:
            ValueError: if the mask does not fit the examples, or holds anything but 0 and 1.
        """
        there = checked_mask(x, mask)
        told = there.to(x.dtype)
        return fill_in(x, there, lambda filled: self.decode(self.encode(filled, told)), 1 if self.masks else rounds)

    def log_prob_bound(
        self, x: Float[Tensor, "n *shape"], samples: int = 1, *, generator: torch.Generator | None = None
    ) -> Float[Tensor, "n"]:
        """Lower bound of log p(x) in nats: the evidence lower bound from one draw, importance weighted from several.

        Args:
            x: the examples.
            samples: number of draws; in expectation the bound does not fall with it.
            generator: of the random numbers.
        """
        return self.autoencoder.bound(x, samples, generator=generator, seen=self._seen(x, None))

    def _seen(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """What the encoder sees: the values that are there, and which these are, if it is told."""
        if not self.masks:
            return x
        mask = torch.ones_like(x) if mask is None else mask.to(x.dtype).expand_as(x)
        return torch.cat([x * mask, mask], dim=1)
