"""Base class of autoencoders of labeled examples."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from danlu.models.base import Model
from danlu.models.latent.autoencoder import Autoencoder
from danlu.models.latent.inpainting import checked_mask, fill_in
from danlu.nn.one_hot import cycle_classes, one_hot
from danlu.sampling.latent_interpolation import lerp


class LabeledAutoencoder(Model):
    """A decoder p(x | y, z) and an encoder q(z | x, y), with uniform p(y). ``classify`` predicts missing labels.

    Attributes:
        classes: number of labels.
        autoencoder: encoder and decoder.
    """

    classes: int
    autoencoder: Autoencoder

    @property
    def capabilities(self) -> frozenset[str]:
        """The capabilities of the model, see ``danlu.verbs.CAPABILITIES``."""
        return frozenset({"class_conditional", "class_log_probs", "generator", "value_sampling"})

    @property
    def latent(self) -> int:
        """Number of latent units."""
        return self.autoencoder.latent

    def classify(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n classes"]:
        """The probability of each label."""
        raise NotImplementedError(f"{type(self).__name__} must define classify")

    def class_log_probs(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n classes"]:
        """The log-probability of each label."""
        raise NotImplementedError(f"{type(self).__name__} must define class_log_probs")

    def encode(self, x: Tensor, labels: Int[Tensor, "n"] | None = None) -> Float[Tensor, "n latent"]:
        """The mean of q(z | x, y). Without labels, the most probable label is used."""
        return self.autoencoder.inference(x, self._label_weights(x, labels)).mean

    def decode(self, z: Float[Tensor, "n latent"], labels: Int[Tensor, "n"]) -> Float[Tensor, "n *shape"]:
        """The mean of p(x | y, z)."""
        return self._decoded(z, one_hot(labels, self.classes, z))

    def prior(self, n: int, *, generator: torch.Generator | None = None) -> Float[Tensor, "n latent"]:
        """Draw n standard normal codes."""
        weight = next(self.parameters())
        return torch.randn(n, self.latent, generator=generator, device=weight.device, dtype=weight.dtype)

    def reconstruct(self, x: Tensor, labels: Int[Tensor, "n"] | None = None) -> Float[Tensor, "n *shape"]:
        """Encode and decode each example with its label."""
        y = self._label_weights(x, labels)
        return self._decoded(self.autoencoder.inference(x, y).mean, y)

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
            values: draw each value from p(x | y, z) as well; by default its mean is returned.
        """
        z = self.prior(n, generator=generator)
        labels = cycle_classes(n, self.classes, z.device) if labels is None else labels
        if not values:
            return self.decode(z, labels)
        output = self.autoencoder.generation(z, one_hot(labels, self.classes, z))
        return self.autoencoder.likelihood.draw(output, generator)

    def interpolate(self, a: Tensor, b: Tensor, steps: int) -> Float[Tensor, "n steps *shape"]:
        """Decode the linear interpolation of latents and label weights from each a to its b, both ends included."""
        labels = [self._label_weights(x, None) for x in (a, b)]
        latents = [self.autoencoder.inference(x, y).mean for x, y in zip((a, b), labels, strict=True)]
        z, y = (lerp(start, end, steps).flatten(0, 1) for start, end in (latents, labels))
        return self._decoded(z, y).unflatten(0, (-1, steps))

    def inpaint(
        self, x: Float[Tensor, "n *shape"], mask: Tensor, labels: Int[Tensor, "n"] | None = None, rounds: int = 10
    ) -> Float[Tensor, "n *shape"]:
        """Fill in missing values, see ``fill_in``. Without labels, the most probable label is used in each round.

        Args:
            x: the examples; missing values may be arbitrary numbers.
            mask: 1 for given and 0 for missing values, (n, *shape) or a shape that broadcasts to it.
            labels: label of each example, (n,).
            rounds: number of reconstructions.

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

        .. math:: \log p(x) = \log \tfrac1K \sum_y p(x \mid y)

        is bounded with the bounds of log p(x | y): the evidence lower bound for one sample, importance-weighted for
        several.

        Args:
            x: the examples, (n, *shape).
            samples: number of codes per label; the expected bound does not decrease with it.
            labels: label of each example, (n,).
            generator: random number generator.
        """
        if labels is not None:
            return self.autoencoder.bound(x, samples, one_hot(labels, self.classes, x), generator)
        bounds = []
        for label in range(self.classes):
            y = one_hot(torch.full((len(x),), label, device=x.device), self.classes, x)
            bounds.append(self.autoencoder.bound(x, samples, y, generator))
        return torch.stack(bounds).logsumexp(0) - math.log(self.classes)

    def _label_weights(self, x: Tensor, labels: Tensor | None) -> Float[Tensor, "n classes"]:
        if labels is not None:
            return one_hot(labels, self.classes, x)
        predicted = self.classify(x).argmax(1, keepdim=True)  # one_hot reads values, which an export cannot trace
        return (predicted == torch.arange(self.classes, device=x.device)).to(x.dtype)

    def _decoded(self, z: Tensor, y: Float[Tensor, "n classes"]) -> Float[Tensor, "n *shape"]:
        return self.autoencoder.likelihood.mean(self.autoencoder.generation(z, y))
