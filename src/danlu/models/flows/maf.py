"""Masked autoregressive flow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import nn

from danlu.data.base.effects import Needs
from danlu.models.base import FromData
from danlu.models.flows.base import Flow, check_classes
from danlu.models.flows.conditioners import NEEDS, ConditionerName, Networks
from danlu.nn.activations import Activation
from danlu.nn.masked.degrees import Degrees
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
    network h of each block is a ``danlu.nn.MADE``, or a ``danlu.nn.WaveNet`` for waveforms and other sequences. The
    order of the values is reversed from block to block. Densities take one pass. Samples are computed value by value,
    with the operations of about one pass: no unit is computed twice.

    With ``mixture``, a network with C normal distributions for each value follows the blocks ("MAF MoG" in the paper);
    without blocks it is "MADE MoG". α is bounded, see ``danlu.nn.Affine``.

    Args:
        shape: shape of one example.
        blocks: number of blocks.
        hidden: width of each hidden layer of MADE.
        mixture: number C of components of a mixture for each value after the blocks, or 0.
        batch_norm: whether batch normalization follows each block.
        order: order of the values in the next block: "reversed" or "random".
        degrees: degrees of the hidden units of MADE: "sequential" or "random"; see ``danlu.nn.hidden_degrees``.
        activation: activation function of each hidden layer of MADE.
        residual: whether each hidden layer of MADE from the second on adds its input.
        bound: bound of the log-scales α; None for no bound, as in the paper.
        alpha: for discrete values, the margin α of ``danlu.nn.Logit``; the paper has 1e-6 for MNIST and 0.05 for
            CIFAR-10.
        conditioner: network of each block: "made", or "wavenet" for sequences such as waveforms.
        channels: channels of each layer of WaveNet.
        layers: number of layers of WaveNet; their dilations are 1, 2, 4, …, 512, and begin again with 1.
        kernel: number of positions that a convolution of WaveNet reads.
        classes: number of labels of a class-conditional flow, or 0. One-hot labels are the context of each network.
        levels: number of levels of discrete values, such as pixels; 0 for continuous values.
        range: the smallest and the largest level.

    Raises:
        ValueError: if an argument is out of range.

    >>> maf = MAF(shape=(2,), blocks=2, hidden=(16,)).eval()
    >>> maf.log_prob(torch.zeros(3, 2)).shape, maf.sample(4).shape
    (torch.Size([3]), torch.Size([4, 2]))
    """

    needs: ClassVar[tuple[Needs, ...]] = (
        *NEEDS,
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
        conditioner: ConditionerName = "made",
        channels: int = 32,
        layers: int = 8,
        kernel: int = 2,
        classes: Annotated[int, FromData] = 0,
        levels: Annotated[int, FromData] = 0,
        range: Annotated[Sequence[float], FromData] = (0.0, 1.0),
    ):
        if blocks < 0 or mixture < 0 or blocks + mixture == 0:
            raise ValueError(f"blocks={blocks} and mixture={mixture} must be at least 0, and one of them at least 1")
        check_classes(classes)
        size = math.prod(shape)
        networks = Networks(conditioner, classes, hidden, degrees, activation, residual, channels, layers, kernel)
        transforms = affine_blocks(size, blocks, networks, bound, order, batch_norm)
        if mixture:
            transforms += [reordering(size, order)] if blocks else []
            transforms.append(mixture_block(size, mixture, networks, bound, blocks))
        super().__init__(shape, Chain(transforms), classes, levels, range, alpha)


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
    """A network with a mixture of normal distributions for each value, whose components start with different means."""
    function = GaussianMixture(components, bound)
    network: Any = networks.build(size, function.outputs, seed)
    with torch.no_grad():  # MADE has a bias for each value, and WaveNet one for all
        nn.init.normal_(network.output.bias.view(-1, 3, components)[:, 1])
    return Autoregressive(network, function)
