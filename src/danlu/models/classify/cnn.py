"""The convolutional network with max pooling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from danlu.data.base.effects import Needs
from danlu.models.base import Model
from danlu.nn.activations import Activation
from danlu.nn.activations import activation as activation_named
from danlu.nn.conv.convolution import output_size, receptive_field
from danlu.nn.dense import check_dropout, check_width, check_widths, dense
from danlu.nn.norm.by_name import Norm
from danlu.nn.norm.by_name import norm as norm_named
from danlu.nn.roles import output_layer


class CNN(Model):
    r"""A classifier of convolutions with max pooling, followed by fully connected layers.

    .. math:: (W * x)_{o,i,j} = b_o + \sum_{c,k,l} W_{o,c,k,l} \, x_{c,\,si+k-p,\,sj+l-p}

    LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition", 1998, with
    ReLU and max pooling as in later networks. ``CNN((1, 28, 28), 10, padding=0)`` is the network of the notes.

    Args:
        shape: (channels, height, width) of one image.
        classes: number of classes.
        channels: output channels of each convolution.
        kernel: kernel size k of each convolution.
        stride: stride s of each convolution.
        padding: number p of zeros on each side of the input of each convolution.
        pool: window size and stride of the max pooling after each convolution; 1 for no pooling.
        hidden: width of each fully connected layer before the last.
        activation: activation function after each layer.
        norm: normalization before each activation; "layer" normalizes over channels and positions.
        dropout: fraction of units that are set to zero before each fully connected layer during training.

    Raises:
        ValueError: if the image is too small for the layers, or an argument is out of range.

    >>> net = CNN(shape=(1, 28, 28), classes=10, padding=0)
    >>> net.features_shape, net.receptive_field
    ((64, 5, 5), 10)
    >>> net(torch.zeros(3, 1, 28, 28)).shape
    torch.Size([3, 10])
    """

    needs: ClassVar[tuple[Needs, ...]] = (
        *(Needs(name, ("channels",)) for name in ("kernel", "stride", "padding", "pool")),
        *(Needs(name, ("channels", "hidden")) for name in ("activation", "norm")),
    )

    def __init__(
        self,
        shape: Sequence[int],
        classes: int,
        channels: Sequence[int] = (32, 64),
        kernel: int = 3,
        stride: int = 1,
        padding: int = 1,
        pool: int = 2,
        hidden: Sequence[int] = (128,),
        activation: Activation = "relu",
        norm: Norm | None = None,
        dropout: float = 0.0,
    ):
        super().__init__()
        if len(shape) != 3:
            raise ValueError(f"shape={tuple(shape)} must be (channels, height, width): a CNN takes images")
        if pool < 1:
            raise ValueError(f"pool={pool} must be at least 1; 1 means no pooling")
        check_widths("channels", channels)
        check_widths("hidden", hidden)
        check_width("classes", classes)
        check_dropout(dropout)

        depth, height, width = shape
        self.convolutions = nn.Sequential()
        for number, outputs in enumerate(channels):
            block, (height, width) = convolution(
                depth, outputs, (height, width), kernel, stride, padding, pool, activation, norm
            )
            self.convolutions.add_module(str(number), block)
            depth = outputs

        self.features_shape = (depth, height, width)
        self.receptive_field = receptive_field([(kernel, stride), (pool, pool)] * len(channels))
        widths = [math.prod(self.features_shape), *hidden]
        self.dropout = nn.Dropout(dropout)
        self.dense = nn.Sequential(*(dense(n, m, activation, norm, dropout) for n, m in pairwise(widths)))
        self.head = output_layer(nn.Linear(widths[-1], classes))

    @property
    def capabilities(self) -> frozenset[str]:
        """The capabilities of the model, see ``danlu.verbs.CAPABILITIES``."""
        return frozenset({"class_log_probs", "receptive_field"})

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n classes"]:
        """Logits: unnormalized log-probabilities of the classes."""
        return self.head(self.dense(self.dropout(self.convolutions(x).flatten(1))))

    def classify(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n classes"]:
        """Probability of each class."""
        return self(x).softmax(dim=1)

    def class_log_probs(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n classes"]:
        """Log-probability of each class."""
        return self(x).log_softmax(dim=1)


def convolution(
    inputs: int,
    outputs: int,
    size: tuple[int, int],
    kernel: int,
    stride: int,
    padding: int,
    pool: int,
    activation: Activation,
    norm: Norm | None,
) -> tuple[nn.Module, tuple[int, int]]:
    """Build convolution, normalization, activation and pooling; also return the output height and width."""
    height, width = (output_size(output_size(n, kernel, stride, padding), pool, pool) for n in size)
    block = nn.Sequential()
    block.add_module("convolution", nn.Conv2d(inputs, outputs, kernel, stride, padding))
    if norm:
        block.add_module("norm", norm_named(norm, outputs, images=True))
    active = {"activation": activation_named(activation)}
    pooled = {"pool": nn.MaxPool2d(pool)} if pool > 1 else {}
    # ReLU after max pooling gives the same result, from fewer values
    for name, layer in (pooled | active if activation == "relu" else active | pooled).items():
        block.add_module(name, layer)
    return block, (height, width)
