"""DCGAN: generator and critic with strided convolutions, for images."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from danlu.data.base.effects import Needs
from danlu.models.adversarial.base import LEAK, Critic, Generator, PlayerNorm, concat_labels, needs_bias, normalization
from danlu.models.adversarial.image_sizes import attention_layers, check_attention, map_sizes
from danlu.nn.dense import check_dropout, check_width
from danlu.nn.encoder_decoder import KERNEL, PADDING, STRIDE
from danlu.nn.linear import Linear
from danlu.nn.norm.spectral import spectral_norm
from danlu.nn.norm.virtual_batch import VirtualBatchNorm
from danlu.nn.roles import output_layer

DEVIATION = 0.02
"""Standard deviation of initial weights around 0, and of initial gains of norms around 1."""


class DCGANGenerator(Generator):
    """A projection of the code to a small feature map, then transposed convolutions that double its size.

    Radford, Metz and Chintala, "Unsupervised representation learning with deep convolutional generative adversarial
    networks", 2016, section 3 and figure 1: each layer halves the channels; no pooling, no fully connected hidden
    layer, batch norm in every layer but the last, ReLU, tanh after the last, weights from N(0, 0.02²). Their network
    for 64×64 pixels has width 128. Kernels are 4×4, a multiple of the stride 2; theirs are 5×5. A label is concatenated
    to the code as a one-hot vector.

    Args:
        shape: (channels, height, width) of one image.
        classes: number of labels of a conditional network, or 0.
        range: smallest and largest value of an image; None omits the tanh.
        latent: dimension of the latent.
        width: channels of the largest hidden feature map; each smaller one has twice as many.
        levels: number of layers that double the size; by default as many as make the shorter side of the first feature
            map 3 to 5, at least 2.
        norm: normalization before each activation: "batch", "layer" or "virtual"; None: none.
        attention: shorter side of the feature map that is followed by self-attention; None: no self-attention.
        reference: number of reference latents of virtual batch norm.

    Raises:
        ValueError: if a number is out of range, or the shape is not that of an image or too small.

    >>> DCGANGenerator((1, 28, 28), classes=0, range=(0.0, 1.0), width=8).sample(3).shape
    torch.Size([3, 1, 28, 28])
    """

    needs: ClassVar[tuple[Needs, ...]] = (Needs("reference", ("norm",), ("virtual",)),)

    def __init__(
        self,
        shape: Sequence[int],
        classes: int,
        range: Sequence[float] | None,
        latent: int = 100,
        width: int = 64,
        levels: int | None = None,
        norm: PlayerNorm | None = "batch",
        attention: int | None = None,
        reference: int = 64,
    ):
        super().__init__(shape, classes, range, latent, reference if norm == "virtual" else 0)
        *sizes, (height, map_width) = map_sizes(shape, levels)
        check_attention(attention, [*sizes[1:], (height, map_width)])
        size, channels = (height, map_width), _channels(width, len(sizes))[-1]
        self.first = nn.Sequential(
            Linear(latent + classes, channels * height * map_width, bias=needs_bias(norm)),
            nn.Unflatten(1, (channels, height, map_width)),
            *_norm_and_activation(channels, norm, reference, nn.ReLU(inplace=True)),
            *attention_layers(size, channels, attention),
        )
        self.body = nn.Sequential()
        for target in reversed(sizes[1:]):
            norm_layers = _norm_and_activation(channels // 2, norm, reference, nn.ReLU(inplace=True))
            upsampling = _upsampling(channels, channels // 2, size, target, needs_bias(norm))
            size, channels = target, channels // 2
            self.body.append(nn.Sequential(upsampling, *norm_layers, *attention_layers(size, channels, attention)))
        self.last = output_layer(_upsampling(channels, shape[0], size, sizes[0], bias=True))
        _init_weights(self)

    def generate(
        self, z: Float[Tensor, "n latent"], class_weights: Float[Tensor, "n classes"] | None
    ) -> Float[Tensor, "n ..."]:
        """The images generated from codes, before tanh."""
        return self.last(self.body(self.first(concat_labels(z, class_weights))))


class DCGANCritic(Critic):
    """Convolutions that halve the image and double its channels. The score is linear in the last feature map.

    The reverse of the generator, with leaky ReLU and no norm in the first layer (Radford et al., 2016, section 3). The
    features are the flattened last feature map, so the linear score equals the last layer of the paper, a convolution
    with a kernel of the size of this map. A label enters as a projection.

    Args:
        shape: (channels, height, width) of one image.
        classes: number of labels of a conditional network, or 0.
        width: channels of the largest feature map; each smaller one has twice as many.
        levels: number of layers that halve the size; by default as many as make the shorter side of the last feature
            map 3 to 5, at least 2.
        norm: normalization before each activation except the first: "batch", "layer" or "virtual"; None: none.
        dropout: fraction of hidden units that are set to zero during training.
        minibatch: number of kernels of minibatch discrimination, or 0.
        spectral: whether spectral normalization keeps the largest singular value of each weight at 1.
        attention: shorter side of the feature map that is followed by self-attention; None: no self-attention.
        reference: number of reference examples of virtual batch norm.

    Raises:
        ValueError: if a number is out of range, or the shape is not that of an image or too small.

    >>> DCGANCritic((1, 28, 28), classes=3, width=8)(torch.zeros(4, 1, 28, 28), torch.tensor([0, 1, 2, 0])).shape
    torch.Size([4])
    """

    needs: ClassVar[tuple[Needs, ...]] = (
        Needs("reference", ("norm",), ("virtual",)),
        Needs("norm", ("levels",), off=(1,)),  # the first layer has no norm
    )

    def __init__(
        self,
        shape: Sequence[int],
        classes: int,
        width: int = 64,
        levels: int | None = None,
        norm: PlayerNorm | None = "batch",
        dropout: float = 0.0,
        minibatch: int = 0,
        spectral: bool = False,
        attention: int | None = None,
        reference: int = 64,
    ):
        super().__init__(shape, classes, reference if norm == "virtual" else 0)
        check_dropout(dropout)
        _, *sizes = map_sizes(shape, levels)
        check_attention(attention, sizes)
        channels = [shape[0], *_channels(width, len(sizes))]
        self.body = nn.Sequential()
        for size, (inputs, outputs) in zip(sizes, pairwise(channels), strict=True):
            layer_norm = norm if len(self.body) else None
            downsampling = nn.Conv2d(inputs, outputs, KERNEL, STRIDE, PADDING, bias=needs_bias(layer_norm))
            norm_layers = _norm_and_activation(outputs, layer_norm, reference, nn.LeakyReLU(LEAK, inplace=True))
            dropout_layers = [nn.Dropout(dropout)] if dropout else []
            self.body.append(
                nn.Sequential(downsampling, *norm_layers, *dropout_layers, *attention_layers(size, outputs, attention))
            )
        height, map_width = sizes[-1]
        self.build_score_layers(channels[-1] * height * map_width, minibatch, projected=True)
        _init_weights(self)
        if spectral:
            spectral_norm(self)

    def compute_features(
        self, x: Float[Tensor, "n *shape"], class_weights: Float[Tensor, "n classes"] | None
    ) -> Float[Tensor, "n d"]:
        """The flattened last feature map. Labels enter later."""
        return self.body(x).flatten(1)


def _channels(width: int, levels: int) -> list[int]:
    """Channels of each feature map, the largest map first."""
    check_width("width", width)
    return [width * 2**level for level in range(levels)]


def _norm_and_activation(
    channels: int, norm: PlayerNorm | None, reference: int, activation: nn.Module
) -> list[nn.Module]:
    return [*([normalization(norm, channels, reference, images=True)] if norm else []), activation]


def _upsampling(inputs: int, outputs: int, size: tuple[int, int], target: tuple[int, int], bias: bool) -> nn.Module:
    """A transposed convolution from one size to another, which is twice as large or one more."""
    output_padding = (target[0] - STRIDE * size[0], target[1] - STRIDE * size[1])
    return nn.ConvTranspose2d(inputs, outputs, KERNEL, STRIDE, PADDING, output_padding=output_padding, bias=bias)


def _init_weights(module: nn.Module) -> None:
    """Initialize weights as in the paper, and gains as in the published code of its authors."""
    for part in module.modules():
        if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            nn.init.normal_(part.weight, 0.0, DEVIATION)
        elif isinstance(part, (nn.BatchNorm2d, nn.GroupNorm, VirtualBatchNorm)):
            nn.init.normal_(part.weight, 1.0, DEVIATION)
        else:
            continue
        if part.bias is not None:
            nn.init.zeros_(part.bias)
