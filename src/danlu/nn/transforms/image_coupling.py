"""Transforms of images: couplings in the pattern of a checkerboard, squeezing, and the network of image couplings."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from danlu.nn.context import check_context
from danlu.nn.dense import check_width
from danlu.nn.roles import output_layer, set_role
from danlu.nn.transforms.coupling import BuildNetwork, zero_initialized
from danlu.nn.transforms.transform import Transform


class WeightNormConv2d(nn.Conv2d):
    r"""A convolution whose weights have a direction v and a norm g for each output channel, :math:`w = g v / \|v\|`.

    Salimans and Kingma, "Weight normalization", 2016, equation 2. At first g is the norm of v.

    >>> WeightNormConv2d(1, 2, 3, padding=1)(torch.zeros(4, 1, 8, 8)).shape
    torch.Size([4, 2, 8, 8])
    """

    def __init__(self, inputs: int, outputs: int, kernel_size: int, padding: int = 0):
        super().__init__(inputs, outputs, kernel_size, padding=padding)
        self.norm = nn.Parameter(torch.ones(outputs, 1, 1, 1))
        if not self.weight.is_meta:
            with torch.no_grad():
                self.norm.copy_(self._norms())

    def forward(self, input: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h w"]:
        return self._conv_forward(input, self.weight * (self.norm / self._norms()), self.bias)

    def _norms(self) -> Tensor:
        return self.weight.square().sum((1, 2, 3), keepdim=True).sqrt()


class CouplingResNet(nn.Module):
    """The network of a coupling of images: residual blocks with weight normalization; outputs 0 before the training.

    A context adds a value to each channel after the first convolution. Dinh et al., "Density estimation using Real
    NVP", 2017, section 3.3; batch normalization inside the network is left out.

    Args:
        inputs: number of input channels.
        outputs: number of output channels.
        width: number of channels of the blocks.
        blocks: number of residual blocks of two 3×3 convolutions.
        context: size of the context, or 0.

    >>> CouplingResNet(1, 2, width=8)(torch.zeros(5, 1, 4, 4)).shape
    torch.Size([5, 2, 4, 4])
    """

    def __init__(self, inputs: int, outputs: int, width: int = 32, blocks: int = 2, context: int = 0):
        super().__init__()
        check_width("width", width)
        check_width("blocks", blocks)
        self.first = WeightNormConv2d(inputs, width, 3, padding=1)
        self.label = set_role(nn.Linear(context, width, bias=False), "embedding") if context else None
        self.blocks = nn.ModuleList(
            nn.ModuleList(WeightNormConv2d(width, width, 3, padding=1) for _ in range(2)) for _ in range(blocks)
        )
        self.last = zero_initialized(output_layer(nn.Conv2d(width, outputs, 1)))

    def forward(
        self, x: Float[Tensor, "n c h w"], context: Float[Tensor, "n k"] | None = None
    ) -> Float[Tensor, "n d h w"]:
        """The outputs at each position.

        Raises:
            ValueError: if a context is missing, or the network takes none.
        """
        check_context(self.label is not None, context)
        h = self.first(x)
        if self.label is not None and context is not None:
            h = h + self.label(context)[:, :, None, None]
        for first, second in self.blocks:  # type: ignore[misc]
            h = h + second(F.relu(first(F.relu(h))))
        return self.last(F.relu(h))


class CheckerboardCoupling(Transform):
    r"""An affine coupling of images: the dark pixels of a checkerboard stay, and the light ones depend on them.

    .. math:: z = b \odot x + (1 - b) \odot (x \odot e^{s(b \odot x)} + t(b \odot x))

    with s bounded as in ``Coupling``. Dinh et al., "Density estimation using Real NVP", 2017, equation 9 and section
    3.4. The mask b is a further input channel of the network, so that it tells hidden pixels from pixels of value 0.

    Args:
        channels: number of channels.
        size: height and width of an image.
        build: creates the network from its numbers of input and output channels.
        swap: whether the dark pixels are changed instead of the light ones.

    >>> coupling = CheckerboardCoupling(1, (2, 3), CouplingResNet)
    >>> coupling.mask[0]
    tensor([[1., 0., 1.],
            [0., 1., 0.]])
    """

    mask: Tensor

    def __init__(self, channels: int, size: tuple[int, int], build: BuildNetwork, swap: bool = False):
        super().__init__()
        height, width = size
        dark = [[float((row + column) % 2 == swap) for column in range(width)] for row in range(height)]
        self.register_buffer("mask", torch.tensor([dark]), persistent=False)
        self.network = build(channels + 1, 2 * channels)
        self.limit = nn.Parameter(torch.ones(channels, 1, 1))

    def forward(
        self, x: Float[Tensor, "n c h w"], context: Float[Tensor, "n k"] | None = None
    ) -> tuple[Float[Tensor, "n c h w"], Float[Tensor, "n"]]:
        """Scale and shift the light pixels."""
        log_scale, shift = self._scale_and_shift(x, context)
        return torch.addcmul(shift, x, log_scale.exp()), log_scale.flatten(1).sum(1)

    def inverse(
        self, z: Float[Tensor, "n c h w"], context: Float[Tensor, "n k"] | None = None
    ) -> tuple[Float[Tensor, "n c h w"], Float[Tensor, "n"]]:
        """Remove shift and scale, which depend on the dark pixels."""
        log_scale, shift = self._scale_and_shift(z, context)
        return (z - shift) * (-log_scale).exp(), -log_scale.flatten(1).sum(1)

    def _scale_and_shift(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Log-scale and shift: 0 at dark pixels."""
        visible = torch.cat([x * self.mask, self.mask.expand(x.shape[0], -1, -1, -1)], 1)
        raw, shift = self.network(visible, context).to(x.dtype).chunk(2, 1)
        light = 1 - self.mask
        return self.limit * light * raw.tanh(), light * shift


class Squeeze(Transform):
    """Turn each block of 2×2 pixels into channels: (c, h, w) becomes (4 c, h / 2, w / 2). The log-determinant is 0.

    The first half of the channels are the two pixels on the main diagonal of each block, so it holds the dark pixels of
    a checkerboard. Dinh et al., "Density estimation using Real NVP", 2017, section 3.6.

    >>> Squeeze()(torch.arange(4.0).view(1, 1, 2, 2))[0].flatten()
    tensor([0., 3., 1., 2.])
    """

    def forward(
        self, x: Float[Tensor, "n c h w"], context: Tensor | None = None
    ) -> tuple[Float[Tensor, "n d i j"], Float[Tensor, "n"]]:
        """From pixels to channels."""
        a, b, c, d = (x[:, :, i::2, j::2] for i, j in ((0, 0), (1, 1), (0, 1), (1, 0)))
        return torch.cat([a, b, c, d], 1), x.new_zeros(x.shape[0])

    def inverse(
        self, z: Float[Tensor, "n d i j"], context: Tensor | None = None
    ) -> tuple[Float[Tensor, "n c h w"], Float[Tensor, "n"]]:
        """From channels to pixels."""
        a, b, c, d = z.chunk(4, 1)
        rows = [torch.stack(pair, 4).flatten(3) for pair in ((a, c), (d, b))]
        return torch.stack(rows, 3).flatten(2, 3), z.new_zeros(z.shape[0])
