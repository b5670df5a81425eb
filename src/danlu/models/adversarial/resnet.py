"""Generator and critic of residual blocks, for pictures."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, get_args

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from danlu.models.adversarial.base import Critic, Generator, PlayerNorm, concat_labels, needs_bias, normalization
from danlu.models.adversarial.image_sizes import attended, check_attention, map_sizes
from danlu.nn.conv.residual import conv
from danlu.nn.dense import check_width
from danlu.nn.linear import Linear
from danlu.nn.norm.conditional_batch import ConditionalBatchNorm
from danlu.nn.norm.spectral import spectral_norm

Pooling = Literal["sum", "mean"]


class ResNetGenerator(Generator):
    """A projection of the code to a small map, then residual blocks that double it.

    Gulrajani et al., "Improved training of Wasserstein GANs", 2017, appendix F, whose network for 32×32 pixels has
    three blocks of width 128; Miyato et al., "Spectral normalization for generative adversarial networks", 2018, table
    4, have width 256. Larger pictures get more blocks of the same width. As in both papers, a label chooses the gains
    and shifts of batch norm; with another norm, or none, it stands beside the code.

    Args:
        shape: (channels, height, width) of one picture.
        classes: number of labels that it is told, or 0.
        range: smallest and largest value of a picture; none leaves out the tanh.
        latent: length of a code.
        width: channels of every map.
        norm: normalization before each activation: batch, layer or virtual; none to leave it out.
        attention: shorter side of the map behind which positions attend to each other; none to leave it out.
        reference: number of codes by which virtual batch norm goes.

    Raises:
        ValueError: if a number is out of range, or it is no picture, or a small one.

    >>> ResNetGenerator((3, 32, 32), classes=0, range=(0.0, 1.0), width=8).sample(2).shape
    torch.Size([2, 3, 32, 32])
    """

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
        height, across = sizes[0]
        self.choosing = classes if norm == "batch" else 0
        self.first = nn.Sequential(
            Linear(latent + classes - self.choosing, width * height * across),
            nn.Unflatten(1, (width, height, across)),
            *attended(sizes[0], width, attention),
        )
        self.body = nn.Sequential()
        for before, size in pairwise(sizes):
            self.body.append(_Block(width, width, norm, reference, before, size, classes=self.choosing))
            self.body.extend(attended(size, width, attention))
        self.last = nn.Sequential(
            *_before(norm, width, reference, classes=self.choosing), conv(width, shape[0], 3, bias=True)
        )
        _start(self)

    def made(self, z: Float[Tensor, "n latent"], shares: Float[Tensor, "n classes"] | None) -> Float[Tensor, "n ..."]:
        """The pictures of codes, before tanh."""
        x = self.first(z if self.choosing else concat_labels(z, shares))
        return _through(self.last, _through(self.body, x, shares), shares)


class ResNetCritic(Critic):
    """Residual blocks that halve the picture, two more that do not, and a sum over the positions.

    Gulrajani et al., 2017, appendix F, and Miyato et al., 2018, table 4: two blocks that halve 32×32 pixels, all of
    width 128; larger pictures get more of them. The first paper's critic takes the mean over the positions, the
    second's the sum. A label enters as a projection (Miyato and Koyama, 2018).

    Args:
        shape: (channels, height, width) of one picture.
        classes: number of labels that it is told, or 0.
        width: channels of every map.
        norm: normalization before each activation but those of the first block and the last: batch, layer or virtual.
        minibatch: kernels of minibatch discrimination, or 0.
        spectral: whether the largest singular value of each weight is held at 1.
        pooling: what the features are of the positions of the last map, "sum" or "mean".
        attention: shorter side of the map behind which positions attend to each other; none to leave it out.
        reference: number of examples by which virtual batch norm goes.

    Raises:
        ValueError: if a number is out of range, or it is no picture, or a small one.

    >>> ResNetCritic((3, 32, 32), classes=3, width=8)(torch.zeros(2, 3, 32, 32), torch.tensor([0, 1])).shape
    torch.Size([2])
    """

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
        sizes = map_sizes(shape)[:-1]  # the generator begins with a map half as large as the last one here
        check_attention(attention, sizes[1:])
        self.pooling = pooling
        self.body = nn.Sequential(
            _Block(shape[0], width, None, reference, *sizes[:2], first=True),
            *attended(sizes[1], width, attention),
        )
        for before, size in pairwise(sizes[1:]):
            self.body.append(_Block(width, width, norm, reference, before, size))
            self.body.extend(attended(size, width, attention))
        for _ in range(2):
            self.body.append(_Block(width, width, norm, reference, sizes[-1], sizes[-1]))
        self.body.append(nn.ReLU(inplace=True))
        self.score_with(width, minibatch, projected=True)
        _start(self)
        if spectral:
            spectral_norm(self)

    def read(self, x: Float[Tensor, "n *shape"], shares: Float[Tensor, "n classes"] | None) -> Float[Tensor, "n d"]:
        """The sum or the mean of the last map; the labels come later."""
        h = self.body(x)
        return h.sum((2, 3)) if self.pooling == "sum" else h.mean((2, 3))


class _Block(nn.Module):
    r"""A residual block that may change the size: nearest neighbors before its convolutions, or means behind them.

    .. math:: y = S(x) + W_2 \, \sigma N_2 \, W_1 \, \sigma N_1 (x)

    S is a convolution of 1×1, where size or channels change. It is taken at the smaller of the two sizes: it says the
    same before as behind nearest neighbors or means.

    Args:
        inputs: channels that come in.
        outputs: channels that go out.
        norm: N₁ and N₂, or none.
        reference: number of reference examples of virtual batch norm.
        size: of the map that comes in.
        target: of the map that goes out.
        first: whether the input is a picture, which is neither normalized nor rectified.
        classes: number of labels that choose the gains and shifts of batch norm, or 0.
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
        before = [] if first else _before(norm, inputs, reference, shared=True, classes=classes)
        self.before1 = nn.Sequential(*before)
        self.conv1 = conv(inputs, outputs, 3, bias=needs_bias(norm))
        self.before2 = nn.Sequential(*_before(norm, outputs, reference, classes=classes))
        self.conv2 = conv(outputs, outputs, 3, bias=True)
        same = size == target and inputs == outputs
        self.shortcut = nn.Identity() if same else conv(inputs, outputs, 1, bias=True)

    def forward(
        self, x: Float[Tensor, "n c h w"], shares: Float[Tensor, "n classes"] | None = None
    ) -> Float[Tensor, "n d i j"]:
        h = _through(self.before1, x, shares)
        if self.larger:
            h = F.interpolate(h, self.target)
        h = self.conv2(_through(self.before2, self.conv1(h), shares))
        if self.smaller:
            h, x = F.avg_pool2d(h, 2), F.avg_pool2d(x, 2)
        around = self.shortcut(x)
        return h + (F.interpolate(around, self.target) if self.larger else around)


def _through(layers: nn.Sequential, x: Tensor, shares: Tensor | None) -> Tensor:
    """Layers one after the other, of which some look at the labels."""
    for layer in layers:
        x = layer(x, shares) if isinstance(layer, (_Block, ConditionalBatchNorm)) else layer(x)
    return x


def _before(
    norm: PlayerNorm | None, channels: int, reference: int, shared: bool = False, classes: int = 0
) -> list[nn.Module]:
    """What comes before a convolution; a rectifier overwrites its input, unless others read that, too."""
    if norm is None:
        return [nn.ReLU(inplace=not shared)]
    return [normalization(norm, channels, reference, images=True, classes=classes), nn.ReLU(inplace=True)]


def _start(module: nn.Module) -> None:
    """Initial weights as in the code of both papers: Glorot's, and √2 times those within blocks; biases are 0."""
    for part in module.modules():
        if isinstance(part, (nn.Conv2d, nn.Linear)):
            nn.init.xavier_uniform_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
    for part in module.modules():
        if isinstance(part, _Block):
            for layer in (part.conv1, part.conv2):
                nn.init.xavier_uniform_(layer.weight, 2**0.5)
