"""The multilayer perceptron."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from danlu.data.base.effects import Needs
from danlu.models.base import Model
from danlu.nn.activations import Activation
from danlu.nn.dense import check_dropout, check_width, check_widths, dense
from danlu.nn.norm.by_name import Norm
from danlu.nn.roles import output_layer


class MLP(Model):
    r"""A classifier of fully connected layers.

    .. math:: h_0 = x, \qquad h_l = \sigma(W_l h_{l-1} + b_l), \qquad \text{logits} = W h_L + b

    Rumelhart, Hinton and Williams, "Learning representations by back-propagating errors", 1986.

    Args:
        shape: shape of one example; it is flattened.
        classes: number of classes.
        hidden: width of each hidden layer; empty for softmax regression.
        activation: activation function σ after each hidden layer.
        norm: normalization before each activation.
        dropout: fraction of hidden units that are set to zero during training; the others are divided by 1 - dropout.

    Raises:
        ValueError: if a width is below 1 or dropout is outside [0, 1).

    >>> net = MLP(shape=(1, 28, 28), classes=10, hidden=(512,))
    >>> sum(p.numel() for p in net.parameters())
    407050
    >>> net(torch.zeros(3, 1, 28, 28)).shape
    torch.Size([3, 10])
    """

    needs: ClassVar[tuple[Needs, ...]] = tuple(Needs(name, ("hidden",)) for name in ("activation", "norm", "dropout"))

    def __init__(
        self,
        shape: Sequence[int],
        classes: int,
        hidden: Sequence[int] = (512,),
        activation: Activation = "relu",
        norm: Norm | None = None,
        dropout: float = 0.0,
    ):
        super().__init__()
        check_widths("hidden", hidden)
        check_width("classes", classes)
        check_dropout(dropout)
        widths = [math.prod(shape), *hidden]
        self.body = nn.Sequential(*(dense(n, m, activation, norm, dropout) for n, m in pairwise(widths)))
        self.head = output_layer(nn.Linear(widths[-1], classes))

    @property
    def capabilities(self) -> frozenset[str]:
        """The capabilities of the model, see ``danlu.verbs.CAPABILITIES``."""
        return frozenset({"class_log_probs"})

    def forward(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n classes"]:
        """Logits: unnormalized log-probabilities of the classes."""
        return self.head(self.body(x.flatten(1)))

    def classify(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n classes"]:
        """Probability of each class."""
        return self(x).softmax(dim=1)

    def class_log_probs(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n classes"]:
        """Log-probability of each class."""
        return self(x).log_softmax(dim=1)
