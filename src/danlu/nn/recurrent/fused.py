"""torch's own recurrent kernels, on the parameters of any module."""

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


class How(NamedTuple):
    """What torch's kernels want to know beside data and weights, in their order.

    Attributes:
        bias: whether there are biases among the weights.
        layers: how many, each counted once.
        dropout: share of units between layers that are zeroed while training.
        training: whether it is.
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
    how: How,
) -> tuple[Tensor, Float[Tensor, "n states layers width"]]:
    """All layers in one call. Under autocast a CPU computes in the weights' own type, for few have an LSTM in bf16.

    Args:
        kernel: rnn_tanh, rnn_relu, lstm or gru.
        x: rows of sequences, batch first, or packed.
        state: before the first step.
        weights: of each layer and direction in torch's order.
        how: what else torch wants to know.
    """
    if state.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
        own = weights[0].dtype
        with torch.autocast("cpu", enabled=False):
            x, state = x.to(own), state.to(own)
            return fused(kernel, x, state, weights, how)
    if state.device.type == "cuda" and apart(how.layers, how.dropout):
        return by_layers(kernel, x, state, weights, how)
    parts = [part.transpose(0, 1).contiguous() for part in state.unbind(1)]  # torch has the layers first
    hidden = tuple(parts) if kernel == "lstm" else parts[0]
    operation = getattr(torch._VF, kernel)  # pyright: ignore[reportAttributeAccessIssue]
    if isinstance(x, PackedSequence):
        outputs, *after = operation(x.data, x.batch_sizes, hidden, weights, *how)
    else:
        outputs, *after = operation(x, hidden, weights, *how, True)
    return outputs, torch.stack([part.transpose(0, 1) for part in after], 1)


def apart(layers: int, dropout: float) -> bool:
    """Whether a GPU takes one layer at a time: cuDNN's own dropout begins anew whenever a generator is seeded.

    The loop seeds it in every turn, which would have cuDNN wait and set up its generators each time, and give a
    recorded turn one mask for ever.
    """
    return layers > 1 and dropout > 0


def by_layers(
    kernel: str,
    x: Tensor | PackedSequence,
    state: Float[Tensor, "n states layers width"],
    weights: list[Tensor],
    how: How,
) -> tuple[Tensor, Float[Tensor, "n states layers width"]]:
    """As ``fused``, with one call for each layer and torch's dropout between them."""
    many, after = len(weights) // how.layers, []
    outputs: Tensor = x.data if isinstance(x, PackedSequence) else x
    for layer, begin in enumerate(state.chunk(how.layers, 2)):
        given = PackedSequence(outputs, x.batch_sizes) if isinstance(x, PackedSequence) else outputs
        own = weights[layer * many : (layer + 1) * many]
        outputs, end = fused(kernel, given, begin, own, how._replace(layers=1, dropout=0.0))
        after.append(end)
        if layer + 1 < how.layers:
            outputs = F.dropout(outputs, how.dropout, how.training)
    return outputs, torch.cat(after, 2)


def compact(
    module: nn.Module, names: list[str], kernel: str, inputs: int, width: int, bias: bool, layers: int, both: bool
) -> None:
    """Lay parameters one after the other in memory as cuDNN wants them; else it copies them at every call.

    Args:
        module: whose parameters; their values and names stay.
        names: of them, in torch's order.
        kernel: rnn_tanh, rnn_relu, lstm or gru.
        inputs: entries of the input.
        width: units of a layer.
        bias: whether there are biases.
        layers: how many.
        both: whether they read in both directions.
    """
    first = module.get_parameter(names[0])
    how = {"bias": bias, "num_layers": layers, "bidirectional": both, "device": "meta", "dtype": first.dtype}
    model = MODULES[kernel](inputs, width, **how).to_empty(device=first.device)  # torch's own lays its parameters so
    for name, parameter in zip(names, model.parameters(), strict=True):
        place = parameter.data
        place.copy_(module.get_parameter(name).data)
        module.get_parameter(name).data = place
