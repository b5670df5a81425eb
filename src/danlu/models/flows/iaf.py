"""Inverse autoregressive flow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, ClassVar

from danlu.data.base.effects import Needs
from danlu.models.base import FromData
from danlu.models.flows.base import Flow, check_classes
from danlu.models.flows.conditioners import NEEDS, ConditionerName, Networks
from danlu.models.flows.maf import Order, affine_blocks
from danlu.nn.activations import Activation
from danlu.nn.masked.degrees import Degrees
from danlu.nn.transforms.autoregressive import Autoregressive
from danlu.nn.transforms.transform import Chain, Inverse
from danlu.nn.transforms.univariate import BOUND


class IAF(Flow):
    r"""Inverse autoregressive flow: MAF with the two directions exchanged.

    .. math:: x_i = (z_i - \mu_i) \, e^{-\alpha_i}, \qquad (\mu_i, \alpha_i) = h_i(z_1, \dots, z_{i-1})

    Kingma et al., "Improved variational inference with inverse autoregressive flow", 2016, section 3, and Papamakarios
    et al., 2017, section 3.4. Each block is the ``danlu.nn.Inverse`` of a block of ``MAF``. Samples and their densities
    take one pass. Densities of given examples are computed value by value, and so are the gradients of maximum
    likelihood; each takes about as long as one pass of the networks.

    Args:
        shape: shape of one example.
        blocks: number of blocks.
        hidden: width of each hidden layer of MADE.
        batch_norm: whether batch normalization follows each block, in the direction from data to latents.
        order: order of the values in the next block: "reversed" or "random".
        degrees: degrees of the hidden units of MADE: "sequential" or "random"; see ``danlu.nn.hidden_degrees``.
        activation: activation function of each hidden layer of MADE.
        residual: whether each hidden layer of MADE from the second on adds its input.
        bound: bound of the log-scales α; None for no bound, as in the paper.
        alpha: for discrete values, the margin α of ``danlu.nn.Logit``.
        conditioner: network of each block: "made", or "wavenet" for sequences such as waveforms.
        channels: channels of each layer of WaveNet.
        layers: number of layers of WaveNet; their dilations are 1, 2, 4, …, 512, and begin again with 1.
        kernel: number of positions that a convolution of WaveNet reads.
        classes: number of labels of a class-conditional flow, or 0. One-hot labels are the context of each network.
        levels: number of levels of discrete values, such as pixels; 0 for continuous values.
        range: the smallest and the largest level.

    Raises:
        ValueError: if an argument is out of range.

    >>> iaf = IAF(shape=(2,), blocks=2, hidden=(16,)).eval()
    >>> iaf.log_prob(torch.zeros(3, 2)).shape, iaf.sample(4).shape
    (torch.Size([3]), torch.Size([4, 2]))
    """

    needs: ClassVar[tuple[Needs, ...]] = NEEDS

    def __init__(
        self,
        shape: Sequence[int],
        blocks: int = 5,
        hidden: Sequence[int] = (128, 128),
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
        if blocks < 1:
            raise ValueError(f"blocks={blocks} must be at least 1")
        check_classes(classes)
        networks = Networks(conditioner, classes, hidden, degrees, activation, residual, channels, layers, kernel)
        transforms = affine_blocks(math.prod(shape), blocks, networks, bound, order, batch_norm)
        inverted = (Inverse(part) if isinstance(part, Autoregressive) else part for part in transforms)
        super().__init__(shape, Chain(inverted), classes, levels, range, alpha)
