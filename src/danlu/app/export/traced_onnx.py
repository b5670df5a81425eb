"""ONNX for verbs with one input tensor and one output tensor, traced by torch."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from typing import Any

import torch
from torch import Tensor, nn

from danlu.app.export.check_onnx import checked, require_packages
from danlu.app.export.content import Content
from danlu.data.images.info import ImageInfo
from danlu.errors import RunError, UsageError, nearest
from danlu.models.base import Model
from danlu.models.onnx import OnnxCase, OnnxGraph
from danlu.verbs import VERBS, method, need, verbs_of

EXPORTABLE = ("classify", "predict", "encode", "log_prob", "energy", "recall", "reconstruct")
"""verbs with one input tensor and one output tensor, without random numbers"""
BATCHES = (1, 5)
"""sizes of the batches on which the graph is checked"""


def applies(model: Model) -> bool:
    """Any model; ``write`` refuses one that has no exportable verb, and names the verbs that it has."""
    return True


def write(model: Model, verb: str | None, metadata: dict[str, str]) -> Content:
    """The graph of a verb as torch traces it.

    Raises:
        UsageError: if the model does not have the verb, or no verb that can be exported.
        RunError: if torch cannot trace it.
    """
    require_packages()
    verb = _chosen(model, verb)
    module = _Verb(model, verb).eval()
    name = model.info.inputs
    example = _random_examples(model, 2, torch.Generator().manual_seed(0))

    def cases() -> Iterator[OnnxCase]:
        source = torch.Generator().manual_seed(1)
        for n in BATCHES:
            x = _random_examples(model, n, source)
            yield OnnxCase({name: x}, (module(x),))

    return checked(OnnxGraph(_traced(module, example, name, verb), verb, (verb,), {}, cases), metadata)


def _random_examples(model: Model, n: int, source: torch.Generator) -> Tensor:
    """Uniform random numbers from 0 to 1 as inputs of a model; for images with two levels, these levels."""
    x = torch.rand(n, *model.info.shape, dtype=next(model.parameters()).dtype, generator=source)
    if not isinstance(model.info, ImageInfo) or model.info.levels > 2:
        return x
    low, high = model.info.range
    return low + x.round() * (high - low)


class _Verb(nn.Module):
    """One verb of a model as the forward pass of a module."""

    def __init__(self, model: Model, verb: str):
        super().__init__()
        self.model, self.verb = model, verb

    def forward(self, x: Tensor) -> Tensor:
        return method(self.model, self.verb)(x)


def _chosen(model: Model, verb: str | None) -> str:
    exportable = [name for name in EXPORTABLE if name in verbs_of(model)]
    if verb is None:
        if not exportable:
            verbs = ", ".join(verbs_of(model)) or "none"
            raise UsageError(
                f"{type(model).__name__} cannot be exported to ONNX: it has no verb with one input tensor and one "
                f"output tensor; its verbs: {verbs}"
            )
        return exportable[0]
    if verb not in VERBS:
        raise UsageError(f"verb: there is no verb {verb!r}; {nearest(verb, VERBS)}", settings=("verb",))
    need(model, verb)
    if verb not in EXPORTABLE:
        allowed = f"available: {', '.join(exportable)}" if exportable else "this model has no verb that can be exported"
        raise UsageError(
            f"{verb} cannot be exported to ONNX: it uses random numbers, or several tensors; {allowed}",
            settings=("verb",),
        )
    return verb


def _traced(module: nn.Module, example: Tensor, name: str, verb: str) -> Any:
    """The module as an ``onnx.ModelProto`` for batches of any size."""
    with _quiet():
        try:
            program = torch.onnx.export(
                module,
                (example,),
                dynamo=True,
                dynamic_shapes={"x": {0: torch.export.Dim("n")}},
                input_names=[name],
                output_names=[verb],
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            raise RunError(f"torch {torch.__version__} cannot export {verb} of this model to ONNX") from error
    assert program is not None
    return program.model_proto


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the messages that torch's exporter writes for its own developers."""
    names = ("torch.onnx", "onnxscript", "torch.export", "torch.fx.experimental.symbolic_shapes")
    loggers: list[Any] = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):  # where it prints whole graphs
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
