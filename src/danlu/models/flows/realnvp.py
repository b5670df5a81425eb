"""RealNVP: a flow of affine couplings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Annotated

from danlu.models.base import FromData
from danlu.models.flows.base import Flow, check_classes
from danlu.models.flows.multi_scale import FlowNorm, MultiScale, normalization
from danlu.nn.activations import Activation
from danlu.nn.dense import check_width
from danlu.nn.transforms.coupling import Coupling, CouplingMLP
from danlu.nn.transforms.image_coupling import CouplingResNet
from danlu.nn.transforms.transform import Chain, Permutation, Transform


class RealNVP(Flow):
    r"""A flow of affine couplings: half of the values are scaled and shifted by functions of the other half.

    For rows, the halves alternate from coupling to coupling, and with more than two values a random permutation follows
    every second coupling; the functions are fully connected networks. For images, the couplings have the pattern of a
    checkerboard or split the channels, at several scales (``danlu.models.MultiScale``), and the functions are residual
    networks. Log-scales are bounded, see ``danlu.nn.Coupling``. Dinh, Sohl-Dickstein and Bengio, "Density estimation
    using Real NVP", 2017.

    Args:
        shape: shape of one example; (channels, height, width) for images.
        couplings: number of couplings. For rows it is their total, 8 by default; for images it is the number with each
            kind of mask at each scale, 3 by default as in the paper.
        hidden: for rows, width of each hidden layer of a network.
        activation: for rows, activation function after each hidden layer.
        norm: normalization before every coupling of images and every second one of rows: "act" for activation
            normalization, "batch" for batch normalization, or None for none.
        scales: for images, number of scales; height and width are halved between them.
        width: for images, number of channels of the residual blocks.
        blocks: for images, number of residual blocks of a network.
        classes: number of labels of a class-conditional flow, or 0. The networks get the label.
        levels: for images, the number of levels of their values; 0 for other data.
        range: for images, the smallest and the largest level.
        alpha: for images, margin of the logit, see ``danlu.nn.Logit``.

    Raises:
        ValueError: if a number is out of range, there are fewer than two values, or an image cannot be halved so often.

    >>> RealNVP((2,), couplings=4).sample(3).shape, RealNVP((1, 8, 8), levels=17, width=8).sample(3).shape
    (torch.Size([3, 2]), torch.Size([3, 1, 8, 8]))
    """

    def __init__(
        self,
        shape: Sequence[int],
        couplings: int | None = None,
        hidden: Sequence[int] = (64, 64),
        activation: Activation = "relu",
        norm: FlowNorm | None = "act",
        scales: int = 2,
        width: int = 32,
        blocks: int = 2,
        classes: Annotated[int, FromData] = 0,
        levels: Annotated[int, FromData] = 0,
        range: Annotated[Sequence[float], FromData] = (0.0, 1.0),
        alpha: float = 0.05,
    ):
        check_classes(classes)
        if len(shape) == 3:
            network = partial(CouplingResNet, width=width, blocks=blocks, context=classes)
            transform: Transform = MultiScale(shape, scales, 3 if couplings is None else couplings, network, norm)
        else:
            network = partial(CouplingMLP, hidden=hidden, context=classes, activation=activation)
            transform = _row_couplings(math.prod(shape), 8 if couplings is None else couplings, network, norm)
        super().__init__(shape, transform, classes, levels, range, alpha)


def _row_couplings(size: int, couplings: int, network: partial[CouplingMLP], norm: FlowNorm | None) -> Chain:
    """Couplings with alternating halves, with a normalization before and a permutation after every second one."""
    check_width("couplings", couplings)
    parts: list[Transform] = []
    for number in range(couplings):
        if number % 2 == 0:
            parts += [Permutation(size)] if number and size > 2 else []
            parts += normalization(norm, size)
        parts.append(Coupling(size, network, number % 2 == 1))
    return Chain(parts)
