"""M1 + M2: a semi-supervised variational autoencoder on the codes of another autoencoder."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from danlu.losses.variational import importance_bound
from danlu.models.base import Model
from danlu.models.latent.inpainting import checked_mask, fill_in
from danlu.models.latent.semi_supervised import SemiSupervisedVAE
from danlu.models.latent.vae import VAE


class StackedVAE(Model):
    """The first model makes codes of examples, without any label; the second one labels the codes.

    Kingma, Rezende, Mohamed and Welling, "Semi-supervised learning with deep generative models", 2014, section 2: the
    stacked model M1 + M2.

    Args:
        first: codes of examples.
        second: a model of such codes, with the likelihood gaussian.

    Raises:
        ValueError: if the second model is not one of the first one's codes.

    >>> first = VAE((1, 8, 8), latent=4, hidden=(16,))
    >>> second = SemiSupervisedVAE((4,), 10, latent=2, hidden=(16,), judges=(16,), likelihood="gaussian")
    >>> model = StackedVAE(first, second).eval()
    >>> model.classify(torch.zeros(3, 1, 8, 8)).shape, model.sample(5).shape
    (torch.Size([3, 10]), torch.Size([5, 1, 8, 8]))
    """

    def __init__(self, first: VAE, second: SemiSupervisedVAE):
        super().__init__()
        if second.autoencoder.shape != (first.latent,) or second.autoencoder.likelihood.family != "gaussian":
            raise ValueError(
                f"the second model must be one of the first one's codes: shape=({first.latent},) and "
                f"likelihood='gaussian', not {second.autoencoder.shape} and {second.autoencoder.likelihood.family!r}"
            )
        self.first, self.second = first, second

    @property
    def capabilities(self) -> frozenset[str]:
        """What the model can do beyond its verbs, see ``danlu.verbs.CAPABILITIES``."""
        return frozenset({"class_conditional", "generator", "value_sampling"})

    @property
    def classes(self) -> int:
        """Number of labels."""
        return self.second.classes

    def classify(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n classes"]:
        """The probability of each label given the mean of the first code."""
        return self.second.classify(self.first.encode(x))

    def encode(self, x: Tensor, labels: Int[Tensor, "n"] | None = None) -> Float[Tensor, "n latent"]:
        """The second code; without labels, with the one that the classifier guesses."""
        return self.second.encode(self.first.encode(x), labels)

    def decode(self, z: Float[Tensor, "n latent"], labels: Int[Tensor, "n"]) -> Float[Tensor, "n *shape"]:
        """The example of a second code and a label."""
        return self.first.decode(self.second.decode(z, labels))

    def reconstruct(self, x: Tensor, labels: Int[Tensor, "n"] | None = None) -> Float[Tensor, "n *shape"]:
        """Each example by way of both codes and its label."""
        return self.first.decode(self.second.reconstruct(self.first.encode(x), labels))

    def sample(
        self,
        n: int,
        labels: Int[Tensor, "n"] | None = None,
        *,
        generator: torch.Generator | None = None,
        values: bool = False,
    ) -> Float[Tensor, "n *shape"]:
        """Decoded codes from the prior.

        Args:
            n: how many.
            labels: of each; one after the other if not given.
            generator: of the random numbers.
            values: draw each value from p(x | z), too; else its mean is given, as is usual for pictures.
        """
        codes = self.second.sample(n, labels, generator=generator, values=True)
        if not values:
            return self.first.decode(codes)
        return self.first.autoencoder.likelihood.draw(self.first.autoencoder.generation(codes), generator)

    def interpolate(self, a: Tensor, b: Tensor, steps: int) -> Float[Tensor, "n steps *shape"]:
        """The way that the second model walks from the code of each a to that of its b, decoded; both ends included."""
        walk = self.second.interpolate(self.first.encode(a), self.first.encode(b), steps)
        return self.first.decode(walk.flatten(0, 1)).unflatten(0, (-1, steps))

    def inpaint(
        self, x: Float[Tensor, "n *shape"], mask: Tensor, labels: Int[Tensor, "n"] | None = None, rounds: int = 10
    ) -> Float[Tensor, "n *shape"]:
        """Fill in what is missing, see ``fill_in``; the label is guessed anew each round if not given.

        Args:
            x: the examples; what is missing may be anything.
            mask: 1 where the value is there and 0 where it is missing, (n, *shape) or what broadcasts to it.
            labels: of each example.
            rounds: how often an example passes through both models.

        Raises:
            ValueError: if the mask does not fit the examples, or holds anything but 0 and 1.
        """
        return fill_in(x, checked_mask(x, mask), lambda filled: self.reconstruct(filled, labels), rounds)

    def log_prob_bound(
        self,
        x: Float[Tensor, "n *shape"],
        samples: int = 1,
        labels: Int[Tensor, "n"] | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "n"]:
        r"""Lower bound of log p(x) in nats, or of log p(x | y) for given labels.

        .. math:: \log \frac1k \sum_{i=1}^k \frac{p(x \mid a_i) \, \hat p(a_i)}{q(a_i \mid x)},
            \qquad a_i \sim q(a \mid x)

        with first codes a, and in place of their density the second model's estimate from one draw, whose logarithm is
        its bound. It is of use only if the second model learned from such draws: one that learned from mean codes finds
        draws most unlikely.

        Args:
            x: the examples.
            samples: number k of draws; in expectation the bound does not fall with it.
            labels: of each example.
            generator: of the random numbers.

        Raises:
            ValueError: if samples is below 1.
        """
        if samples < 1:
            raise ValueError(f"samples={samples} must be at least 1")
        posterior, half = self.first.posterior(x), self.first.autoencoder
        weights = []
        for _ in range(samples):
            noise = torch.randn(len(x), self.first.latent, generator=generator, device=x.device, dtype=x.dtype)
            codes, log_q = posterior.draw(noise[None])
            log_x = half.likelihood.log_prob(x, half.generation(codes[0])[None])
            weights.append(log_x + self.second.log_prob_bound(codes[0], 1, labels, generator=generator) - log_q)
        return importance_bound(torch.cat(weights))
