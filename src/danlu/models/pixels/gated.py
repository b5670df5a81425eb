"""Gated PixelCNN."""

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
from danlu.nn.masked.cached import ROW, CachedConvolution, CachedVertical
from danlu.nn.masked.gated import GatedLayer


class GatedPixelCNN(PixelModel):
    r"""PixelCNN with gated units and two stacks of convolutions; each pixel depends on all earlier ones in reach.

    .. math:: p(x \mid y) = \prod_i p(x_i \mid x_1, \dots, x_{i-1}, y)

    The vertical stack sees the rows above, the horizontal stack the row of the pixel; see ``danlu.nn.GatedLayer``.
    Together they see a whole rectangle, so that there is no blind spot. The feature maps of the horizontal stack of
    images with several colors are divided into a group per color, and red comes before green before blue. With the
    output "logistic", a pixel is generated as a whole. Two 1×1 convolutions follow the stacks, as in ``PixelCNN``.
    van den Oord, Kalchbrenner, Vinyals, Espeholt, Graves and Kavukcuoglu, "Conditional image generation with PixelCNN
    decoders", 2016, section 2.

    Args:
        shape: (colors, height, width) of one image.
        classes: number of classes of a class-conditional model, or 0.
        levels: number of levels of a color.
        range: lowest and highest level.
        layers: number of gated layers.
        channels: channels of each stack.
        kernel: side of the kernels, an odd number of at least 3.
        first_kernel: side of the kernel of the first layer, an odd number of at least 3.
        output: distribution of a color: "binary", "categorical" (softmax over all levels), "logistic" (mixture of
            discretized logistic distributions), "affine" (normal density), or "auto" (binary for images of 2 levels,
            else categorical).
        components: number of components of the mixture of "logistic".

    Raises:
        ValueError: if an argument is out of range, or the output does not fit the number of levels.

    >>> model = GatedPixelCNN((3, 8, 8), classes=10, layers=2, channels=6)
    >>> labels = torch.tensor([1, 7])
    >>> model.log_prob(torch.zeros(2, 3, 8, 8), labels).shape, model.visible_pixels().issuperset({(-4, 4)})
    (torch.Size([2]), True)
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
        check_network(layers, channels, kernel, first_kernel, groups, least_kernel=3)
        inputs, kernels = [self.shape[0]] + [channels] * (layers - 1), [first_kernel] + [kernel] * (layers - 1)
        self.layers = nn.ModuleList(
            GatedLayer(inputs[i], channels, kernels[i], classes, groups, first=i == 0, last=i == layers - 1)
            for i, _ in enumerate(inputs)
        )
        self.head = Head(channels, groups, self.output.units)
        self._reach = sum(side // 2 for side in kernels)

    def compute_outputs(
        self, y: Float[Tensor, "n colors h w"], class_weights: Float[Tensor, "n classes"] | None
    ) -> Float[Tensor, "n groups units h w"]:
        vertical = horizontal = y
        for layer in self.layers:
            vertical, horizontal = layer(vertical, horizontal, class_weights)
        return self.head(horizontal)

    def cached_conditionals(self, n: int, class_weights: Float[Tensor, "n classes"] | None) -> Conditionals:
        return _CachedGatedPixelCNN(self, n, class_weights)

    def visible_pixels(self) -> set[tuple[int, int]]:
        """The pixels that an output depends on, as (row, column) relative to its pixel, in an unbounded image.

        >>> sorted(GatedPixelCNN((1, 8, 8), layers=1, channels=2, first_kernel=3).visible_pixels())
        [(-1, -1), (-1, 0), (-1, 1), (0, -1)]
        """
        reach = self._reach
        above = {(row, column) for row in range(-reach, 0) for column in range(-reach, reach + 1)}
        return above | {(0, column) for column in range(-reach, 0)}


class _CachedGatedPixelCNN:
    """The outputs of a Gated PixelCNN in raster order.

    The vertical stack is computed for a whole row when it begins, and the horizontal stack pixel by pixel.
    """

    def __init__(self, model: GatedPixelCNN, n: int, class_weights: Tensor | None):
        width = model.shape[2]
        self.groups, self.class_weights = model.output.groups, class_weights
        self.layers: list[GatedLayer] = list(model.layers)  # type: ignore[arg-type]
        self.vertical = [CachedVertical(layer.vertical, n, width) for layer in self.layers]
        self.horizontal = [CachedConvolution(layer.horizontal, n, width) for layer in self.layers]
        self.projection = [CachedConvolution(layer.projection, n, width) for layer in self.layers]
        self.head = CachedHead(model.head, n, width)

    def start_row(self, row: int) -> None:
        above = self.horizontal[0].read_channels()  # the image row above, or 0 before the first row
        for layer, convolution, horizontal in zip(self.layers, self.vertical, self.horizontal, strict=True):
            vertical = convolution(above)
            addend = layer.link(vertical)[:, :, 0].transpose(1, 2)
            if layer.horizontal_class is not None:
                addend = addend + layer.horizontal_class(self.class_weights)[:, None]
            horizontal.start_row(addend)
            following = layer.gate_vertical(vertical, self.class_weights)
            if following is not None:
                above = following[:, :, 0]

    def outputs(self, column: int, group: int) -> Float[Tensor, "n units"]:
        return self.head(self._features(column, (group,))[0], column, group)

    def write(self, column: int, color: int, values: Float[Tensor, "n"]) -> None:
        self.horizontal[0].write_channel(column, color, values)

    def write_row(self, values: Float[Tensor, "n colors w"]) -> None:
        self.horizontal[0].write_channels(values)
        self._features(ROW, range(self.groups))

    def _features(self, column: int, groups: Sequence[int]) -> list[Tensor]:
        """Compute the features of color groups, and keep those that later pixels need.

        Groups of a row are computed layer by layer, because a pixel depends on all groups of the pixel to the left.
        """
        features: list[Tensor] = []
        for horizontal, projection in zip(self.horizontal, self.projection, strict=True):
            for group, values in zip(groups, features, strict=False):  # the first layer has the image
                horizontal.write(column, group).copy_(values)
            for group in groups:
                f, g = horizontal(column, group).chunk(2, -1)
                torch.mul(f.tanh(), g.sigmoid(), out=projection.write(column, group))
            projected = [projection(column, group) for group in groups]
            for values, before in zip(projected, features, strict=False):
                values.add_(before)
            features = projected
        return features
