"""torch's recurrent kernels, applied to the parameters of any module."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence

MODULES: dict[str, type[nn.RNN | nn.LSTM | nn.GRU]] = {
    "rnn_tanh": nn.RNN,
    "rnn_relu": nn.RNN,
    "lstm": nn.LSTM,
    "gru": nn.GRU,
}


class KernelArguments(NamedTuple):
    """Arguments of torch's kernels besides data and weights, in their order.

    Attributes:
        bias: whether the weights include biases.
        layers: number of layers; a bidirectional layer counts once.
        dropout: fraction of units between layers set to zero during training.
        training: whether the module is in training mode.
        bidirectional: whether each layer reads in both directions.
    """

    bias: bool
    layers: int
    dropout: float
    training: bool
    bidirectional: bool


def fused(
    kernel: str,
    x: Tensor | PackedSequence,
    state: Float[Tensor, "n states layers width"],
    weights: list[Tensor],
    arguments: KernelArguments,
) -> tuple[Tensor, Float[Tensor, "n states layers width"]]:
    """Run all layers in one call.

    Under autocast a CPU computes in the dtype of the weights, because few CPUs have an LSTM kernel in bf16.

    Args:
        kernel: rnn_tanh, rnn_relu, lstm or gru.
        x: sequences, batch first, or packed.
        state: the state before the first step.
        weights: the weights of each layer and direction in torch's order.
        arguments: the other arguments of the kernel.
    """
    if state.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
        dtype = weights[0].dtype
        with torch.autocast("cpu", enabled=False):
            x, state = x.to(dtype), state.to(dtype)
            return fused(kernel, x, state, weights, arguments)
    if state.device.type == "cuda" and layer_by_layer(arguments.layers, arguments.dropout):
        return fused_layer_by_layer(kernel, x, state, weights, arguments)
    parts = [part.transpose(0, 1).contiguous() for part in state.unbind(1)]  # in torch the layers come first
    hidden = tuple(parts) if kernel == "lstm" else parts[0]
    operation = getattr(torch._VF, kernel)  # pyright: ignore[reportAttributeAccessIssue]
    if isinstance(x, PackedSequence):
        outputs, *after = operation(x.data, x.batch_sizes, hidden, weights, *arguments)
    else:
        outputs, *after = operation(x, hidden, weights, *arguments, True)
    return outputs, torch.stack([part.transpose(0, 1) for part in after], 1)


def layer_by_layer(layers: int, dropout: float) -> bool:
    """Whether a GPU runs one layer per call, because cuDNN resets its own dropout whenever a generator is seeded.

    The trainer seeds a generator in every turn. With cuDNN's dropout, each turn would wait until its random state is
    set up again, and a captured CUDA graph would repeat one dropout mask.
    """
    return layers > 1 and dropout > 0


def fused_layer_by_layer(
    kernel: str,
    x: Tensor | PackedSequence,
    state: Float[Tensor, "n states layers width"],
    weights: list[Tensor],
    arguments: KernelArguments,
) -> tuple[Tensor, Float[Tensor, "n states layers width"]]:
    """Like ``fused``, with one call per layer and torch's dropout between the layers."""
    per_call, after = len(weights) // arguments.layers, []
    outputs: Tensor = x.data if isinstance(x, PackedSequence) else x
    for layer, start in enumerate(state.chunk(arguments.layers, 2)):
        inputs = PackedSequence(outputs, x.batch_sizes) if isinstance(x, PackedSequence) else outputs
        layer_weights = weights[layer * per_call : (layer + 1) * per_call]
        outputs, end = fused(kernel, inputs, start, layer_weights, arguments._replace(layers=1, dropout=0.0))
        after.append(end)
        if layer + 1 < arguments.layers:
            outputs = F.dropout(outputs, arguments.dropout, arguments.training)
    return outputs, torch.cat(after, 2)


def flatten_parameters(
    module: nn.Module,
    names: list[str],
    kernel: str,
    inputs: int,
    width: int,
    bias: bool,
    layers: int,
    bidirectional: bool,
) -> None:
    """Store parameters contiguously, as cuDNN requires; otherwise it copies them at every call.

    Args:
        module: the module of the parameters; their values and names do not change.
        names: names of the parameters in torch's order.
        kernel: rnn_tanh, rnn_relu, lstm or gru.
        inputs: input features.
        width: units of a layer.
        bias: whether there are biases.
        layers: number of layers.
        bidirectional: whether the layers are bidirectional.
    """
    first = module.get_parameter(names[0])
    settings = {
        "bias": bias,
        "num_layers": layers,
        "bidirectional": bidirectional,
        "device": "meta",
        "dtype": first.dtype,
    }
    model = MODULES[kernel](inputs, width, **settings).to_empty(device=first.device)  # torch's modules have this layout
    for name, parameter in zip(names, model.parameters(), strict=True):
        storage = parameter.data
        storage.copy_(module.get_parameter(name).data)
        module.get_parameter(name).data = storage
