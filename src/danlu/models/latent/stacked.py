"""M1 + M2: a semi-supervised variational autoencoder of the codes of another autoencoder."""

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
    """A model of examples without labels, and a semi-supervised model of its codes.

    Kingma, Rezende, Mohamed and Welling, "Semi-supervised learning with deep generative models", 2014, section 2: the
    stacked model M1 + M2.

    Args:
        first: model of the examples, M1.
        second: model of the codes of the first model, M2, with Gaussian likelihood.

    Raises:
        ValueError: if the second model does not have the shape and the likelihood for codes of the first.

    >>> first = VAE((1, 8, 8), latent=4, hidden=(16,))
    >>> second = SemiSupervisedVAE((4,), 10, latent=2, hidden=(16,), classifier_hidden=(16,), likelihood="gaussian")
    >>> model = StackedVAE(first, second).eval()
    >>> model.classify(torch.zeros(3, 1, 8, 8)).shape, model.sample(5).shape
    (torch.Size([3, 10]), torch.Size([5, 1, 8, 8]))
    """

    def __init__(self, first: VAE, second: SemiSupervisedVAE):
        super().__init__()
        if second.autoencoder.shape != (first.latent,) or second.autoencoder.likelihood.family != "gaussian":
            raise ValueError(
                f"the second model must take the latents of the first: expected shape=({first.latent},) and "
                f"likelihood='gaussian', got {second.autoencoder.shape} and {second.autoencoder.likelihood.family!r}"
            )
        self.first, self.second = first, second

    @property
    def capabilities(self) -> frozenset[str]:
        """The capabilities of the model, see ``danlu.verbs.CAPABILITIES``."""
        return frozenset({"class_conditional", "class_log_probs", "generator", "value_sampling"})

    @property
    def classes(self) -> int:
        """Number of labels."""
        return self.second.classes

    def classify(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n classes"]:
        """The probability of each label, from the mean of the first code."""
        return self.second.classify(self.first.encode(x))

    def class_log_probs(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n classes"]:
        """The log-probability of each label, from the mean of the first code."""
        return self.second.class_log_probs(self.first.encode(x))

    def encode(self, x: Tensor, labels: Int[Tensor, "n"] | None = None) -> Float[Tensor, "n latent"]:
        """The code of the second model. Without labels, the label predicted by the classifier is used."""
        return self.second.encode(self.first.encode(x), labels)

    def decode(self, z: Float[Tensor, "n latent"], labels: Int[Tensor, "n"]) -> Float[Tensor, "n *shape"]:
        """Decode codes of the second model with their labels to examples."""
        return self.first.decode(self.second.decode(z, labels))

    def reconstruct(self, x: Tensor, labels: Int[Tensor, "n"] | None = None) -> Float[Tensor, "n *shape"]:
        """Encode and decode each example with both models."""
        return self.first.decode(self.second.reconstruct(self.first.encode(x), labels))

    def sample(
        self,
        n: int,
        labels: Int[Tensor, "n"] | None = None,
        *,
        generator: torch.Generator | None = None,
        values: bool = False,
    ) -> Float[Tensor, "n *shape"]:
        """Decode codes drawn from the prior.

        Args:
            n: number of examples.
            labels: label of each example, (n,); by default the classes in turn.
            generator: random number generator.
            values: draw each value from p(x | z) as well; by default its mean is returned.
        """
        codes = self.second.sample(n, labels, generator=generator, values=True)
        if not values:
            return self.first.decode(codes)
        return self.first.autoencoder.likelihood.draw(self.first.autoencoder.generation(codes), generator)

    def interpolate(self, a: Tensor, b: Tensor, steps: int) -> Float[Tensor, "n steps *shape"]:
        """Interpolate in the second model from the code of each a to that of its b, and decode; both ends included."""
        codes = self.second.interpolate(self.first.encode(a), self.first.encode(b), steps)
        return self.first.decode(codes.flatten(0, 1)).unflatten(0, (-1, steps))

    def inpaint(
        self, x: Float[Tensor, "n *shape"], mask: Tensor, labels: Int[Tensor, "n"] | None = None, rounds: int = 10
    ) -> Float[Tensor, "n *shape"]:
        """Fill in missing values, see ``fill_in``. Without labels, the most probable label is used in each round.

        Args:
            x: the examples; missing values may be arbitrary numbers.
            mask: 1 for given and 0 for missing values, (n, *shape) or a shape that broadcasts to it.
            labels: label of each example, (n,).
            rounds: number of reconstructions by both models.

        Raises:
            ValueError: if the shape of the mask does not match the examples, or it has values other than 0 and 1.
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
        r"""A lower bound of log p(x) in nats, or of log p(x | y) for given labels.

        .. math:: \log \frac1k \sum_{i=1}^k \frac{p(x \mid a_i) \, \hat p(a_i)}{q(a_i \mid x)},
            \qquad a_i \sim q(a \mid x)

        with codes a of the first model. The density of a code is estimated by the second model from one sample; the
        logarithm of the estimate is the bound of the second model. The result is useful only if the second model was
        trained on sampled codes: a model trained on mean codes gives sampled codes a very low probability.

        Args:
            x: the examples, (n, *shape).
            samples: number k of codes per example; the expected bound does not decrease with it.
            labels: label of each example, (n,).
            generator: random number generator.

        Raises:
            ValueError: if samples is below 1.
        """
        if samples < 1:
            raise ValueError(f"samples={samples} must be at least 1")
        posterior, autoencoder = self.first.posterior(x), self.first.autoencoder
        weights = []
        for _ in range(samples):
            noise = torch.randn(len(x), self.first.latent, generator=generator, device=x.device, dtype=x.dtype)
            codes, log_q = posterior.draw(noise[None])
            log_x = autoencoder.likelihood.log_prob(x, autoencoder.generation(codes[0])[None])
            weights.append(log_x + self.second.log_prob_bound(codes[0], 1, labels, generator=generator) - log_q)
        return importance_bound(torch.cat(weights))
