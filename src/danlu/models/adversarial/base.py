"""Base classes of generators and critics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from danlu.models.base import Model
from danlu.nn.dense import check_width
from danlu.nn.minibatch_discrimination import MinibatchDiscrimination
from danlu.nn.norm.by_name import norm as norm_named
from danlu.nn.norm.conditional_batch import ConditionalBatchNorm
from danlu.nn.norm.virtual_batch import VirtualBatchNorm
from danlu.nn.one_hot import cycle_classes, one_hot
from danlu.nn.roles import output_layer

PlayerNorm = Literal["batch", "layer", "virtual"]
LEAK = 0.2
"""Negative slope of leaky ReLU, as in DCGAN."""


class Generator(Model):
    r"""A function from codes with a standard normal prior to examples: :math:`x = G(z)` or :math:`G(z, y)`.

    Images are generated in [-1, 1] by tanh, and the critic gets them in this range. ``decode`` and ``sample`` return
    them in the range of the data. Other data is not scaled.

    Args:
        shape: shape of one example.
        classes: number of labels of a conditional network, or 0.
        range: smallest and largest value of an image; None for other data.
        latent: dimension of the latent.
        reference: number of reference codes of virtual batch norm, or 0.

    Attributes:
        shape: shape of one example.
        classes: number of labels.
        latent: dimension of the latent.
        range: smallest and largest value of an image, or None.

    Raises:
        ValueError: if a number is out of range.
    """

    reference: Tensor | None
    reference_labels: Tensor | None

    def __init__(
        self, shape: Sequence[int], classes: int, range: Sequence[float] | None, latent: int, reference: int = 0
    ):
        super().__init__()
        check_width("latent", latent)
        self.shape, self.classes, self.range, self.latent = tuple(shape), classes, range, latent
        _register_reference(self, reference, (latent,), classes)

    @property
    def capabilities(self) -> frozenset[str]:
        """The capabilities of the model, see ``danlu.verbs.CAPABILITIES``."""
        return frozenset({"generator", "class_conditional"} if self.classes else {"generator"})

    def generate(
        self, z: Float[Tensor, "n latent"], class_weights: Float[Tensor, "n classes"] | None
    ) -> Float[Tensor, "n ..."]:
        """Generate examples from codes and class weights, (n, classes). Images are returned before tanh."""
        raise NotImplementedError(f"{type(self).__name__} must define generate")

    def forward(
        self, z: Float[Tensor, "n latent"], labels: Int[Tensor, "n"] | None = None
    ) -> Float[Tensor, "n *shape"]:
        """Generate examples from codes, in the range of the critic."""
        return self.generate_mixed(z, _class_weights(self, z, labels))

    def generate_mixed(
        self, z: Float[Tensor, "n latent"], class_weights: Float[Tensor, "n classes"] | None
    ) -> Float[Tensor, "n *shape"]:
        """Generate examples from codes and class weights, which may mix several classes for an interpolation."""
        z, class_weights = _with_reference(self, z, class_weights)
        x = self.generate(z, class_weights)[_reference_size(self) :]
        return x if self.range is None else x.tanh()

    def prior(self, n: int, *, generator: torch.Generator | None = None) -> Float[Tensor, "n latent"]:
        """Draw n standard normal codes."""
        weight = next(self.parameters())
        return torch.randn(n, self.latent, generator=generator, device=weight.device, dtype=weight.dtype)

    def decode(self, z: Float[Tensor, "n latent"], labels: Int[Tensor, "n"] | None = None) -> Float[Tensor, "n *shape"]:
        """Generate examples from codes, in the range of the data.

        Args:
            z: codes, (n, latent).
            labels: label of each example of a conditional generator; by default the classes in turn.
        """
        if labels is None and self.classes:
            labels = cycle_classes(len(z), self.classes, z.device)
        return self.to_data_range(self(z, labels))

    def sample(
        self, n: int, labels: Int[Tensor, "n"] | None = None, *, generator: torch.Generator | None = None
    ) -> Float[Tensor, "n *shape"]:
        """Generate examples from codes drawn from the prior.

        Args:
            n: number of examples.
            labels: label of each example of a conditional generator; by default the classes in turn.
            generator: random number generator.
        """
        return self.decode(self.prior(n, generator=generator), labels)

    def to_data_range(self, x: Tensor) -> Tensor:
        """Convert examples from the range of the critic to the range of the data."""
        if self.range is None:
            return x
        low, high = self.range
        return (x + 1) * ((high - low) / 2) + low

    def to_critic_range(self, x: Tensor) -> Tensor:
        """Convert examples from the range of the data to the range of the critic."""
        if self.range is None:
            return x
        low, high = self.range
        return (x - low) * (2 / (high - low)) - 1


class Critic(Model):
    r"""A function from examples to scores: high for real, low for generated examples.

    The score of a labeled example adds the projection of its features on a vector of its label, :math:`s(x, y) = w^\top
    f(x) + b + v_y^\top f(x)` (Miyato and Koyama, "cGANs with projection discriminator", 2018, equation 4), unless the
    features already depend on the label.

    Args:
        shape: shape of one example.
        classes: number of labels of a conditional network, or 0.
        reference: number of reference examples of virtual batch norm, or 0.

    Attributes:
        minibatch: layer that appends similarities to the other examples of the batch to the features, or None.
    """

    reference: Tensor | None
    reference_labels: Tensor | None
    minibatch: MinibatchDiscrimination | None

    def __init__(self, shape: Sequence[int], classes: int, reference: int = 0):
        super().__init__()
        self.shape, self.classes = tuple(shape), classes
        _register_reference(self, reference, self.shape, classes)

    def build_score_layers(self, features: int, minibatch: int, projected: bool) -> None:
        """Build the layers after the features. A constructor of a critic calls this last.

        Args:
            features: number of features.
            minibatch: number of kernels of minibatch discrimination, or 0.
            projected: whether labels enter as a projection instead of before the features.

        Raises:
            ValueError: if a number is negative.
        """
        for name, number in (("classes", self.classes), ("minibatch", minibatch)):
            if number < 0:
                raise ValueError(f"{name}={number} must be at least 0")
        self.minibatch = MinibatchDiscrimination(features, minibatch) if minibatch else None
        self.last = output_layer(nn.Linear(features + minibatch, 1))
        self.of_label = (
            output_layer(nn.Linear(features, self.classes, bias=False)) if projected and self.classes else None
        )

    def compute_features(
        self, x: Float[Tensor, "n *shape"], class_weights: Float[Tensor, "n classes"] | None
    ) -> Float[Tensor, "n d"]:
        """Compute features from examples and class weights, (n, classes)."""
        raise NotImplementedError(f"{type(self).__name__} must define compute_features")

    def features(self, x: Float[Tensor, "n *shape"], labels: Int[Tensor, "n"] | None = None) -> Float[Tensor, "n d"]:
        """The features from which the score is computed: the last hidden layer."""
        x, class_weights = _with_reference(self, x, _class_weights(self, x, labels))
        return self.compute_features(x, class_weights)[_reference_size(self) :]

    def forward(self, x: Float[Tensor, "n *shape"], labels: Int[Tensor, "n"] | None = None) -> Float[Tensor, "n"]:
        """Compute the score of each example."""
        return self.score(self.features(x, labels), labels)

    def score(self, features: Float[Tensor, "n d"], labels: Int[Tensor, "n"] | None = None) -> Float[Tensor, "n"]:
        """Compute the score of each row of features."""
        score = self.last(features if self.minibatch is None else self.minibatch(features))[:, 0]
        if self.of_label is None or labels is None:
            return score
        return score + (self.of_label(features) * one_hot(labels, self.classes, features)).sum(1)


def normalization(norm: PlayerNorm, size: int, reference: int, images: bool = False, classes: int = 0) -> nn.Module:
    """Build a normalization layer of a generator or critic.

    Args:
        norm: "batch", "layer" or "virtual".
        size: number of features or channels.
        reference: number of reference examples of virtual batch norm.
        images: whether inputs are (n, c, h, w) instead of (n, features).
        classes: number of labels for conditional batch norm, or 0; other norms ignore it.

    Raises:
        ValueError: if the name is unknown.

    >>> normalization("virtual", 8, reference=4)
    VirtualBatchNorm(8, reference=4)
    """
    if norm == "virtual":
        return VirtualBatchNorm(size, reference)
    if norm not in ("batch", "layer"):
        raise ValueError(f"norm={norm!r} is unknown; choose batch, layer or virtual, or None for no normalization")
    if norm == "batch" and classes:
        return ConditionalBatchNorm(size, classes)
    return norm_named(norm, size, images)


def needs_bias(norm: PlayerNorm | None) -> bool:
    """Whether a layer before this normalization needs a bias. Subtracting a mean over the batch would cancel it."""
    return norm not in ("batch", "virtual")


def concat_labels(x: Float[Tensor, "n d"], class_weights: Float[Tensor, "n classes"] | None) -> Float[Tensor, "n e"]:
    """Concatenate class weights to each row, if there are any."""
    return x if class_weights is None else torch.cat([x, class_weights], dim=1)


def _register_reference(player: Generator | Critic, count: int, shape: tuple[int, ...], classes: int) -> None:
    """Register buffers for the reference examples or codes of virtual batch norm. The task fills them."""
    player.register_buffer("reference", torch.zeros(count, *shape) if count else None)
    labels = cycle_classes(count, classes, torch.device("cpu")) if count and classes else None
    player.register_buffer("reference_labels", labels)


def _reference_size(player: Generator | Critic) -> int:
    return 0 if player.reference is None else len(player.reference)


def _with_reference(
    player: Generator | Critic, x: Tensor, class_weights: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """Concatenate the reference examples and the examples of the batch."""
    if player.reference is None:
        return x, class_weights
    if class_weights is not None and player.reference_labels is not None:
        reference_weights = one_hot(player.reference_labels, player.classes, player.reference)
        class_weights = torch.cat([reference_weights.to(class_weights.dtype), class_weights])
    return torch.cat([player.reference.to(x.dtype), x]), class_weights


def _class_weights(player: Generator | Critic, x: Tensor, labels: Tensor | None) -> Tensor | None:
    """One-hot labels, or None for an unconditional network.

    Raises:
        ValueError: if labels are missing, or given to an unconditional network.
    """
    if bool(player.classes) != (labels is not None):
        name = type(player).__name__
        reason = (
            f"needs the label of each example, one of {player.classes}" if player.classes else "does not take labels"
        )
        raise ValueError(f"{name} {reason}")
    return None if labels is None else one_hot(labels, player.classes, x)
