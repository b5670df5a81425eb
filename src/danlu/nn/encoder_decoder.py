"""Encoders that turn examples into features, and decoders that turn codes into examples of any shape."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from danlu.nn.activations import Activation
from danlu.nn.activations import activation as activation_named
from danlu.nn.conv.convolution import output_size
from danlu.nn.dense import check_dropout, check_widths, dense
from danlu.nn.linear import Linear
from danlu.nn.norm.by_name import Norm
from danlu.nn.norm.by_name import norm as norm_named

KERNEL, STRIDE, PADDING = 4, 2, 1
"""of every convolution: it halves the sides, and one window covers two whole steps, so no checkerboard comes back"""


class Encoder(nn.Module):
    """Convolutions that halve the picture, then fully connected layers; either can be left out.

    Of a labeled example the label is added to the first fully connected layer, so that all labels of one example cost
    little more than one.

    Args:
        shape: of one example; (channels, height, width) if there are convolutions.
        hidden: width of each fully connected layer.
        channels: output channels of each convolution.
        classes: number of labels, or 0.
        activation: the function after each layer.
        norm: normalization before each activation.
        dropout: share of hidden units that are zeroed while training.

    Attributes:
        features: how many there are.

    Raises:
        ValueError: if there is no layer at all, labels have no fully connected layer, or the picture is too small.

    >>> Encoder((1, 28, 28), hidden=(64,), channels=(8, 16))(torch.zeros(3, 1, 28, 28)).shape
    torch.Size([3, 64])
    """

    def __init__(
        self,
        shape: Sequence[int],
        hidden: Sequence[int] = (500, 500),
        channels: Sequence[int] = (),
        classes: int = 0,
        activation: Activation = "relu",
        norm: Norm | None = None,
        dropout: float = 0.0,
    ):
        super().__init__()
        check_widths("hidden", hidden)
        check_widths("channels", channels)
        check_dropout(dropout)
        if not hidden and (classes or not channels):
            raise ValueError("hidden=() leaves no layer to which the example and its label go; give at least one width")
        sizes = halvings(shape, len(channels))
        self.convolutions = nn.Sequential()
        depth = shape[0]
        for number, outputs in enumerate(channels):
            layer = [nn.Conv2d(depth, outputs, KERNEL, STRIDE, PADDING), *_after(outputs, activation, norm, True)]
            self.convolutions.add_module(str(number), nn.Sequential(*layer))
            depth = outputs
        flat = depth * math.prod(sizes[-1]) if channels else math.prod(shape)
        self.first = Linear(flat, hidden[0]) if hidden else None
        self.label = Linear(classes, hidden[0], bias=False) if classes else None
        after = [*_after(hidden[0], activation, norm, False), nn.Dropout(dropout)] if hidden else []
        layers = (dense(n, m, activation, norm, dropout, Linear) for n, m in pairwise(hidden))
        self.rest = nn.Sequential(*after, *layers)
        self.features = hidden[-1] if hidden else flat

    def forward(
        self, x: Float[Tensor, "n *shape"], label: Float[Tensor, "n classes"] | None = None
    ) -> Float[Tensor, "n features"]:
        """Features of examples, given their labels as shares of each class."""
        h = self.seen(x)
        return self.rest(h if self.label is None or label is None else h + self.label(label))

    def seen(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n width"]:
        """What the first fully connected layer has of the example, before the label and the activation."""
        h = self.convolutions(x).flatten(1)
        return h if self.first is None else self.first(h)


class Decoder(nn.Module):
    """The mirror image of the encoder: fully connected layers, then convolutions that double the picture.

    Args:
        inputs: length of a code, with its label.
        shape: of one example.
        hidden: width of each fully connected layer of the encoder.
        channels: output channels of each convolution of the encoder.
        outputs: numbers for each value of the example.
        activation: the function after each layer but the last.
        norm: normalization before each activation.

    >>> Decoder(5, (1, 28, 28), hidden=(64,), channels=(8, 16))(torch.zeros(3, 5)).shape
    torch.Size([3, 1, 1, 28, 28])
    """

    def __init__(
        self,
        inputs: int,
        shape: Sequence[int],
        hidden: Sequence[int] = (500, 500),
        channels: Sequence[int] = (),
        outputs: int = 1,
        activation: Activation = "relu",
        norm: Norm | None = None,
    ):
        super().__init__()
        self.shape, self.outputs = tuple(shape), outputs
        sizes = halvings(shape, len(channels))
        widths = [inputs, *reversed(hidden)]
        self.dense = nn.Sequential(*(dense(n, m, activation, norm, linear=Linear) for n, m in pairwise(widths)))
        if not channels:
            self.start, self.first = None, Linear(widths[-1], outputs * math.prod(shape))
        else:
            self.start = (channels[-1], *sizes[-1])
            first = Linear(widths[-1], math.prod(self.start))
            self.first = nn.Sequential(first, *_after(math.prod(self.start), activation, None, False))
        self.convolutions = nn.Sequential()
        depths = [*reversed(channels), outputs * shape[0]] if channels else []
        for number, ((depth, wanted), size, target) in enumerate(
            zip(pairwise(depths), reversed(sizes[1:]), reversed(sizes[:-1]), strict=True)
        ):
            layer: list[nn.Module] = [_doubling(depth, wanted, size, target)]
            if number < len(channels) - 1:
                layer += _after(wanted, activation, norm, True)
            self.convolutions.add_module(str(number), nn.Sequential(*layer))

    def forward(self, z: Float[Tensor, "n inputs"]) -> Float[Tensor, "n outputs *shape"]:
        """The outputs for each value."""
        h = self.first(self.dense(z))
        if self.start is not None:
            h = self.convolutions(h.unflatten(1, self.start))
        return h.flatten(1).unflatten(1, (self.outputs, *self.shape))


def halvings(shape: Sequence[int], times: int) -> list[tuple[int, int]]:
    """Height and width before and after each of so many convolutions.

    Raises:
        ValueError: if there is no picture, or it is too small.

    >>> halvings((1, 28, 28), 3)
    [(28, 28), (14, 14), (7, 7), (3, 3)]
    """
    if not times:
        return []
    if len(shape) != 3:
        raise ValueError(f"shape={tuple(shape)} must be (channels, height, width) for convolutions; leave channels out")
    sizes = [(shape[1], shape[2])]
    for _ in range(times):
        height, width = sizes[-1]
        if min(height, width) < 2:
            raise ValueError(f"{times} convolutions that halve {shape[1]}×{shape[2]} pixels leave nothing; use fewer")
        sizes.append((output_size(height, KERNEL, STRIDE, PADDING), output_size(width, KERNEL, STRIDE, PADDING)))
    return sizes


def _doubling(inputs: int, outputs: int, size: tuple[int, int], target: tuple[int, int]) -> nn.Module:
    """The transposed convolution from one size to another, which is twice it or one more."""
    more = (target[0] - 2 * size[0], target[1] - 2 * size[1])
    return nn.ConvTranspose2d(inputs, outputs, KERNEL, STRIDE, PADDING, output_padding=more)


def _after(width: int, activation: Activation, norm: Norm | None, images: bool) -> list[nn.Module]:
    normed = [norm_named(norm, width, images=images)] if norm else []
    return [*normed, activation_named(activation)]
