"""ONNX for models that write their own graph."""

from __future__ import annotations

from typing import Any

from danlu.app.export.check_onnx import checked, require_packages
from danlu.app.export.content import Content
from danlu.errors import UsageError
from danlu.models.base import Model
from danlu.models.onnx import OnnxGraph
from danlu.verbs import has


def applies(model: Model) -> bool:
    """Whether the model writes its own graph."""
    return has(model, "onnx_graph")


def write(model: Any, verb: str | None, metadata: dict[str, str]) -> Content:
    """The graph that the model writes.

    Raises:
        UsageError: if another verb than that of the graph is asked for.
    """
    require_packages()
    graph: OnnxGraph = model.onnx_graph()
    if verb not in (None, graph.verb):
        raise UsageError(
            f"verb: {type(model).__name__} exports {graph.verb} only, got {verb}; remove verb", settings=("verb",)
        )
    return checked(graph, metadata)
