"""Encoders from examples to features and decoders from latent codes to examples."""

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
from danlu.nn.roles import output_layer, set_role

KERNEL, STRIDE, PADDING = 4, 2, 1
"""Kernel size, stride and padding of each convolution. It halves height and width; the kernel is a multiple of the
stride, which avoids checkerboard artifacts in the decoder."""


class Encoder(nn.Module):
    """Convolutions with stride 2, then fully connected layers; either part is optional.

    The label of a labeled example is added to the output of the first fully connected layer. Evaluating all labels of
    one example therefore costs little more than evaluating one.

    Args:
        shape: shape of one example; (channels, height, width) if there are convolutions.
        hidden: width of each fully connected layer.
        channels: output channels of each convolution.
        classes: number of classes, or 0 for no label.
        activation: activation after each layer.
        norm: normalization before each activation.
        dropout: fraction of hidden units set to zero during training.

    Attributes:
        features: number of output features.

    Raises:
        ValueError: if there is no layer, labels are used without a fully connected layer, or the image is too small.

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
            raise ValueError("hidden=() leaves no layer that takes the example and its label; give at least one width")
        sizes = halved_sizes(shape, len(channels))
        self.convolutions = nn.Sequential()
        depth = shape[0]
        for number, outputs in enumerate(channels):
            layer = [
                nn.Conv2d(depth, outputs, KERNEL, STRIDE, PADDING),
                *_norm_and_activation(outputs, activation, norm, True),
            ]
            self.convolutions.add_module(str(number), nn.Sequential(*layer))
            depth = outputs
        flat_size = depth * math.prod(sizes[-1]) if channels else math.prod(shape)
        self.first = Linear(flat_size, hidden[0]) if hidden else None
        self.label = set_role(Linear(classes, hidden[0], bias=False), "embedding") if classes else None
        norm_layers = [*_norm_and_activation(hidden[0], activation, norm, False), nn.Dropout(dropout)] if hidden else []
        layers = (dense(n, m, activation, norm, dropout, Linear) for n, m in pairwise(hidden))
        self.rest = nn.Sequential(*norm_layers, *layers)
        self.features = hidden[-1] if hidden else flat_size

    def forward(
        self, x: Float[Tensor, "n *shape"], label: Float[Tensor, "n classes"] | None = None
    ) -> Float[Tensor, "n features"]:
        """Features of the examples.

        Args:
            x: examples.
            label: weight of each class, for instance one-hot labels.
        """
        h = self.first_layer(x)
        return self.rest(h if self.label is None or label is None else h + self.label(label))

    def first_layer(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n width"]:
        """Output of the first fully connected layer, before the label is added and before the activation."""
        h = self.convolutions(x).flatten(1)
        return h if self.first is None else self.first(h)


class Decoder(nn.Module):
    """The encoder in reverse: fully connected layers, then transposed convolutions with stride 2.

    Args:
        inputs: length of a latent code, including its label.
        shape: shape of one example.
        hidden: width of each fully connected layer of the encoder, in the encoder's order.
        channels: output channels of each convolution of the encoder, in the encoder's order.
        outputs: number of outputs for each value of the example.
        activation: activation after each layer except the last.
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
        sizes = halved_sizes(shape, len(channels))
        widths = [inputs, *reversed(hidden)]
        self.dense = nn.Sequential(*(dense(n, m, activation, norm, linear=Linear) for n, m in pairwise(widths)))
        if not channels:
            self.start, self.first = None, output_layer(Linear(widths[-1], outputs * math.prod(shape)))
        else:
            self.start = (channels[-1], *sizes[-1])
            first = Linear(widths[-1], math.prod(self.start))
            self.first = nn.Sequential(first, *_norm_and_activation(math.prod(self.start), activation, None, False))
        self.convolutions = nn.Sequential()
        depths = [*reversed(channels), outputs * shape[0]] if channels else []
        for number, ((depth, layer_outputs), size, target) in enumerate(
            zip(pairwise(depths), reversed(sizes[1:]), reversed(sizes[:-1]), strict=True)
        ):
            upsampling = _upsampling(depth, layer_outputs, size, target)
            if number < len(channels) - 1:
                layer = [upsampling, *_norm_and_activation(layer_outputs, activation, norm, True)]
            else:
                layer = [output_layer(upsampling)]
            self.convolutions.add_module(str(number), nn.Sequential(*layer))

    def forward(self, z: Float[Tensor, "n inputs"]) -> Float[Tensor, "n outputs *shape"]:
        """Outputs for each value of the examples."""
        h = self.first(self.dense(z))
        if self.start is not None:
            h = self.convolutions(h.unflatten(1, self.start))
        return h.flatten(1).unflatten(1, (self.outputs, *self.shape))


def halved_sizes(shape: Sequence[int], times: int) -> list[tuple[int, int]]:
    """Height and width before the first and after each of ``times`` convolutions with stride 2.

    Raises:
        ValueError: if the shape is not that of an image, or the image is too small.

    >>> halved_sizes((1, 28, 28), 3)
    [(28, 28), (14, 14), (7, 7), (3, 3)]
    """
    if not times:
        return []
    if len(shape) != 3:
        raise ValueError(f"shape={tuple(shape)} must be (channels, height, width) for convolutions; omit channels")
    sizes = [(shape[1], shape[2])]
    for _ in range(times):
        height, width = sizes[-1]
        if min(height, width) < 2:
            raise ValueError(f"{times} convolutions with stride 2 are too many for {shape[1]}×{shape[2]} pixels")
        sizes.append((output_size(height, KERNEL, STRIDE, PADDING), output_size(width, KERNEL, STRIDE, PADDING)))
    return sizes


def _upsampling(inputs: int, outputs: int, size: tuple[int, int], target: tuple[int, int]) -> nn.Module:
    """The transposed convolution from ``size`` to ``target``, which is twice as large, or twice and one more."""
    output_padding = (target[0] - 2 * size[0], target[1] - 2 * size[1])
    return nn.ConvTranspose2d(inputs, outputs, KERNEL, STRIDE, PADDING, output_padding=output_padding)


def _norm_and_activation(width: int, activation: Activation, norm: Norm | None, images: bool) -> list[nn.Module]:
    norms = [norm_named(norm, width, images=images)] if norm else []
    return [*norms, activation_named(activation)]
