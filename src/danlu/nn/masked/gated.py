"""Gated masked convolutions in a vertical and a horizontal stack, which together have no blind spot."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from danlu.nn.masked.convolution import MaskedConv2d, VerticalConv2d
from danlu.nn.roles import set_role


def gate(x: Float[Tensor, "n channels *size"]) -> Float[Tensor, "n channels/2 *size"]:
    r"""Gated activation: :math:`\tanh(f) \circ \sigma(g)`, with f and g the first and the second half of the channels.

    van den Oord et al., "Conditional image generation with PixelCNN decoders", 2016, equation 2.

    >>> gate(torch.tensor([[100.0, 0.0]]))
    tensor([[0.5000]])
    """
    f, g = x.chunk(2, 1)
    return f.tanh() * g.sigmoid()


class GatedLayer(nn.Module):
    r"""A layer of the vertical stack and of the horizontal stack of Gated PixelCNN.

    The vertical stack v sees all rows above, the horizontal stack h the same row up to the pixel. The convolution of v
    is added to that of h through a 1×1 convolution, and the class y to both:

    .. math:: a = W_v * v, \qquad v' = \operatorname{gate}(a + V_v^\top y), \qquad
        h' = U * \operatorname{gate}(W_h * h + L * a + V_h^\top y) + h

    The first layer has no shortcut, because its input is the image; the last one has no output v', which nothing needs.
    van den Oord et al., "Conditional image generation with PixelCNN decoders", 2016, figure 2 and equation 4.

    Args:
        inputs: channels of the input: of the image in the first layer, else of the stacks.
        channels: channels of each stack.
        kernel: side of the kernel, an odd number of at least 3.
        classes: number of classes, or 0.
        groups: number of color groups.
        first: whether the input is the image.
        last: whether no layer follows.

    Raises:
        ValueError: if a number is out of range.

    >>> layer = GatedLayer(1, 4, kernel=3, first=True)
    >>> v, h = layer(torch.zeros(2, 1, 5, 6), torch.zeros(2, 1, 5, 6), None)
    >>> v.shape, h.shape
    (torch.Size([2, 4, 5, 6]), torch.Size([2, 4, 5, 6]))
    """

    def __init__(
        self,
        inputs: int,
        channels: int,
        kernel: int,
        classes: int = 0,
        groups: int = 1,
        first: bool = False,
        last: bool = False,
    ):
        super().__init__()
        self.first, self.last = first, last
        gates = 2 * channels
        self.vertical = VerticalConv2d(inputs, gates, kernel, first)
        self.link = nn.Conv2d(gates, gates, 1, bias=False)
        mask = "A" if first else "B"
        self.horizontal = MaskedConv2d(inputs, gates, kernel, mask, groups, above=False, parts=2)
        self.projection = MaskedConv2d(channels, channels, 1, "B", groups)
        self.vertical_class = class_bias(classes, gates) if classes and not last else None
        self.horizontal_class = class_bias(classes, gates) if classes else None

    def forward(
        self,
        v: Float[Tensor, "n inputs h w"],
        h: Float[Tensor, "n inputs h w"],
        class_weights: Float[Tensor, "n classes"] | None,
    ) -> tuple[Float[Tensor, "n channels h w"] | None, Float[Tensor, "n channels h w"]]:
        """The outputs v' (None from the last layer) and h' of both stacks."""
        vertical = self.vertical(v)
        horizontal = self.horizontal(h) + self.link(vertical)
        if self.horizontal_class is not None:
            horizontal = horizontal + per_channel(self.horizontal_class(class_weights))
        projected = self.projection(gate(horizontal))
        return self.gate_vertical(vertical, class_weights), projected if self.first else projected + h

    def gate_vertical(
        self, vertical: Float[Tensor, "n gates h w"], class_weights: Float[Tensor, "n classes"] | None
    ) -> Float[Tensor, "n channels h w"] | None:
        """The output of the vertical stack from its convolution; None from the last layer."""
        if self.last:
            return None
        if self.vertical_class is None:
            return gate(vertical)
        return gate(vertical + per_channel(self.vertical_class(class_weights)))


def class_bias(classes: int, channels: int) -> nn.Linear:
    """A layer that gives each class a value for each channel, from one-hot labels."""
    return set_role(nn.Linear(classes, channels, bias=False), "embedding")


def per_channel(values: Float[Tensor, "n channels"]) -> Float[Tensor, "n channels 1 1"]:
    """Values of channels in the dimensions of images."""
    return values[:, :, None, None]
