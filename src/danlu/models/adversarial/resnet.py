"""Generator and critic with residual blocks, for images."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar, Literal, get_args

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from danlu.data.base.effects import Needs
from danlu.models.adversarial.base import Critic, Generator, PlayerNorm, concat_labels, needs_bias, normalization
from danlu.models.adversarial.image_sizes import attention_layers, check_attention, map_sizes
from danlu.nn.conv.residual import conv
from danlu.nn.dense import check_width
from danlu.nn.linear import Linear
from danlu.nn.norm.conditional_batch import ConditionalBatchNorm
from danlu.nn.norm.spectral import spectral_norm
from danlu.nn.roles import output_layer

Pooling = Literal["sum", "mean"]


class ResNetGenerator(Generator):
    """A projection of the code to a small feature map, then residual blocks that double its size.

    Gulrajani et al., "Improved training of Wasserstein GANs", 2017, appendix F, whose network for 32×32 pixels has
    three blocks of width 128; Miyato et al., "Spectral normalization for generative adversarial networks", 2018, table
    4, have width 256. Larger images get more blocks of the same width. As in both papers, labels enter through
    conditional batch norm. With another norm, or without one, a one-hot label is concatenated to the code.

    Args:
        shape: (channels, height, width) of one image.
        classes: number of labels of a conditional network, or 0.
        range: smallest and largest value of an image; None omits the tanh.
        latent: dimension of the latent.
        width: channels of every map.
        norm: normalization before each activation: "batch", "layer" or "virtual"; None for none.
        attention: shorter side of the feature map that is followed by self-attention; None for none.
        reference: number of reference codes of virtual batch norm.

    Raises:
        ValueError: if a number is out of range, or the shape is not that of an image or too small.

    >>> ResNetGenerator((3, 32, 32), classes=0, range=(0.0, 1.0), width=8).sample(2).shape
    torch.Size([2, 3, 32, 32])
    """

    needs: ClassVar[tuple[Needs, ...]] = (Needs("reference", ("norm",), ("virtual",)),)

    def __init__(
        self,
        shape: Sequence[int],
        classes: int,
        range: Sequence[float] | None,
        latent: int = 128,
        width: int = 128,
        norm: PlayerNorm | None = "batch",
        attention: int | None = None,
        reference: int = 64,
    ):
        super().__init__(shape, classes, range, latent, reference if norm == "virtual" else 0)
        check_width("width", width)
        sizes = map_sizes(shape)[::-1]
        check_attention(attention, sizes)
        height, map_width = sizes[0]
        self.label_classes = classes if norm == "batch" else 0
        self.first = nn.Sequential(
            Linear(latent + classes - self.label_classes, width * height * map_width),
            nn.Unflatten(1, (width, height, map_width)),
            *attention_layers(sizes[0], width, attention),
        )
        self.body = nn.Sequential()
        for previous, size in pairwise(sizes):
            self.body.append(_Block(width, width, norm, reference, previous, size, classes=self.label_classes))
            self.body.extend(attention_layers(size, width, attention))
        self.last = nn.Sequential(
            *_norm_and_relu(norm, width, reference, classes=self.label_classes),
            output_layer(conv(width, shape[0], 3, bias=True)),
        )
        _init_weights(self)

    def generate(
        self, z: Float[Tensor, "n latent"], class_weights: Float[Tensor, "n classes"] | None
    ) -> Float[Tensor, "n ..."]:
        """The images generated from codes, before tanh."""
        x = self.first(z if self.label_classes else concat_labels(z, class_weights))
        return _apply_layers(self.last, _apply_layers(self.body, x, class_weights), class_weights)


class ResNetCritic(Critic):
    """Residual blocks that halve the image, two more that keep the size, and a sum over the positions.

    Gulrajani et al., 2017, appendix F, and Miyato et al., 2018, table 4: two blocks that halve 32×32 pixels, all of
    width 128. Larger images get more of them. The critic of the first paper takes the mean over the positions,
    that of the second the sum. A label enters as a projection (Miyato and Koyama, 2018).

    Args:
        shape: (channels, height, width) of one image.
        classes: number of labels of a conditional network, or 0.
        width: channels of every map.
        norm: normalization before each activation except in the first block and before the last activation: "batch",
            "layer" or "virtual"; None for none.
        minibatch: number of kernels of minibatch discrimination, or 0.
        spectral: whether spectral normalization keeps the largest singular value of each weight at 1.
        pooling: "sum" or "mean" over the positions of the last feature map.
        attention: shorter side of the feature map that is followed by self-attention; None for none.
        reference: number of reference examples of virtual batch norm.

    Raises:
        ValueError: if a number is out of range, or the shape is not that of an image or too small.

    >>> ResNetCritic((3, 32, 32), classes=3, width=8)(torch.zeros(2, 3, 32, 32), torch.tensor([0, 1])).shape
    torch.Size([2])
    """

    needs: ClassVar[tuple[Needs, ...]] = (Needs("reference", ("norm",), ("virtual",)),)

    def __init__(
        self,
        shape: Sequence[int],
        classes: int,
        width: int = 128,
        norm: PlayerNorm | None = None,
        minibatch: int = 0,
        spectral: bool = False,
        pooling: Pooling = "sum",
        attention: int | None = None,
        reference: int = 64,
    ):
        super().__init__(shape, classes, reference if norm == "virtual" else 0)
        check_width("width", width)
        if pooling not in get_args(Pooling):
            raise ValueError(f"pooling={pooling!r} is unknown; choose sum or mean")
        sizes = map_sizes(shape)[:-1]  # the last map here is twice as large as the first map of the generator
        check_attention(attention, sizes[1:])
        self.pooling = pooling
        self.body = nn.Sequential(
            _Block(shape[0], width, None, reference, *sizes[:2], first=True),
            *attention_layers(sizes[1], width, attention),
        )
        for previous, size in pairwise(sizes[1:]):
            self.body.append(_Block(width, width, norm, reference, previous, size))
            self.body.extend(attention_layers(size, width, attention))
        for _ in range(2):
            self.body.append(_Block(width, width, norm, reference, sizes[-1], sizes[-1]))
        self.body.append(nn.ReLU(inplace=True))
        self.build_score_layers(width, minibatch, projected=True)
        _init_weights(self)
        if spectral:
            spectral_norm(self)

    def compute_features(
        self, x: Float[Tensor, "n *shape"], class_weights: Float[Tensor, "n classes"] | None
    ) -> Float[Tensor, "n d"]:
        """The sum or mean of the last feature map over positions. Labels enter later."""
        h = self.body(x)
        return h.sum((2, 3)) if self.pooling == "sum" else h.mean((2, 3))


class _Block(nn.Module):
    r"""A residual block that may double the size by nearest-neighbor upsampling or halve it by average pooling.

    .. math:: y = S(x) + W_2 \, \sigma N_2 \, W_1 \, \sigma N_1 (x)

    S is a 1×1 convolution if size or channels change, else the identity. It is computed at the smaller of the two
    sizes, because it commutes with upsampling and average pooling.

    Args:
        inputs: input channels.
        outputs: output channels.
        norm: N₁ and N₂, or None.
        reference: number of reference examples of virtual batch norm.
        size: height and width of the input.
        target: height and width of the output.
        first: whether the input is an image, which gets no normalization and no ReLU.
        classes: number of labels of conditional batch norm, or 0.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        norm: PlayerNorm | None,
        reference: int,
        size: tuple[int, int],
        target: tuple[int, int],
        first: bool = False,
        classes: int = 0,
    ):
        super().__init__()
        self.larger, self.smaller = target > size, target < size
        self.target = target
        norm_layers = [] if first else _norm_and_relu(norm, inputs, reference, shared=True, classes=classes)
        self.before1 = nn.Sequential(*norm_layers)
        self.conv1 = conv(inputs, outputs, 3, bias=needs_bias(norm))
        self.before2 = nn.Sequential(*_norm_and_relu(norm, outputs, reference, classes=classes))
        self.conv2 = conv(outputs, outputs, 3, bias=True)
        unchanged = size == target and inputs == outputs
        self.shortcut = nn.Identity() if unchanged else conv(inputs, outputs, 1, bias=True)

    def forward(
        self, x: Float[Tensor, "n c h w"], class_weights: Float[Tensor, "n classes"] | None = None
    ) -> Float[Tensor, "n d i j"]:
        h = _apply_layers(self.before1, x, class_weights)
        if self.larger:
            h = F.interpolate(h, self.target)
        h = self.conv2(_apply_layers(self.before2, self.conv1(h), class_weights))
        if self.smaller:
            h, x = F.avg_pool2d(h, 2), F.avg_pool2d(x, 2)
        shortcut = self.shortcut(x)
        return h + (F.interpolate(shortcut, self.target) if self.larger else shortcut)


def _apply_layers(layers: nn.Sequential, x: Tensor, class_weights: Tensor | None) -> Tensor:
    """Apply layers in sequence; some of them take labels."""
    for layer in layers:
        x = layer(x, class_weights) if isinstance(layer, (_Block, ConditionalBatchNorm)) else layer(x)
    return x


def _norm_and_relu(
    norm: PlayerNorm | None, channels: int, reference: int, shared: bool = False, classes: int = 0
) -> list[nn.Module]:
    """Normalization and ReLU before a convolution. The ReLU works in place unless its input is also used elsewhere."""
    if norm is None:
        return [nn.ReLU(inplace=not shared)]
    return [normalization(norm, channels, reference, images=True, classes=classes), nn.ReLU(inplace=True)]


def _init_weights(module: nn.Module) -> None:
    """Initialize as in the code of both papers: Glorot, times √2 for convolutions within blocks; biases are 0."""
    for part in module.modules():
        if isinstance(part, (nn.Conv2d, nn.Linear)):
            nn.init.xavier_uniform_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
    for part in module.modules():
        if isinstance(part, _Block):
            for layer in (part.conv1, part.conv2):
                nn.init.xavier_uniform_(layer.weight, 2**0.5)
