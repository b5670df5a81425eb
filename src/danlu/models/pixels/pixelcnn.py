"""PixelCNN."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from danlu.data.base.effects import Needs
from danlu.models.base import FromData
from danlu.models.pixels.base import COMPONENTS_NEED, PixelModel
from danlu.models.pixels.checks import check_network
from danlu.models.pixels.head import CachedHead, Head
from danlu.models.pixels.outputs import Output
from danlu.models.pixels.raster import Conditionals
from danlu.nn.masked.cached import ROW, CachedConvolution
from danlu.nn.masked.convolution import MaskedConv2d
from danlu.nn.masked.gated import class_bias, per_channel


class PixelCNN(PixelModel):
    r"""Masked convolutions with residual connections; each pixel depends on earlier ones in raster order.

    .. math:: p(x) = \prod_i p(x_i \mid x_1, \dots, x_{i-1})

    The first layer has mask A; it is followed by residual blocks of ReLU and masked convolutions 1×1, k×k and 1×1 with
    mask B, and by two 1×1 convolutions. The feature maps of images with several colors are divided into a group per
    color, and red comes before green before blue. With the output "logistic", a pixel is generated as a whole.
    van den Oord, Kalchbrenner and Kavukcuoglu, "Pixel recurrent neural networks", 2016, section 3 and table 1.

    Stacked masked convolutions have a blind spot: pixels above and to the right that have no influence, see
    ``visible_pixels``. ``GatedPixelCNN`` has none.

    The class enters each block as a value for each channel, as in equation 4 of van den Oord et al., "Conditional image
    generation with PixelCNN decoders", 2016.

    Args:
        shape: (colors, height, width) of one image.
        classes: number of classes of a class-conditional model, or 0.
        levels: number of levels of a color.
        range: lowest and highest level.
        layers: number of residual blocks.
        channels: channels of the k×k convolutions; the features between the blocks have twice as many.
        kernel: side k of the kernels, an odd number.
        first_kernel: side of the kernel of the first layer, an odd number.
        output: distribution of a color: "binary", "categorical" (softmax over all levels), "logistic" (mixture of
            discretized logistic distributions), "affine" (normal density), or "auto" (binary for images of 2 levels,
            else categorical).
        components: number of components of the mixture of "logistic".

    Raises:
        ValueError: if an argument is out of range, or the output does not fit the number of levels.

    >>> model = PixelCNN((1, 8, 8), levels=2, layers=2, channels=4)
    >>> model.sample(3).shape, model.log_prob(torch.zeros(2, 1, 8, 8)).shape
    (torch.Size([3, 1, 8, 8]), torch.Size([2]))
    """

    needs: ClassVar[tuple[Needs, ...]] = (COMPONENTS_NEED,)

    def __init__(
        self,
        shape: Sequence[int],
        classes: Annotated[int, FromData] = 0,
        levels: Annotated[int, FromData] = 256,
        range: Annotated[Sequence[float], FromData] = (0.0, 1.0),
        layers: int = 7,
        channels: int = 32,
        kernel: int = 3,
        first_kernel: int = 7,
        output: Output = "auto",
        components: int = 10,
    ):
        super().__init__(shape, classes, levels, range, output, components)
        groups = self.output.groups
        check_network(layers, channels, kernel, first_kernel, groups)
        self.first = MaskedConv2d(self.shape[0], 2 * channels, first_kernel, "A", groups)
        self.blocks = nn.ModuleList(_Block(channels, kernel, classes, groups) for _ in [None] * layers)
        self.head = Head(2 * channels, groups, self.output.units)
        self._kernels = (first_kernel, kernel)

    def compute_outputs(
        self, y: Float[Tensor, "n colors h w"], class_weights: Float[Tensor, "n classes"] | None
    ) -> Float[Tensor, "n groups units h w"]:
        features = self.first(y)
        for block in self.blocks:
            features = block(features, class_weights)
        return self.head(features)

    def cached_conditionals(self, n: int, class_weights: Float[Tensor, "n classes"] | None) -> Conditionals:
        return _CachedPixelCNN(self, n, class_weights)

    def visible_pixels(self) -> set[tuple[int, int]]:
        """The pixels that an output depends on, as (row, column) relative to its pixel, in an unbounded image.

        >>> sorted(PixelCNN((1, 8, 8), layers=1, channels=2, kernel=1, first_kernel=3).visible_pixels())
        [(-1, -1), (-1, 0), (-1, 1), (0, -1)]
        """
        first, later = (_neighbors(side // 2) for side in self._kernels)
        field = first
        for _ in self.blocks:
            field = {(a + c, b + d) for a, b in field for c, d in later | {(0, 0)}}
        return field


def _neighbors(reach: int) -> set[tuple[int, int]]:
    """The pixels within a square that come before its center."""
    columns = range(-reach, reach + 1)
    return {(row, column) for row in range(-reach, 1) for column in columns if (row, column) < (0, 0)}


class _Block(nn.Module):
    """A residual block (van den Oord et al., 2016, figure 5, left)."""

    def __init__(self, channels: int, kernel: int, classes: int, groups: int):
        super().__init__()
        self.reduce = MaskedConv2d(2 * channels, channels, 1, "B", groups)
        self.convolution = MaskedConv2d(channels, channels, kernel, "B", groups)
        self.expand = MaskedConv2d(channels, 2 * channels, 1, "B", groups)
        self.class_bias = class_bias(classes, channels) if classes else None

    def forward(
        self, x: Float[Tensor, "n c h w"], class_weights: Float[Tensor, "n classes"] | None
    ) -> Float[Tensor, "n c h w"]:
        hidden = self.convolution(self.reduce(x.relu()).relu())
        if self.class_bias is not None:
            hidden = hidden + per_channel(self.class_bias(class_weights))
        return x + self.expand(hidden.relu())


class _CachedPixelCNN:
    """The outputs of a PixelCNN in raster order. Rows of the inputs of k×k convolutions are kept."""

    def __init__(self, model: PixelCNN, n: int, class_weights: Tensor | None):
        width = model.shape[2]
        self.groups = model.output.groups
        self.first, self.head = CachedConvolution(model.first, n, width), CachedHead(model.head, n, width)
        blocks: list[_Block] = list(model.blocks)  # type: ignore[arg-type]
        self.blocks = [
            [CachedConvolution(layer, n, width) for layer in (block.reduce, block.convolution, block.expand)]
            for block in blocks
        ]
        self.addends = [
            None if block.class_bias is None else block.class_bias(class_weights)[:, None] for block in blocks
        ]

    def start_row(self, row: int) -> None:
        self.first.start_row()
        for (_, convolution, _), addend in zip(self.blocks, self.addends, strict=True):
            convolution.start_row(addend)

    def outputs(self, column: int, group: int) -> Float[Tensor, "n units"]:
        return self.head(self._features(column, (group,))[0], column, group)

    def write(self, column: int, color: int, values: Float[Tensor, "n"]) -> None:
        self.first.write_channel(column, color, values)

    def write_row(self, values: Float[Tensor, "n colors w"]) -> None:
        self.first.write_channels(values)
        self._features(ROW, range(self.groups))

    def _features(self, column: int, groups: Sequence[int]) -> list[Tensor]:
        """Compute the features of color groups, and keep those that later pixels need.

        Groups of a row are computed layer by layer, because a pixel depends on all groups of the pixel to the left.
        """
        features = [self.first(column, group) for group in groups]
        for reduce, convolution, expand in self.blocks:
            for group, values in zip(groups, features, strict=True):
                torch.clamp_min(values, 0, out=reduce.write(column, group))
            for layer, following in ((reduce, convolution), (convolution, expand)):
                for group in groups:
                    layer(column, group, out=following.write(column, group)).relu_()
            features = [expand(column, group).add_(features[i]) for i, group in enumerate(groups)]
        return features
