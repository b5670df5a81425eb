"""Result of a model that builds its own ONNX graph because torch cannot trace it: the graph and cases to check it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from torch import Tensor


class OnnxCase(NamedTuple):
    """Inputs of the graph by name, and the outputs of the model for them, in the order of the outputs of the graph."""

    inputs: dict[str, Tensor]
    outputs: tuple[Tensor, ...]


class OnnxGraph(NamedTuple):
    """The ONNX graph of one verb of a model.

    Attributes:
        proto: the graph, an ``onnx.ModelProto``.
        verb: the verb that the graph computes, or one step of it.
        outputs: names of its outputs.
        metadata: strings by name that are stored in the file.
        cases: yields inputs of several sizes with the outputs of the model.
        relative: whether differences are divided by the largest output if it is above 1.
    """

    proto: Any
    verb: str
    outputs: tuple[str, ...]
    metadata: dict[str, str]
    cases: Callable[[], Iterator[OnnxCase]]
    relative: bool = False
