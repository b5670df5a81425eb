"""WaveNet one position after another: each layer keeps its last inputs, so each position is computed once.

For a layer with dilation d, the inputs d positions ago are known for the next d positions at once. Their contribution
is one product of matrices for each block of d positions, and a position then needs only the product with the newest
input. The gradients of the entries are computed in the same way, from the last position to the first: the
transposed convolution is causal in this order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn

from danlu.nn.masked.conditioner import NextEntry, NextGradient

if TYPE_CHECKING:
    from danlu.nn.masked.wavenet import WaveNet


class StepwiseConvolution:
    """A dilated causal convolution whose outputs are computed one position after another.

    At each position first ``place`` is called, then the input is written to the returned tensor, then ``compute`` is
    called.

    Args:
        taps: the weights, from the oldest input to the newest one.
        bias: what is added to each output.
        dilation: distance of the inputs that an output depends on.
        size: number of positions.
        n: number of sequences.
    """

    def __init__(
        self, taps: Float[Tensor, "kernel i o"], bias: Float[Tensor, "rows o"], dilation: int, size: int, n: int
    ):
        kernel, inputs, outputs = taps.shape
        self.block = min(dilation, size)  # with larger dilations older inputs are never reached
        self.newest, self.older, self.bias = taps[-1].contiguous(), taps[:-1].reshape(-1, outputs), bias
        self.memory = taps.new_zeros(kernel - 1, self.block, n, inputs)
        self.base = taps.new_empty(self.block, n, outputs)
        self.places, self.bases = self.memory[-1].unbind(0), self.base.unbind(0)

    def place(self, position: int) -> Float[Tensor, "n i"]:
        """The memory for the input of a position. It begins a block if one has ended."""
        if position % self.block == 0:
            self._begin_block()
        return self.places[position % self.block]

    def compute(self, position: int, out: Float[Tensor, "n o"]) -> Float[Tensor, "n o"]:
        """The output of a position, whose input has been written."""
        k = position % self.block
        return torch.addmm(self.bases[k], self.places[k], self.newest, out=out)

    def _begin_block(self) -> None:
        """Compute the contribution of older inputs to the next block, and forget the oldest block."""
        inputs = self.memory.permute(1, 2, 0, 3).flatten(2)
        torch.matmul(inputs, self.older, out=self.base)
        self.base += self.bias
        if len(self.memory) > 1:
            self.memory[:-1] = self.memory[1:].clone()


def generate(
    net: WaveNet,
    step: NextEntry,
    like: Float[Tensor, "n size"],
    of_context: tuple[Float[Tensor, "n gates"], ...] | None,
) -> Float[Tensor, "n size"]:
    """The entries, computed one after another; see ``Conditioner.generate``.

    Args:
        net: the network.
        step: gives an entry.
        like: a tensor of the shape of the result.
        of_context: what the context adds to the inputs of the gates of each layer.
    """
    n, size = like.shape
    layers = [
        StepwiseConvolution(
            layer.weight.permute(2, 1, 0),
            _bias(layer) if of_context is None else _bias(layer) + of_context[k],
            dilation,
            size,
            n,
        )
        for k, (layer, dilation) in enumerate(zip(net.dilated, net.dilations, strict=True))
    ]
    of_input, *residual, skip, head, output = _matrices(net)
    gates = like.new_empty(n, 2 * len(of_input[0]))
    f, g = gates.chunk(2, 1)
    gated = like.new_empty(n, len(skip))
    parts = gated.chunk(len(layers), 1)
    x, previous = torch.empty_like(like), like.new_zeros(n, 1)
    for i, entry in enumerate(x.unbind(1)):
        h = torch.addmm(_bias(net.input), previous, of_input, out=layers[0].place(i))
        for k, (layer, z) in enumerate(zip(layers, parts, strict=True)):
            layer.compute(i, gates)
            torch.mul(f.tanh_(), g.sigmoid_(), out=z)
            if k < len(residual):
                h = torch.addmm(h, z, residual[k], out=layers[k + 1].place(i))
        hidden = torch.addmm(_bias(net.skip), gated, skip).relu_()
        hidden = torch.addmm(_bias(net.head), hidden, head).relu_()
        entry.copy_(step(i, torch.addmm(_bias(net.output), hidden, output)))
        previous = entry.unsqueeze(1)
    return x


def backsolve(
    net: WaveNet, step: NextGradient, x: Float[Tensor, "n size"], context: Float[Tensor, "n c"] | None
) -> None:
    """Gradients from the last entry to the first; see ``Conditioner.backsolve``.

    Args:
        net: the network.
        step: gives the gradient of the outputs for an entry.
        x: the entries.
        context: the context of the network.
    """
    n, size = x.shape
    slopes, of_skip, of_head = _slopes(net, x, context)
    of_input, *residual, skip, head, output = (matrix.t() for matrix in _matrices(net))
    layers = [
        StepwiseConvolution(layer.weight.permute(2, 0, 1), x.new_zeros(1, layer.in_channels), dilation, size, n)
        for layer, dilation in zip(net.dilated, net.dilations, strict=True)
    ]
    of_entry = x.new_zeros(n)
    for i in reversed(range(size)):
        hidden = (step(i, of_entry) @ output).mul_(of_head[i])
        gated = ((hidden @ head).mul_(of_skip[i]) @ skip).chunk(len(layers), 1)
        of_h: Tensor | None = None  # the gradient of the outputs of layer k
        for k in reversed(range(len(layers))):
            of_z = gated[k] if of_h is None else torch.addmm(gated[k], of_h, residual[k])
            place = layers[k].place(size - 1 - i)
            torch.mul(of_z.unsqueeze(1), slopes[k][i], out=place.view(slopes[k][i].shape))
            of_inputs = layers[k].compute(size - 1 - i, torch.empty_like(of_z))
            of_h = of_inputs if of_h is None else of_inputs.add_(of_h)
        assert of_h is not None  # there is a layer
        of_entry = (of_h @ of_input).squeeze(1)


def _bias(layer: nn.Conv1d) -> Float[Tensor, "1 o"]:
    """The bias of a convolution as a row."""
    assert layer.bias is not None
    return layer.bias.unsqueeze(0)


def _matrices(net: WaveNet) -> list[Tensor]:
    """The weights of the 1×1 convolutions as matrices (inputs, outputs): input, residual ones, skip, head, output."""
    layers = [net.input, *net.residual, net.skip, net.head, net.output]
    return [layer.weight.squeeze(2).t() for layer in layers]  # type: ignore[operator]


def _slopes(
    net: WaveNet, x: Float[Tensor, "n size"], context: Tensor | None
) -> tuple[
    list[Float[Tensor, "size n 2 channels"]], Float[Tensor, "size n channels"], Float[Tensor, "size n channels"]
]:
    """The derivatives of the gates of each layer with respect to both inputs, and of the two rectifiers."""
    slopes, gated = [], []
    for gates in net.gate_inputs(x, context):
        f, g = gates.chunk(2, 1)
        tanh, sigmoid = f.tanh(), g.sigmoid()
        pair = torch.stack([sigmoid * (1 - tanh * tanh), tanh * sigmoid * (1 - sigmoid)], 1)
        slopes.append(pair.permute(3, 0, 1, 2).contiguous())
        gated.append(tanh * sigmoid)
    skip = net.skip(torch.cat(gated, 1))
    head = net.head(skip.relu())
    of_skip, of_head = ((values > 0).to(x.dtype).permute(2, 0, 1).contiguous() for values in (skip, head))
    return slopes, of_skip, of_head
