"""WaveNet as an autoregressive network: dilated causal convolutions with gated units."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from danlu.nn.context import check_context
from danlu.nn.dense import check_width
from danlu.nn.masked.conditioner import Conditioner, NextEntry, NextGradient
from danlu.nn.masked.gated import class_bias, gate
from danlu.nn.masked.wavenet_steps import backsolve, generate
from danlu.nn.roles import output_layer

CYCLE = 10
"""number of layers after which the dilations begin again with 1, as in the paper: the largest one is 512"""


class WaveNet(Conditioner):
    r"""Dilated causal convolutions whose outputs for entry t depend only on the entries before t.

    The entries are moved by one position, :math:`h_0(t) = w x_{t-1} + b`. Layer k has the dilation
    :math:`d_k = 2^{(k - 1) \bmod 10}`:

    .. math:: z_k = \tanh(F_k *_{d_k} h_{k-1} + V_k c) \circ \sigma(G_k *_{d_k} h_{k-1} + U_k c), \qquad
        h_k = h_{k-1} + R_k z_k

    The outputs are computed from the skip connections :math:`s = \sum_k S_k z_k` of all layers by two 1×1
    convolutions, each after a rectifier. The context c is global. van den Oord et al., "WaveNet: a generative model for
    raw audio", 2016, sections 2.1 to 2.5, equations 2 and 3; with parameters of a function of single values in place of
    the softmax.

    An output depends on the last ``receptive_field`` entries before its own. Positions before the first one count as
    0 in every layer.

    ``generate`` and ``backsolve`` keep the inputs of each layer and compute each position once (Le Paine et al., "Fast
    Wavenet generation algorithm", 2016).

    Args:
        size: number of entries.
        outputs: number of outputs for each entry.
        channels: channels of each layer.
        layers: number of layers.
        kernel: number of positions that a convolution reads, spaced by its dilation; at least 2.
        context: length of the context, or 0.

    Attributes:
        dilations: dilation of each layer.
        receptive_field: number of entries that an output depends on,
            :math:`1 + (\text{kernel} - 1) \sum_k d_k`.

    Raises:
        ValueError: if a number is out of range.

    >>> net = WaveNet(size=20, outputs=2, channels=8, layers=4)
    >>> net(torch.zeros(5, 20)).shape, net.receptive_field
    (torch.Size([5, 20, 2]), 16)
    """

    def __init__(
        self, size: int, outputs: int = 2, channels: int = 32, layers: int = 8, kernel: int = 2, context: int = 0
    ):
        super().__init__(size, outputs)
        check_width("channels", channels)
        check_width("layers", layers)
        check_width("kernel", kernel)
        if kernel == 1:
            raise ValueError(f"kernel={kernel} must be at least 2 to depend on earlier entries")
        if context < 0:
            raise ValueError(f"context={context} must be at least 0")
        self.dilations = tuple(2 ** (k % CYCLE) for k in range(layers))
        self.receptive_field = 1 + (kernel - 1) * sum(self.dilations)
        self.input = nn.Conv1d(1, channels, 1)
        self.gates = nn.ModuleList(nn.Conv1d(channels, 2 * channels, kernel, dilation=d) for d in self.dilations)
        self.residual = nn.ModuleList(nn.Conv1d(channels, channels, 1, bias=False) for _ in range(layers - 1))
        self.context = class_bias(context, 2 * channels * layers) if context else None
        self.skip = nn.Conv1d(layers * channels, channels, 1)  # the sum of one 1×1 convolution of each layer
        self.head = nn.Conv1d(channels, channels, 1)
        self.output = output_layer(nn.Conv1d(channels, outputs, 1))
        with torch.no_grad():  # a flow begins near the identity
            for parameter in self.output.parameters():
                parameter.mul_(0.1)

    def forward(
        self, x: Float[Tensor, "n size"], context: Float[Tensor, "n c"] | None = None
    ) -> Float[Tensor, "n size outputs"]:
        """The outputs for all entries at once."""
        gated = [gate(gates) for gates in self.gate_inputs(x, context)]
        skip = self.skip(torch.cat(gated, 1))
        return self.output(self.head(skip.relu()).relu()).transpose(1, 2)

    def gate_inputs(
        self, x: Float[Tensor, "n size"], context: Float[Tensor, "n c"] | None = None
    ) -> list[Float[Tensor, "n gates size"]]:
        """The inputs of the gates of each layer, before tanh and σ."""
        h, of_context, result = self.input(F.pad(x[:, :-1], (1, 0)).unsqueeze(1)), self.of_context(context), []
        for k, layer in enumerate(self.dilated):
            y = layer(F.pad(h, (layer.dilation[0] * (layer.kernel_size[0] - 1), 0)))
            result.append(y if of_context is None else y + of_context[k].unsqueeze(2))
            if k < len(self.residual):
                h = h + self.residual[k](gate(result[-1]))
        return result

    @property
    def dilated(self) -> list[nn.Conv1d]:
        """The dilated convolutions, layer by layer."""
        return list(self.gates)  # type: ignore[arg-type]

    @torch.no_grad()
    def generate(
        self, step: NextEntry, like: Float[Tensor, "n size"], context: Float[Tensor, "n c"] | None = None
    ) -> Float[Tensor, "n size"]:
        """Compute the entries of x one after another; see ``Conditioner.generate``."""
        return generate(self, step, like, self.of_context(context))

    @torch.no_grad()
    def backsolve(
        self, step: NextGradient, x: Float[Tensor, "n size"], context: Float[Tensor, "n c"] | None = None
    ) -> None:
        """Propagate gradients backwards through the entries; see ``Conditioner.backsolve``."""
        backsolve(self, step, x, context)

    def of_context(self, context: Float[Tensor, "n c"] | None) -> tuple[Float[Tensor, "n gates"], ...] | None:
        """What the context adds to the inputs of the gates of each layer; None without a context."""
        check_context(self.context is not None, context)
        return None if self.context is None else self.context(context).chunk(len(self.gates), 1)
