"""What every autoencoder of labeled examples can do, whatever tells the label of an example that has none."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from danlu.models.base import Model
from danlu.models.latent.autoencoder import Autoencoder
from danlu.models.latent.inpainting import checked_mask, fill_in
from danlu.nn.one_hot import cycle_classes, one_hot


class LabeledAutoencoder(Model):
    """A decoder p(x | y, z) and an encoder q(z | x, y), with equal p(y); where no label is given, one is guessed.

    Attributes:
        classes: number of labels.
        autoencoder: both halves.
    """

    classes: int
    autoencoder: Autoencoder

    @property
    def capabilities(self) -> frozenset[str]:
        """What the model can do beyond its verbs, see ``danlu.verbs.CAPABILITIES``."""
        return frozenset({"class_conditional", "generator", "value_sampling"})

    @property
    def latent(self) -> int:
        """Number of latent units."""
        return self.autoencoder.latent

    def classify(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n classes"]:
        """The probability of each label."""
        raise NotImplementedError(f"{type(self).__name__} must say how it tells labels")

    def encode(self, x: Tensor, labels: Int[Tensor, "n"] | None = None) -> Float[Tensor, "n latent"]:
        """The mean of q(z | x, y); without labels, of the likeliest one."""
        return self.autoencoder.inference(x, self._shares(x, labels)).mean

    def decode(self, z: Float[Tensor, "n latent"], labels: Int[Tensor, "n"]) -> Float[Tensor, "n *shape"]:
        """The mean of p(x | y, z)."""
        return self._decoded(z, one_hot(labels, self.classes, z))

    def prior(self, n: int, *, generator: torch.Generator | None = None) -> Float[Tensor, "n latent"]:
        """So many codes, standard normal."""
        some = next(self.parameters())
        return torch.randn(n, self.latent, generator=generator, device=some.device, dtype=some.dtype)

    def reconstruct(self, x: Tensor, labels: Int[Tensor, "n"] | None = None) -> Float[Tensor, "n *shape"]:
        """Each example by way of its label and its code."""
        shares = self._shares(x, labels)
        return self._decoded(self.autoencoder.inference(x, shares).mean, shares)

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
            values: draw each value from p(x | y, z), too; else its mean is given, as is usual for pictures.
        """
        z = self.prior(n, generator=generator)
        labels = cycle_classes(n, self.classes, z.device) if labels is None else labels
        if not values:
            return self.decode(z, labels)
        output = self.autoencoder.generation(z, one_hot(labels, self.classes, z))
        return self.autoencoder.likelihood.draw(output, generator)

    def interpolate(self, a: Tensor, b: Tensor, steps: int) -> Float[Tensor, "n steps *shape"]:
        """The straight way from the code and label of each a to those of its b, decoded; both ends included."""
        share = torch.linspace(0, 1, steps, device=a.device, dtype=a.dtype)[:, None]
        ends = [self._shares(a, None), self._shares(b, None)]
        codes = [self.autoencoder.inference(x, y).mean for x, y in zip((a, b), ends, strict=True)]
        z, y = (start[:, None].lerp(end[:, None], share).flatten(0, 1) for start, end in (codes, ends))
        return self._decoded(z, y).unflatten(0, (-1, steps))

    def inpaint(
        self, x: Float[Tensor, "n *shape"], mask: Tensor, labels: Int[Tensor, "n"] | None = None, rounds: int = 10
    ) -> Float[Tensor, "n *shape"]:
        """Fill in what is missing, see ``fill_in``; the label is guessed anew each round if not given.

        Args:
            x: the examples; what is missing may be anything.
            mask: 1 where the value is there and 0 where it is missing, (n, *shape) or what broadcasts to it.
            labels: of each example.
            rounds: how often an example passes through the model.

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

        .. math:: \log p(x) = \log \tfrac1K \sum_y p(x \mid y)

        has the bound of each log p(x | y) in its place: the evidence lower bound from one draw, importance weighted
        from several.

        Args:
            x: the examples.
            samples: number of draws of each label; in expectation the bound does not fall with it.
            labels: of each example.
            generator: of the random numbers.
        """
        if labels is not None:
            return self.autoencoder.bound(x, samples, one_hot(labels, self.classes, x), generator)
        bounds = []
        for label in range(self.classes):
            shares = one_hot(torch.full((len(x),), label, device=x.device), self.classes, x)
            bounds.append(self.autoencoder.bound(x, samples, shares, generator))
        return torch.stack(bounds).logsumexp(0) - math.log(self.classes)

    def _shares(self, x: Tensor, labels: Tensor | None) -> Float[Tensor, "n classes"]:
        if labels is not None:
            return one_hot(labels, self.classes, x)
        guessed = self.classify(x).argmax(1, keepdim=True)  # one_hot would look at the values, which no export can
        return (guessed == torch.arange(self.classes, device=x.device)).to(x.dtype)

    def _decoded(self, z: Tensor, shares: Float[Tensor, "n classes"]) -> Float[Tensor, "n *shape"]:
        return self.autoencoder.likelihood.mean(self.autoencoder.generation(z, shares))
