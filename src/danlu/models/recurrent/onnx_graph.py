"""The ONNX graph of a language model: logits and the next state from tokens and a state.

torch unrolls a recurrent layer over the tokens of the example input, so a traced graph would accept texts of one length
only. ONNX has an operator for every kind of recurrent layer except the GRU of the notes; the graph is built from them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from danlu.data.base.tokenizer import Tokenizer
from danlu.errors import UsageError
from danlu.models.onnx import OnnxCase, OnnxGraph
from danlu.nn.conv.causal import CausalConvolutions
from danlu.nn.recurrent.layer import Recurrent

OPSET, VERSION = 17, 8
"""Versions of the ONNX operators and of the file format, old enough for all runtimes."""
INPUTS, OUTPUTS = ("token", "state"), ("logits", "next_state")
_SLICE_END = 2**63 - 1  # "to the end" of a slice
SIZES = ((1, 1), (3, 7))
"""Number and length of the texts with which the graph is checked."""


@runtime_checkable
class LanguageParts(Protocol):
    """The parts of a language model that its graph is built from; see ``danlu.models.LanguageModel``."""

    vocabulary: int
    embedding: nn.Embedding | None
    layers: Recurrent | CausalConvolutions
    log_z: nn.Parameter | None
    adaptive: nn.AdaptiveLogSoftmaxWithLoss | None
    bias: nn.Parameter | None
    tokenizer: Tokenizer | None

    @property
    def output(self) -> Tensor:
        """The matrix of the output layer, (vocabulary, width)."""
        ...

    def __call__(self, tokens: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Features after each token, and the next state."""
        ...

    def zero_state(self, n: int) -> Tensor:
        """The initial state of n rows."""
        ...

    def logits(self, features: Tensor) -> Tensor:
        """Logits of all tokens."""
        ...


def language_graph(model: LanguageParts) -> OnnxGraph:
    """The graph of a language model, with the tokenizer in its metadata.

    Raises:
        UsageError: if ONNX has no operator for the layer.
    """
    tokenizer = {} if model.tokenizer is None else {"tokenizer": model.tokenizer.to_json()}
    return OnnxGraph(_proto(model), "complete", OUTPUTS, tokenizer, lambda: _cases(model), relative=True)


@torch.no_grad()
def _cases(model: LanguageParts) -> Iterator[OnnxCase]:
    """Texts of several sizes, each in two chunks; the second starts with the state after the first."""
    source = torch.Generator().manual_seed(1)
    for n, t in SIZES:
        state = model.zero_state(n)
        for _ in range(2):
            tokens = torch.randint(model.vocabulary, (n, t), generator=source)
            features, after = model(tokens, state)
            yield OnnxCase({"token": tokens, "state": state.float()}, (model.logits(features), after))
            state = after


class Graph:
    """An ONNX graph that is being built."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.tensors: list[Any] = []

    def add_node(self, operator: str, *inputs: str, outputs: int = 1, **attributes: Any) -> list[str]:
        """Add a node and return the names of its outputs."""
        from onnx import helper

        names = [f"{operator}_{len(self.nodes)}_{k}" for k in range(outputs)]
        self.nodes.append(helper.make_node(operator, inputs, names, **attributes))
        return names

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output and return its name."""
        return self.add_node(operator, *inputs, **attributes)[0]

    def constant(self, values: Tensor | Sequence[int] | int) -> str:
        """Add a constant and return its name."""
        from onnx import numpy_helper

        values = values.detach().cpu().float() if isinstance(values, Tensor) else torch.tensor(values)
        name = f"constant_{len(self.tensors)}"
        self.tensors.append(numpy_helper.from_array(values.contiguous().numpy(), name))
        return name

    def slice(self, x: str, axis: int, start: int, stop: int = _SLICE_END) -> str:
        """Add a slice along one axis."""
        return self.add("Slice", x, *(self.constant([number]) for number in (start, stop, axis)))


def _proto(model: LanguageParts) -> Any:
    """``token`` (n, t) and ``state`` (n, …) to ``logits`` and ``next_state``; n and t are free.

    The initial state is zeros; the logits of an adaptive softmax are log-probabilities.
    """
    from onnx import TensorProto, checker, helper

    graph, (token, state) = Graph(), INPUTS
    if model.embedding is None:
        x = graph.add("OneHot", token, graph.constant(model.vocabulary), graph.constant(torch.tensor([0.0, 1.0])))
    else:
        x = graph.add("Gather", graph.constant(model.embedding.weight), token)
    add_layers = _add_convolutions if isinstance(model.layers, CausalConvolutions) else _add_recurrent_layers
    features, after = add_layers(graph, model.layers, x, state)
    logits = _add_logits(graph, model, features)
    for result, name in zip((logits, after), OUTPUTS, strict=True):
        graph.nodes.append(helper.make_node("Identity", [result], [name]))
    state_shape = ["n", *model.zero_state(1).shape[1:]]
    shapes = {token: (TensorProto.INT64, ["n", "t"]), state: (TensorProto.FLOAT, state_shape)}
    shapes |= {"logits": (TensorProto.FLOAT, ["n", "t", model.vocabulary]), "next_state": shapes[state]}
    value_infos = {name: helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in shapes.items()}
    graph_inputs, graph_outputs = ([value_infos[name] for name in names] for names in (INPUTS, OUTPUTS))
    onnx_graph = helper.make_graph(graph.nodes, "language model", graph_inputs, graph_outputs, graph.tensors)
    opsets = [helper.make_opsetid("", OPSET)]
    proto = helper.make_model(onnx_graph, opset_imports=opsets, ir_version=VERSION, producer_name="danlu")
    checker.check_model(proto)
    return proto


def _add_recurrent_layers(graph: Graph, layers: Any, x: str, state: str) -> tuple[str, str]:
    """Recurrent layers: outputs of the last layer, and the state after the last token."""
    last_states: list[list[str]] = [[] for _ in range(layers.cells.states)]
    x = graph.add("Transpose", x, perm=[1, 0, 2])  # ONNX has the steps first
    for layer in range(layers.layers):
        starts = [_initial_state(graph, state, part, layer) for part in range(layers.cells.states)]
        outputs, *ends = _add_layer(graph, layers, layer, x, starts)
        x = graph.add("Squeeze", outputs, graph.constant([1]))
        for layer_states, end in zip(last_states, ends, strict=True):
            layer_states.append(graph.add("Transpose", end, perm=[1, 0, 2]))
    parts = [graph.add("Unsqueeze", graph.add("Concat", *ends, axis=1), graph.constant([1])) for ends in last_states]
    return graph.add("Transpose", x, perm=[1, 0, 2]), graph.add("Concat", *parts, axis=1)


def _initial_state(graph: Graph, state: str, part: int, layer: int) -> str:
    """The initial state of a layer, (1, n, width)."""
    layer_state = graph.add(
        "Gather", graph.add("Gather", state, graph.constant(part), axis=1), graph.constant(layer), axis=1
    )
    return graph.add("Unsqueeze", layer_state, graph.constant([0]))


def _add_layer(graph: Graph, layers: Recurrent, layer: int, x: str, starts: list[str]) -> list[str]:
    """One layer as an ONNX LSTM, GRU or RNN: its outputs and last state."""
    kind, width = layers.kind, layers.width
    matrices = {name: getattr(layers, f"{name}_l{layer}") for name in ("weight_ih", "weight_hh")}
    biases = [getattr(layers, f"bias_{name}_l{layer}", matrices["weight_ih"].new_zeros(0)) for name in ("ih", "hh")]
    if kind == "gru" and layers.cells.reads:
        raise UsageError("ONNX has no GRU with this position of the reset gate; train with another reset")

    def ordered(matrix: Tensor) -> Tensor:
        """Blocks of rows in the order of gates of ONNX; zeros for a gate that is coupled to another."""
        blocks = matrix.split(width)
        gates = {"lstm": (0, 3, 1, 2), "peephole": (0, 3, 1, 2), "coupled": (0, 2, None, 1), "gru": (1, 0, 2)}
        order = gates.get(kind, (0,))
        return torch.cat([torch.zeros_like(blocks[0]) if k is None else blocks[k] for k in order])[None]

    weights = [graph.constant(ordered(matrix)) for matrix in matrices.values()]
    bias = graph.constant(torch.cat([ordered(bias) for bias in biases], 1)) if layers.bias else ""
    inputs = [x, *weights, bias, "", *starts]
    if kind == "rnn":
        relu = layers.cells.kernel == "rnn_relu"
        return graph.add_node("RNN", *inputs, outputs=2, hidden_size=width, activations=["Relu" if relu else "Tanh"])
    if kind == "gru":
        after = int(layers.cells.kernel == "gru")
        return graph.add_node("GRU", *inputs, outputs=2, hidden_size=width, linear_before_reset=after)
    if kind == "peephole":
        input_row, forget_row, output_row = getattr(layers, f"peephole_l{layer}")
        inputs.append(graph.constant(torch.cat([input_row, output_row, forget_row])[None]))
    return graph.add_node("LSTM", *inputs, outputs=3, hidden_size=width, input_forget=int(kind == "coupled"))


def _add_convolutions(graph: Graph, layers: Any, x: str, state: str) -> tuple[str, str]:
    """Causal convolutions: outputs of the last layer, and the inputs that each layer keeps."""
    h, next_states = graph.add("Transpose", x, perm=[0, 2, 1]), []
    contexts = graph.add_node("Split", state, graph.constant(layers.sizes), outputs=len(layers.sizes), axis=1)
    for block, context in zip(layers.blocks, contexts, strict=True):
        convolution, memory = block.convolution, block.memory
        memory_input = graph.add("Reshape", context, graph.constant([0, convolution.in_channels, memory]))
        extended = graph.add("Concat", memory_input, h, axis=2)
        next_states.append(graph.add("Flatten", graph.slice(extended, 2, -memory)))
        weights = (graph.constant(convolution.weight), graph.constant(convolution.bias))
        output = graph.add("Conv", extended, *weights, dilations=list(convolution.dilation))
        values, gates = graph.add_node("Split", output, graph.constant([layers.outputs] * 2), outputs=2, axis=1)
        gated = graph.add("Mul", values, graph.add("Sigmoid", gates))
        h = graph.add("Add", gated, graph.slice(extended, 2, memory)) if block.shortcut else gated
    return graph.add("Transpose", h, perm=[0, 2, 1]), graph.add("Concat", *next_states, axis=1)


def _add_logits(graph: Graph, model: LanguageParts, features: str) -> str:
    """Logits of all tokens; log-probabilities for an adaptive softmax."""

    def matmul(x: str, weight: Tensor) -> str:
        return graph.add("MatMul", x, graph.constant(weight.t()))

    if model.adaptive is None:
        assert model.bias is not None
        bias = model.bias if model.log_z is None else model.bias - model.log_z
        return graph.add("Add", matmul(features, model.output), graph.constant(bias))
    head = graph.add("LogSoftmax", matmul(features, model.adaptive.head.weight), axis=-1)
    tails: Any = model.adaptive.tail
    shortlist, log_probs = model.adaptive.shortlist_size, []
    for k, tail in enumerate(tails):
        tail_logits = matmul(matmul(features, tail[0].weight), tail[1].weight)
        tail_log_prob = graph.slice(head, 2, shortlist + k, shortlist + k + 1)
        log_probs.append(graph.add("Add", graph.add("LogSoftmax", tail_logits, axis=-1), tail_log_prob))
    return graph.add("Concat", graph.slice(head, 2, 0, shortlist), *log_probs, axis=2)
