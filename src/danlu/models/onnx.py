"""What a model gives that writes its own ONNX graph, because torch cannot trace it: the graph, and how to check it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from torch import Tensor


class OnnxCase(NamedTuple):
    """Inputs of the graph by name, and the outputs that the model itself computes from them, in the graph's order."""

    inputs: dict[str, Tensor]
    outputs: tuple[Tensor, ...]


class OnnxGraph(NamedTuple):
    """The ONNX graph of one verb of a model.

    Attributes:
        proto: the graph, an ``onnx.ModelProto``.
        verb: the verb that it computes, or for which it computes a step.
        outputs: names of its outputs.
        metadata: texts by name that are stored in the file.
        cases: yields inputs of several sizes with the model's own outputs.
        relative: whether differences are divided by the largest output, if that is above 1.
    """

    proto: Any
    verb: str
    outputs: tuple[str, ...]
    metadata: dict[str, str]
    cases: Callable[[], Iterator[OnnxCase]]
    relative: bool = False
