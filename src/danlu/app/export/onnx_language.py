"""A language model as ONNX: logits from tokens and a state, in ONNX's own recurrent operators.

torch unrolls a recurrent layer over the tokens that it is shown, so that what it writes would read texts of one length
alone. ONNX has operators for every kind of layer but the GRU of the notes, and here they are put together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from danlu.errors import RunError, UsageError
from danlu.models.recurrent.language import LanguageModel
from danlu.nn.conv.causal import CausalConvolutions
from danlu.nn.recurrent.layer import Recurrent

OPSET, VERSION = 17, 8
"""of ONNX's operators and of its files: old enough for every runtime"""
INPUTS, OUTPUTS = ("token", "state"), ("logits", "next_state")
_END = 2**63 - 1  # of whatever is sliced


class Page:
    """An ONNX graph that is being written."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.tensors: list[Any] = []

    def put(self, operator: str, *inputs: str, outputs: int = 1, **attributes: Any) -> list[str]:
        """A node; the names of what it gives."""
        from onnx import helper

        names = [f"{operator}_{len(self.nodes)}_{k}" for k in range(outputs)]
        self.nodes.append(helper.make_node(operator, inputs, names, **attributes))
        return names

    def one(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """A node that gives one thing; its name."""
        return self.put(operator, *inputs, **attributes)[0]

    def keep(self, values: Tensor | Sequence[int] | int) -> str:
        """A constant; its name."""
        from onnx import numpy_helper

        values = values.detach().cpu().float() if isinstance(values, Tensor) else torch.tensor(values)
        name = f"constant_{len(self.tensors)}"
        self.tensors.append(numpy_helper.from_array(values.contiguous().numpy(), name))
        return name

    def cut(self, x: str, axis: int, start: int, stop: int = _END) -> str:
        """A slice along one axis."""
        return self.one("Slice", x, *(self.keep([number]) for number in (start, stop, axis)))


def written(model: LanguageModel) -> Any:
    """The graph of a language model: ``token`` (n, t) and ``state`` (n, …) to ``logits`` and ``next_state``.

    n and t are free. Zeros are the state before anything was read; the logits of an adaptive softmax are
    log-probabilities.

    Raises:
        UsageError: if ONNX has no such layer.
    """
    from onnx import TensorProto, checker, helper

    page, (token, state) = Page(), INPUTS
    if model.embedding is None:
        x = page.one("OneHot", token, page.keep(model.vocabulary), page.keep(torch.tensor([0.0, 1.0])))
    else:
        x = page.one("Gather", page.keep(model.embedding.weight), token)
    how = _convolved if isinstance(model.layers, CausalConvolutions) else _read
    features, after = how(page, model.layers, x, state)
    logits = _logits(page, model, features)
    for found, name in zip((logits, after), OUTPUTS, strict=True):
        page.nodes.append(helper.make_node("Identity", [found], [name]))
    of_state = ["n", *model.zero_state(1).shape[1:]]
    shapes = {token: (TensorProto.INT64, ["n", "t"]), state: (TensorProto.FLOAT, of_state)}
    shapes |= {"logits": (TensorProto.FLOAT, ["n", "t", model.vocabulary]), "next_state": shapes[state]}
    known = {name: helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in shapes.items()}
    given, made = ([known[name] for name in names] for names in (INPUTS, OUTPUTS))
    graph = helper.make_graph(page.nodes, "language model", given, made, page.tensors)
    opsets = [helper.make_opsetid("", OPSET)]
    proto = helper.make_model(graph, opset_imports=opsets, ir_version=VERSION, producer_name="danlu")
    checker.check_model(proto)
    return proto


def _read(page: Page, layers: Any, x: str, state: str) -> tuple[str, str]:
    """Recurrent layers: what the last one puts out, and the state after the last token."""
    after: list[list[str]] = [[] for _ in range(layers.cells.states)]
    x = page.one("Transpose", x, perm=[1, 0, 2])  # ONNX has the steps first
    for layer in range(layers.layers):
        begins = [_part_of_state(page, state, part, layer) for part in range(layers.cells.states)]
        outputs, *ends = _layer(page, layers, layer, x, begins)
        x = page.one("Squeeze", outputs, page.keep([1]))
        for found, end in zip(after, ends, strict=True):
            found.append(page.one("Transpose", end, perm=[1, 0, 2]))
    parts = [page.one("Unsqueeze", page.one("Concat", *ends, axis=1), page.keep([1])) for ends in after]
    return page.one("Transpose", x, perm=[1, 0, 2]), page.one("Concat", *parts, axis=1)


def _part_of_state(page: Page, state: str, part: int, layer: int) -> str:
    """What a layer begins with, as (1, n, width)."""
    found = page.one("Gather", page.one("Gather", state, page.keep(part), axis=1), page.keep(layer), axis=1)
    return page.one("Unsqueeze", found, page.keep([0]))


def _layer(page: Page, layers: Recurrent, layer: int, x: str, begins: list[str]) -> list[str]:
    """One layer as ONNX's LSTM, GRU or RNN: its outputs, and its state in the end."""
    kind, width = layers.kind, layers.width
    known = {name: getattr(layers, f"{name}_l{layer}") for name in ("weight_ih", "weight_hh")}
    biases = [getattr(layers, f"bias_{name}_l{layer}", known["weight_ih"].new_zeros(0)) for name in ("ih", "hh")]
    if kind == "gru" and layers.cells.reads:
        raise UsageError("ONNX has no GRU whose reset gate acts on the input, as that of the notes; use another reset")

    def ordered(matrix: Tensor) -> Tensor:
        """Blocks of rows in ONNX's order of gates; a gate that is bound to another has zeros."""
        blocks = matrix.split(width)
        gates = {"lstm": (0, 3, 1, 2), "peephole": (0, 3, 1, 2), "coupled": (0, 2, None, 1), "gru": (1, 0, 2)}
        order = gates.get(kind, (0,))
        return torch.cat([torch.zeros_like(blocks[0]) if k is None else blocks[k] for k in order])[None]

    weights = [page.keep(ordered(matrix)) for matrix in known.values()]
    bias = page.keep(torch.cat([ordered(bias) for bias in biases], 1)) if layers.bias else ""
    given = [x, *weights, bias, "", *begins]
    if kind == "rnn":
        relu = layers.cells.kernel == "rnn_relu"
        return page.put("RNN", *given, outputs=2, hidden_size=width, activations=["Relu" if relu else "Tanh"])
    if kind == "gru":
        after = int(layers.cells.kernel == "gru")
        return page.put("GRU", *given, outputs=2, hidden_size=width, linear_before_reset=after)
    if kind == "peephole":
        of_input, of_forget, of_output = getattr(layers, f"peephole_l{layer}")
        given.append(page.keep(torch.cat([of_input, of_output, of_forget])[None]))
    return page.put("LSTM", *given, outputs=3, hidden_size=width, input_forget=int(kind == "coupled"))


def _convolved(page: Page, layers: Any, x: str, state: str) -> tuple[str, str]:
    """Convolutions that look back: what the last one puts out, and what each has to remember."""
    here, after = page.one("Transpose", x, perm=[0, 2, 1]), []
    pasts = page.put("Split", state, page.keep(layers.sizes), outputs=len(layers.sizes), axis=1)
    for block, past in zip(layers.blocks, pasts, strict=True):
        convolution, memory = block.convolution, block.memory
        before = page.one("Reshape", past, page.keep([0, convolution.in_channels, memory]))
        seen = page.one("Concat", before, here, axis=2)
        after.append(page.one("Flatten", page.cut(seen, 2, -memory)))
        kept = (page.keep(convolution.weight), page.keep(convolution.bias))
        both = page.one("Conv", seen, *kept, dilations=list(convolution.dilation))
        values, gates = page.put("Split", both, page.keep([layers.outputs] * 2), outputs=2, axis=1)
        gated = page.one("Mul", values, page.one("Sigmoid", gates))
        here = page.one("Add", gated, page.cut(seen, 2, memory)) if block.shortcut else gated
    return page.one("Transpose", here, perm=[0, 2, 1]), page.one("Concat", *after, axis=1)


def _logits(page: Page, model: LanguageModel, features: str) -> str:
    """Scores of all words; of an adaptive softmax log-probabilities."""

    def times(x: str, weight: Tensor) -> str:
        return page.one("MatMul", x, page.keep(weight.t()))

    if model.adaptive is None:
        assert model.bias is not None
        bias = model.bias if model.log_z is None else model.bias - model.log_z
        return page.one("Add", times(features, model.output), page.keep(bias))
    head = page.one("LogSoftmax", times(features, model.adaptive.head.weight), axis=-1)
    tails: Any = model.adaptive.tail
    common, found = model.adaptive.shortlist_size, []
    for k, tail in enumerate(tails):
        reached = times(times(features, tail[0].weight), tail[1].weight)
        of_tail = page.cut(head, 2, common + k, common + k + 1)
        found.append(page.one("Add", page.one("LogSoftmax", reached, axis=-1), of_tail))
    return page.one("Concat", page.cut(head, 2, 0, common), *found, axis=2)


@torch.no_grad()
def difference(content: bytes, model: LanguageModel) -> float:
    """The largest difference of onnxruntime's logits and states from ours, in two pieces of texts of several sizes.

    Where numbers are large it is a share of the largest.

    Raises:
        RunError: if it does not run.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    source, worst = torch.Generator().manual_seed(1), 0.0
    for n, t in ((1, 1), (3, 7)):
        state = model.zero_state(n)
        for _ in range(2):
            tokens = torch.randint(model.vocabulary, (n, t), generator=source)
            try:
                answer = session.run(OUTPUTS, {"token": tokens.numpy(), "state": state.float().numpy()})
            except Exception as error:  # onnxruntime has no common class for its own
                raise RunError(f"what was exported does not run on {n} texts of {t} tokens: {error}") from error
            features, state = model(tokens, state)
            for theirs, ours in zip(answer, (model.logits(features), state), strict=True):
                apart = (torch.from_numpy(theirs) - ours).abs().max() / ours.abs().max().clamp_min(1)
                worst = max(worst, float(apart))
    return worst


def words(model: LanguageModel) -> dict[str, str]:
    """What a reader of the file must know beside what inputs are: what the file is for, and the tokenizer."""
    tokenizer = {} if model.tokenizer is None else {"tokenizer": model.tokenizer.to_json()}
    return {"verb": "complete", **tokenizer}
