"""The networks of autoregressive flows: their settings, and how they are built."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from danlu.data.base.effects import Needs
from danlu.nn.activations import Activation
from danlu.nn.masked.conditioner import Conditioner
from danlu.nn.masked.degrees import Degrees
from danlu.nn.masked.made import MADE
from danlu.nn.masked.wavenet import WaveNet

ConditionerName = Literal["made", "wavenet"]

NEEDS: tuple[Needs, ...] = (
    *(Needs(name, ("conditioner",), ("made",)) for name in ("hidden", "degrees", "activation", "residual")),
    *(Needs(name, ("conditioner",), ("wavenet",)) for name in ("channels", "layers", "kernel")),
    *(Needs(name, ("hidden",)) for name in ("degrees", "activation", "residual")),
)
"""arguments of a flow that have an effect only with others"""


class Networks(NamedTuple):
    """The arguments of the networks of all blocks, see ``danlu.nn.MADE`` and ``danlu.nn.WaveNet``.

    Attributes:
        conditioner: the network: "made" or "wavenet".
        context: length of the context, or 0.
        hidden: argument of MADE.
        degrees: argument of MADE.
        activation: argument of MADE.
        residual: argument of MADE.
        channels: argument of WaveNet.
        layers: argument of WaveNet.
        kernel: argument of WaveNet.
    """

    conditioner: ConditionerName
    context: int
    hidden: Sequence[int]
    degrees: Degrees
    activation: Activation
    residual: bool
    channels: int
    layers: int
    kernel: int

    def build(self, size: int, outputs: int, seed: int) -> Conditioner:
        """The network of a block.

        Args:
            size: number of values of an example.
            outputs: number of outputs for each value.
            seed: seed of random degrees.

        Raises:
            ValueError: if the name of the network is unknown.
        """
        if self.conditioner == "wavenet":
            return WaveNet(size, outputs, self.channels, self.layers, self.kernel, self.context)
        if self.conditioner != "made":
            raise ValueError(f"conditioner={self.conditioner!r} is unknown; choose made or wavenet")
        return MADE(size, outputs, self.hidden, self.context, self.degrees, self.activation, self.residual, seed)
