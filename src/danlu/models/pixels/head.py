"""The last layers of a pixel model, from features to the parameters of the distribution of each pixel."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from danlu.nn.masked.cached import CachedConvolution
from danlu.nn.masked.convolution import MaskedConv2d
from danlu.nn.roles import output_layer


class Head(nn.Module):
    """ReLU and a 1×1 convolution, twice. van den Oord et al., "Pixel recurrent neural networks", 2016, table 1.

    Args:
        channels: channels of the features.
        groups: number of color groups.
        units: number of outputs per group.

    >>> Head(6, groups=3, units=2)(torch.zeros(4, 6, 5, 7)).shape
    torch.Size([4, 3, 2, 5, 7])
    """

    def __init__(self, channels: int, groups: int, units: int):
        super().__init__()
        self.groups = groups
        self.hidden = MaskedConv2d(channels, channels, 1, "B", groups)
        self.last = output_layer(MaskedConv2d(channels, groups * units, 1, "B", groups))

    def forward(self, features: Float[Tensor, "n channels h w"]) -> Float[Tensor, "n groups units h w"]:
        """The outputs at all pixels."""
        return self.last(self.hidden(features.relu()).relu()).unflatten(1, (self.groups, -1))


class CachedHead:
    """The outputs of a head for one pixel and color group at a time.

    Args:
        head: the layers.
        n: number of images.
        width: width of the images.
    """

    def __init__(self, head: Head, n: int, width: int):
        self.hidden, self.last = (CachedConvolution(layer, n, width) for layer in (head.hidden, head.last))

    def __call__(self, features: Float[Tensor, "n channels"], column: int, group: int) -> Float[Tensor, "n units"]:
        """The outputs of a color group from its features."""
        torch.clamp_min(features, 0, out=self.hidden.write(column, group))
        self.hidden(column, group, out=self.last.write(column, group)).relu_()
        return self.last(column, group)
