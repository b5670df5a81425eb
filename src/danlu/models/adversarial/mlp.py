"""Fully connected generator and critic, for points, tables and small images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from danlu.data.base.effects import Needs
from danlu.models.adversarial.base import LEAK, Critic, Generator, PlayerNorm, concat_labels, normalization
from danlu.nn.activations import Activation
from danlu.nn.dense import check_dropout, check_widths, dense
from danlu.nn.norm.spectral import spectral_norm
from danlu.nn.roles import output_layer


class MLPGenerator(Generator):
    """A fully connected generator. A label is concatenated to the code as a one-hot vector.

    Goodfellow et al., "Generative adversarial nets", 2014, and with labels Mirza and Osindero, "Conditional generative
    adversarial nets", 2014.

    Args:
        shape: shape of one example.
        classes: number of labels of a conditional network, or 0.
        range: smallest and largest value of an image; None for other data.
        latent: dimension of the latent.
        hidden: width of each hidden layer.
        activation: activation function after each hidden layer.
        norm: normalization before each activation: "batch", "layer" or "virtual"; None for none.
        reference: number of reference codes of virtual batch norm.

    Raises:
        ValueError: if a number is out of range.

    >>> MLPGenerator((1, 8, 8), classes=0, range=(0.0, 1.0), latent=4, hidden=(32,)).sample(3).shape
    torch.Size([3, 1, 8, 8])
    """

    needs: ClassVar[tuple[Needs, ...]] = (
        Needs("reference", ("norm",), ("virtual",)),
        *(Needs(name, ("hidden",)) for name in ("activation", "norm")),
    )

    def __init__(
        self,
        shape: Sequence[int],
        classes: int,
        range: Sequence[float] | None,
        latent: int = 64,
        hidden: Sequence[int] = (256, 256),
        activation: Activation = "relu",
        norm: PlayerNorm | None = None,
        reference: int = 64,
    ):
        super().__init__(shape, classes, range, latent, reference if norm == "virtual" else 0)
        check_widths("hidden", hidden)
        widths = [latent + classes, *hidden]
        self.body = nn.Sequential(*(_layer(n, m, activation, norm, reference) for n, m in pairwise(widths)))
        self.last = output_layer(nn.Linear(widths[-1], math.prod(shape)))

    def generate(
        self, z: Float[Tensor, "n latent"], class_weights: Float[Tensor, "n classes"] | None
    ) -> Float[Tensor, "n ..."]:
        """The examples generated from codes."""
        return self.last(self.body(concat_labels(z, class_weights))).unflatten(1, self.shape)


class MLPCritic(Critic):
    """A fully connected critic. A label is concatenated to the example as a one-hot vector.

    Args:
        shape: shape of one example.
        classes: number of labels of a conditional network, or 0.
        hidden: width of each hidden layer.
        activation: activation function after each hidden layer.
        norm: normalization before each activation: "batch", "layer" or "virtual"; None for none.
        dropout: fraction of hidden units that are set to zero during training.
        minibatch: number of kernels of minibatch discrimination, or 0.
        spectral: whether spectral normalization keeps the largest singular value of each weight at 1.
        reference: number of reference examples of virtual batch norm.

    Raises:
        ValueError: if a number is out of range.

    >>> MLPCritic((2,), classes=3, hidden=(16,))(torch.zeros(4, 2), torch.tensor([0, 1, 2, 0])).shape
    torch.Size([4])
    """

    needs: ClassVar[tuple[Needs, ...]] = (
        Needs("reference", ("norm",), ("virtual",)),
        *(Needs(name, ("hidden",)) for name in ("activation", "norm")),
    )

    def __init__(
        self,
        shape: Sequence[int],
        classes: int,
        hidden: Sequence[int] = (256, 256),
        activation: Activation = "leaky_relu",
        norm: PlayerNorm | None = None,
        dropout: float = 0.0,
        minibatch: int = 0,
        spectral: bool = False,
        reference: int = 64,
    ):
        super().__init__(shape, classes, reference if norm == "virtual" else 0)
        check_widths("hidden", hidden)
        check_dropout(dropout)
        if not hidden:
            raise ValueError("hidden=() leaves no features; give at least one width")
        widths = [math.prod(shape) + classes, *hidden]
        layers = (_layer(n, m, activation, norm, reference, dropout) for n, m in pairwise(widths))
        self.body = nn.Sequential(*layers)
        self.build_score_layers(widths[-1], minibatch, projected=False)
        if spectral:
            spectral_norm(self)

    def compute_features(
        self, x: Float[Tensor, "n *shape"], class_weights: Float[Tensor, "n classes"] | None
    ) -> Float[Tensor, "n d"]:
        """The features of examples."""
        return self.body(concat_labels(x.flatten(1), class_weights))


def _layer(
    inputs: int, outputs: int, activation: Activation, norm: PlayerNorm | None, reference: int, dropout: float = 0.0
) -> nn.Module:
    nonlinearity = nn.LeakyReLU(LEAK) if activation == "leaky_relu" else activation
    return dense(inputs, outputs, nonlinearity, normalization(norm, outputs, reference) if norm else None, dropout)
