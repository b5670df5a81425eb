"""Compare an ONNX graph with the model that it was made from, and give the content of its file."""

from __future__ import annotations

from importlib.util import find_spec

import torch

from danlu.app.export.content import Content
from danlu.errors import RunError, UsageError
from danlu.models.onnx import OnnxGraph

TOLERANCE = 1e-4


def require_packages() -> None:
    """Raise UsageError if a package is missing that writes ONNX."""
    if lacking := [name for name in ("onnx", "onnxscript") if find_spec(name) is None]:
        raise UsageError(f"{' and '.join(lacking)} must be installed to write ONNX: pip install 'danlu[export]'")


def checked(graph: OnnxGraph, metadata: dict[str, str]) -> Content:
    """The content of the file, compared with the model's own outputs if onnxruntime is installed.

    Args:
        graph: the graph with its cases.
        metadata: texts that are stored in the file, before those of the graph.

    Raises:
        RunError: if the graph does not run, or its outputs differ.
    """
    for name, text in {**metadata, "verb": graph.verb, **graph.metadata}.items():
        entry = graph.proto.metadata_props.add()
        entry.key, entry.value = name, text
    data = graph.proto.SerializeToString()
    found = None if find_spec("onnxruntime") is None else difference(data, graph)
    if found is not None and not found <= TOLERANCE:
        raise RunError(f"the outputs of onnxruntime differ from the model's by {found:.2g}; nothing was written")
    return Content(data, graph.verb, found)


@torch.no_grad()
def difference(data: bytes, graph: OnnxGraph) -> float:
    """The largest difference of onnxruntime's outputs from the model's own, over all cases.

    Raises:
        RunError: if the graph does not run on a case.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    worst = 0.0
    for case in graph.cases():
        inputs = {name: values.numpy() for name, values in case.inputs.items()}
        try:
            answers = session.run(graph.outputs, inputs)
        except Exception as error:  # onnxruntime has no common class for its own
            shapes = ", ".join(f"{name} {values.shape}" for name, values in inputs.items())
            raise RunError(f"the ONNX graph does not run on {shapes}: {error}; nothing was written") from error
        for theirs, ours in zip(answers, case.outputs, strict=True):
            apart = (torch.from_numpy(theirs) - ours).abs().max()
            worst = max(worst, float(apart / ours.abs().max().clamp_min(1) if graph.relative else apart))
    return worst
