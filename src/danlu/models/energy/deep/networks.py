"""The network of a deep energy model, if none is given."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from danlu.nn.activations import Activation, activation
from danlu.nn.conv.residual import conv
from danlu.nn.dense import check_widths, dense
from danlu.nn.roles import output_layer

LEAST = 4
"""height and width below which a feature map is not halved"""


def energy_network(
    shape: Sequence[int], hidden: Sequence[int], channels: Sequence[int], act: Activation
) -> nn.Sequential:
    """A network from examples (n, *shape) to (n, 1): convolutions, then fully connected layers.

    The last layer has no bias: a constant in the energy has no effect on the distribution.

    Args:
        shape: shape of an example.
        hidden: width of each fully connected layer.
        channels: channels of each convolution; empty for none. The first one keeps the size, and the others halve it
            while height and width are more than 4.
        act: activation function after each layer.

    Raises:
        ValueError: if a width is not possible, or convolutions get no images.

    >>> network = energy_network((2,), (3,), (), "silu")
    >>> [layer.weight.shape for layer in network.modules() if isinstance(layer, nn.Linear)]
    [torch.Size([3, 2]), torch.Size([1, 3])]
    """
    check_widths("hidden", hidden)
    check_widths("channels", channels)
    if channels and len(shape) != 3:
        raise ValueError(f"channels={tuple(channels)} needs images (channels, height, width), got {tuple(shape)}")
    layers: list[nn.Module] = []
    inputs, sizes = shape[0], list(shape[1:])
    for number, outputs in enumerate(channels):
        halved = number > 0 and min(sizes) > LEAST
        layer = nn.Conv2d(inputs, outputs, 4, stride=2, padding=1) if halved else conv(inputs, outputs, 3, bias=True)
        sizes = [size // 2 for size in sizes] if halved else sizes
        layers += [layer, activation(act)]
        inputs = outputs
    widths = (inputs * math.prod(sizes), *hidden)
    layers += [nn.Flatten(), *(dense(n, m, act) for n, m in pairwise(widths))]
    return nn.Sequential(*layers, output_layer(nn.Linear(widths[-1], 1, bias=False)))
