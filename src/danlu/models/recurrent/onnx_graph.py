"""The ONNX graph of a language model: logits and the next state from tokens and a state.

torch unrolls a recurrent layer over the tokens of the example input, so a traced graph would accept texts of one length
only. ONNX has an operator for every kind of recurrent layer except the GRU of the notes; the graph is built from them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

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
_END = 2**63 - 1  # "to the end" of a slice
SIZES = ((1, 1), (3, 7))
"""Number and length of the texts with which the graph is checked."""


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

    def put(self, operator: str, *inputs: str, outputs: int = 1, **attributes: Any) -> list[str]:
        """Add a node and return the names of its outputs."""
        from onnx import helper

        names = [f"{operator}_{len(self.nodes)}_{k}" for k in range(outputs)]
        self.nodes.append(helper.make_node(operator, inputs, names, **attributes))
        return names

    def one(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output and return its name."""
        return self.put(operator, *inputs, **attributes)[0]

    def keep(self, values: Tensor | Sequence[int] | int) -> str:
        """Add a constant and return its name."""
        from onnx import numpy_helper

        values = values.detach().cpu().float() if isinstance(values, Tensor) else torch.tensor(values)
        name = f"constant_{len(self.tensors)}"
        self.tensors.append(numpy_helper.from_array(values.contiguous().numpy(), name))
        return name

    def cut(self, x: str, axis: int, start: int, stop: int = _END) -> str:
        """Add a slice along one axis."""
        return self.one("Slice", x, *(self.keep([number]) for number in (start, stop, axis)))


def _proto(model: LanguageParts) -> Any:
    """``token`` (n, t) and ``state`` (n, …) to ``logits`` and ``next_state``; n and t are free.

    The initial state is zeros; the logits of an adaptive softmax are log-probabilities.
    """
    from onnx import TensorProto, checker, helper

    graph, (token, state) = Graph(), INPUTS
    if model.embedding is None:
        x = graph.one("OneHot", token, graph.keep(model.vocabulary), graph.keep(torch.tensor([0.0, 1.0])))
    else:
        x = graph.one("Gather", graph.keep(model.embedding.weight), token)
    how = _convolved if isinstance(model.layers, CausalConvolutions) else _read
    features, after = how(graph, model.layers, x, state)
    logits = _logits(graph, model, features)
    for found, name in zip((logits, after), OUTPUTS, strict=True):
        graph.nodes.append(helper.make_node("Identity", [found], [name]))
    of_state = ["n", *model.zero_state(1).shape[1:]]
    shapes = {token: (TensorProto.INT64, ["n", "t"]), state: (TensorProto.FLOAT, of_state)}
    shapes |= {"logits": (TensorProto.FLOAT, ["n", "t", model.vocabulary]), "next_state": shapes[state]}
    known = {name: helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in shapes.items()}
    given, made = ([known[name] for name in names] for names in (INPUTS, OUTPUTS))
    body = helper.make_graph(graph.nodes, "language model", given, made, graph.tensors)
    opsets = [helper.make_opsetid("", OPSET)]
    proto = helper.make_model(body, opset_imports=opsets, ir_version=VERSION, producer_name="danlu")
    checker.check_model(proto)
    return proto


def _read(graph: Graph, layers: Any, x: str, state: str) -> tuple[str, str]:
    """Recurrent layers: outputs of the last layer, and the state after the last token."""
    after: list[list[str]] = [[] for _ in range(layers.cells.states)]
    x = graph.one("Transpose", x, perm=[1, 0, 2])  # ONNX has the steps first
    for layer in range(layers.layers):
        begins = [_part_of_state(graph, state, part, layer) for part in range(layers.cells.states)]
        outputs, *ends = _layer(graph, layers, layer, x, begins)
        x = graph.one("Squeeze", outputs, graph.keep([1]))
        for found, end in zip(after, ends, strict=True):
            found.append(graph.one("Transpose", end, perm=[1, 0, 2]))
    parts = [graph.one("Unsqueeze", graph.one("Concat", *ends, axis=1), graph.keep([1])) for ends in after]
    return graph.one("Transpose", x, perm=[1, 0, 2]), graph.one("Concat", *parts, axis=1)


def _part_of_state(graph: Graph, state: str, part: int, layer: int) -> str:
    """The initial state of a layer, (1, n, width)."""
    found = graph.one("Gather", graph.one("Gather", state, graph.keep(part), axis=1), graph.keep(layer), axis=1)
    return graph.one("Unsqueeze", found, graph.keep([0]))


def _layer(graph: Graph, layers: Recurrent, layer: int, x: str, begins: list[str]) -> list[str]:
    """One layer as an ONNX LSTM, GRU or RNN: its outputs and last state."""
    kind, width = layers.kind, layers.width
    known = {name: getattr(layers, f"{name}_l{layer}") for name in ("weight_ih", "weight_hh")}
    biases = [getattr(layers, f"bias_{name}_l{layer}", known["weight_ih"].new_zeros(0)) for name in ("ih", "hh")]
    if kind == "gru" and layers.cells.reads:
        raise UsageError("ONNX has no GRU with this position of the reset gate; train with another reset")

    def ordered(matrix: Tensor) -> Tensor:
        """Blocks of rows in the order of gates of ONNX; zeros for a gate that is coupled to another."""
        blocks = matrix.split(width)
        gates = {"lstm": (0, 3, 1, 2), "peephole": (0, 3, 1, 2), "coupled": (0, 2, None, 1), "gru": (1, 0, 2)}
        order = gates.get(kind, (0,))
        return torch.cat([torch.zeros_like(blocks[0]) if k is None else blocks[k] for k in order])[None]

    weights = [graph.keep(ordered(matrix)) for matrix in known.values()]
    bias = graph.keep(torch.cat([ordered(bias) for bias in biases], 1)) if layers.bias else ""
    given = [x, *weights, bias, "", *begins]
    if kind == "rnn":
        relu = layers.cells.kernel == "rnn_relu"
        return graph.put("RNN", *given, outputs=2, hidden_size=width, activations=["Relu" if relu else "Tanh"])
    if kind == "gru":
        after = int(layers.cells.kernel == "gru")
        return graph.put("GRU", *given, outputs=2, hidden_size=width, linear_before_reset=after)
    if kind == "peephole":
        of_input, of_forget, of_output = getattr(layers, f"peephole_l{layer}")
        given.append(graph.keep(torch.cat([of_input, of_output, of_forget])[None]))
    return graph.put("LSTM", *given, outputs=3, hidden_size=width, input_forget=int(kind == "coupled"))


def _convolved(graph: Graph, layers: Any, x: str, state: str) -> tuple[str, str]:
    """Causal convolutions: outputs of the last layer, and the inputs that each layer keeps."""
    here, after = graph.one("Transpose", x, perm=[0, 2, 1]), []
    pasts = graph.put("Split", state, graph.keep(layers.sizes), outputs=len(layers.sizes), axis=1)
    for block, past in zip(layers.blocks, pasts, strict=True):
        convolution, memory = block.convolution, block.memory
        before = graph.one("Reshape", past, graph.keep([0, convolution.in_channels, memory]))
        seen = graph.one("Concat", before, here, axis=2)
        after.append(graph.one("Flatten", graph.cut(seen, 2, -memory)))
        kept = (graph.keep(convolution.weight), graph.keep(convolution.bias))
        both = graph.one("Conv", seen, *kept, dilations=list(convolution.dilation))
        values, gates = graph.put("Split", both, graph.keep([layers.outputs] * 2), outputs=2, axis=1)
        gated = graph.one("Mul", values, graph.one("Sigmoid", gates))
        here = graph.one("Add", gated, graph.cut(seen, 2, memory)) if block.shortcut else gated
    return graph.one("Transpose", here, perm=[0, 2, 1]), graph.one("Concat", *after, axis=1)


def _logits(graph: Graph, model: LanguageParts, features: str) -> str:
    """Logits of all tokens; log-probabilities for an adaptive softmax."""

    def times(x: str, weight: Tensor) -> str:
        return graph.one("MatMul", x, graph.keep(weight.t()))

    if model.adaptive is None:
        assert model.bias is not None
        bias = model.bias if model.log_z is None else model.bias - model.log_z
        return graph.one("Add", times(features, model.output), graph.keep(bias))
    head = graph.one("LogSoftmax", times(features, model.adaptive.head.weight), axis=-1)
    tails: Any = model.adaptive.tail
    common, found = model.adaptive.shortlist_size, []
    for k, tail in enumerate(tails):
        reached = times(times(features, tail[0].weight), tail[1].weight)
        of_tail = graph.cut(head, 2, common + k, common + k + 1)
        found.append(graph.one("Add", graph.one("LogSoftmax", reached, axis=-1), of_tail))
    return graph.one("Concat", graph.cut(head, 2, 0, common), *found, axis=2)
