"""Masked autoregressive flow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, NamedTuple

import torch
from torch import nn

from danlu.data.base.effects import Needs
from danlu.models.base import FromData
from danlu.models.flows.base import Flow, check_classes
from danlu.nn.activations import Activation
from danlu.nn.masked.degrees import Degrees
from danlu.nn.masked.made import MADE
from danlu.nn.transforms.affine import Affine
from danlu.nn.transforms.autoregressive import Autoregressive
from danlu.nn.transforms.batch_norm import BatchNormTransform
from danlu.nn.transforms.gaussian_mixture import GaussianMixture
from danlu.nn.transforms.transform import Chain, Permutation, Reverse, Transform
from danlu.nn.transforms.univariate import BOUND

Order = Literal["reversed", "random"]


class MAF(Flow):
    r"""Masked autoregressive flow: blocks that transform each value with functions of the values before it.

    .. math:: z_i = (x_i - \mu_i) \, e^{-\alpha_i}, \qquad (\mu_i, \alpha_i) = h_i(x_1, \dots, x_{i-1})

    Papamakarios, Pavlakou and Murray, "Masked autoregressive flow for density estimation", 2017, equations 4 and 5. The
    network h of each block is a ``danlu.nn.MADE``. The order of the values is reversed from block to block. Densities
    take one pass. Samples are computed value by value, at the cost of about one pass: each weight is used once.

    With ``mixture``, a MADE with C normal distributions for each value follows the blocks ("MAF MoG" in the paper);
    without blocks it is "MADE MoG". α is bounded, see ``danlu.nn.Affine``.

    Args:
        shape: shape of one example.
        blocks: number of blocks.
        hidden: width of each hidden layer of a block.
        mixture: number C of components of a mixture for each value after the blocks, or 0.
        batch_norm: whether batch normalization follows each block.
        order: order of the values in the next block: "reversed" or "random".
        degrees: degrees of the hidden units: "sequential" or "random"; see ``danlu.nn.hidden_degrees``.
        activation: activation function of each hidden layer.
        residual: whether each hidden layer from the second on adds its input.
        bound: bound of the log-scales α; None for no bound, as in the paper.
        alpha: for images, the margin α of ``danlu.nn.Logit``; the paper has 1e-6 for MNIST and 0.05 for CIFAR-10.
        classes: number of labels of a class-conditional flow, or 0. One-hot labels enter the first layer of each block.
        levels: for images, the number of levels of their values; 0 for other data.
        range: for images, the smallest and the largest level.

    Raises:
        ValueError: if an argument is out of range.

    >>> maf = MAF(shape=(2,), blocks=2, hidden=(16,)).eval()
    >>> maf.log_prob(torch.zeros(3, 2)).shape, maf.sample(4).shape
    (torch.Size([3]), torch.Size([4, 2]))
    """

    needs: ClassVar[tuple[Needs, ...]] = (
        *(Needs(name, ("hidden",)) for name in ("degrees", "activation", "residual")),
        *(Needs(name, ("blocks",)) for name in ("batch_norm", "order")),
    )

    def __init__(
        self,
        shape: Sequence[int],
        blocks: int = 5,
        hidden: Sequence[int] = (128, 128),
        mixture: int = 0,
        batch_norm: bool = True,
        order: Order = "reversed",
        degrees: Degrees = "sequential",
        activation: Activation = "relu",
        residual: bool = False,
        bound: float | None = BOUND,
        alpha: float = 1e-6,
        classes: Annotated[int, FromData] = 0,
        levels: Annotated[int, FromData] = 0,
        range: Annotated[Sequence[float], FromData] = (0.0, 1.0),
    ):
        if blocks < 0 or mixture < 0 or blocks + mixture == 0:
            raise ValueError(f"blocks={blocks} and mixture={mixture} must be at least 0, and one of them at least 1")
        check_classes(classes)
        size, networks = math.prod(shape), Networks(hidden, classes, degrees, activation, residual)
        transforms = affine_blocks(size, blocks, networks, bound, order, batch_norm)
        if mixture:
            transforms += [reordering(size, order)] if blocks else []
            transforms.append(mixture_block(size, mixture, networks, bound, blocks))
        super().__init__(shape, Chain(transforms), classes, levels, range, alpha)


class Networks(NamedTuple):
    """The arguments of the networks of all blocks, see ``danlu.nn.MADE``."""

    hidden: Sequence[int]
    context: int
    degrees: Degrees
    activation: Activation
    residual: bool

    def build(self, size: int, outputs: int, seed: int) -> MADE:
        """The network of a block."""
        return MADE(size, outputs, self.hidden, self.context, self.degrees, self.activation, self.residual, seed)


def affine_blocks(
    size: int, blocks: int, networks: Networks, bound: float | None, order: Order, batch_norm: bool
) -> list[Transform]:
    """The transforms of MAF: blocks, each with its batch normalization, and changes of the order between them."""
    transforms: list[Transform] = []
    for number in range(blocks):
        if number:
            transforms.append(reordering(size, order))
        function = Affine(bound)
        transforms.append(Autoregressive(networks.build(size, function.outputs, number), function))
        if batch_norm:
            transforms.append(BatchNormTransform(size))
    return transforms


def reordering(size: int, order: Order) -> Transform:
    """The change of the order of the values between two blocks.

    Raises:
        ValueError: if the order is unknown.
    """
    if order not in ("reversed", "random"):
        raise ValueError(f"order={order!r} is unknown; choose reversed or random")
    return Reverse() if order == "reversed" else Permutation(size)


def mixture_block(size: int, components: int, networks: Networks, bound: float | None, seed: int) -> Autoregressive:
    """A MADE with a mixture of normal distributions for each value. The components start with different means."""
    function = GaussianMixture(components, bound)
    network = networks.build(size, function.outputs, seed)
    with torch.no_grad():
        nn.init.normal_(network.output.bias.view(size, 3, components)[:, 1])
    return Autoregressive(network, function)
