"""A finished model in the formats of others: ONNX, and weights alone as safetensors."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from danlu.app.export import onnx_language
from danlu.app.inference.load import load
from danlu.errors import RunError, UsageError, nearest
from danlu.models.base import Model
from danlu.models.recurrent.language import LanguageModel
from danlu.models.saving.model_folder import describe
from danlu.nn.state_dict import tensors_of
from danlu.storage.atomic import write_bytes
from danlu.verbs import VERBS, need, verbs_of

TELLING = ("classify", "encode", "log_prob", "energy", "recall", "reconstruct")
"""verbs that make one tensor of one, and draw nothing"""
FORMATS = (".onnx", ".safetensors")
TOLERANCE = 1e-4


class Exported(NamedTuple):
    """What was written.

    Attributes:
        path: the file.
        format: onnx or safetensors.
        verb: what the ONNX graph does, or None.
        difference: largest difference between onnxruntime's answers and ours, or None if it was not compared.
    """

    path: Path
    format: str
    verb: str | None = None
    difference: float | None = None


def export(run: str | Path, out: str | Path, verb: str | None = None) -> Exported:
    """Write the model of a run into one file, whose name says the format: ``.onnx`` or ``.safetensors``.

    An ONNX file does one verb of the model, on batches of any size; the names of the classes, and what inputs are, lie
    in its metadata. That of a language model makes logits and the next state of tokens and a state, of any number and
    length. Where onnxruntime is installed, its answers are compared with the model's own. A safetensors file
    has the weights under the names that the published models use for them, where there are such.

    Args:
        run: a run folder, or a model folder.
        out: the file to write; one that is there is replaced.
        verb: what the ONNX file does; the first of its verbs that can be written so, if not given.

    Raises:
        UsageError: if the format is unknown, a package is missing, the model has no such verb, or ONNX no such layer.
        RunError: if onnxruntime's answers are not the model's.
    """
    out = Path(out)
    if out.suffix not in FORMATS:
        raise UsageError(f"{out}: the name ends in {' or '.join(FORMATS)}, which says the format")
    if out.is_dir():
        raise UsageError(f"{out} is a folder; name the file to write")
    if not out.absolute().parent.is_dir():
        raise UsageError(f"{out}: there is no folder {out.parent}")
    if out.suffix == ".safetensors" and verb is not None:
        raise UsageError(f"{out}: weights alone do nothing; leave --verb {verb} out")
    model = load(run)
    return _weights(model, out) if out.suffix == ".safetensors" else _onnx(model, out, verb)


def _weights(model: Model, out: Path) -> Exported:
    from safetensors.torch import save

    tensors = {name: values.cpu().contiguous() for name, values in tensors_of(model).items()}
    write_bytes(out, save(tensors, {"format": "pt", **_words(model)}))
    return Exported(out, "safetensors")


def _onnx(model: Model, out: Path, verb: str | None) -> Exported:
    if lacking := [name for name in ("onnx", "onnxscript") if find_spec(name) is None]:
        raise UsageError(f"{' and '.join(lacking)} must be there to write ONNX: pip install 'danlu[export]'")
    if isinstance(model, LanguageModel):
        return _language(model, out, verb)
    verb = _chosen(model, verb)
    graph = _Graph(model, verb).eval()
    some = next(model.parameters())
    example = torch.rand(2, *model.info.shape, dtype=some.dtype, generator=torch.Generator().manual_seed(0))
    content = _finished(_traced(graph, example, model.info.inputs, verb), {**_words(model), "verb": verb})
    return _compared(out, content, verb, _difference(content, graph, model))


def _language(model: LanguageModel, out: Path, verb: str | None) -> Exported:
    """What completing asks for: logits and a state."""
    if verb not in (None, "complete"):
        raise UsageError(f"of a language model ONNX has logits and a state, with which to complete; leave {verb} out")
    content = _finished(onnx_language.written(model), {**_words(model), **onnx_language.words(model)})
    found = None if find_spec("onnxruntime") is None else onnx_language.difference(content, model)
    return _compared(out, content, "complete", found)


def _finished(page: Any, words: dict[str, str]) -> bytes:
    """An ONNX model with its metadata."""
    for name, text in words.items():
        entry = page.metadata_props.add()
        entry.key, entry.value = name, text
    return page.SerializeToString()


def _compared(out: Path, content: bytes, verb: str, difference: float | None) -> Exported:
    """The file, written if onnxruntime says the same."""
    if difference is not None and not difference <= TOLERANCE:
        raise RunError(f"onnxruntime's answers differ from the model's by {difference:.2g}; nothing was written")
    write_bytes(out, content)
    return Exported(out, "onnx", verb, difference)


def _traced(graph: nn.Module, example: Tensor, name: str, verb: str) -> Any:
    """The verb as an ONNX model."""
    with _quiet():
        try:
            program = torch.onnx.export(
                graph,
                (example,),
                dynamo=True,
                dynamic_shapes={"x": {0: torch.export.Dim("n")}},
                input_names=[name],
                output_names=[verb],
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            raise RunError(f"torch {torch.__version__} cannot write {verb} of this model as ONNX") from error
    assert program is not None
    return program.model_proto


class _Graph(nn.Module):
    """One verb of a model as a module."""

    def __init__(self, model: Model, verb: str):
        super().__init__()
        self.model, self.verb = model, verb

    def forward(self, x: Tensor) -> Tensor:
        return getattr(self.model, self.verb)(x)


def _chosen(model: Model, verb: str | None) -> str:
    can = [name for name in TELLING if name in verbs_of(model)]
    if verb is not None:
        if verb not in VERBS:
            raise UsageError(f"there is no verb {verb!r}; {nearest(verb, VERBS)}")
        need(model, verb)
        if verb not in TELLING:
            raise UsageError(f"{verb} draws or asks for more than one tensor, which ONNX has no place for; "
                             f"{nearest(verb, can) if can else 'this model has no verb that does not'}")  # fmt: skip
        return verb
    if not can:
        raise UsageError(f"{type(model).__name__} has no verb that makes one tensor of one; it can {verbs_of(model)}")
    return can[0]


def _words(model: Model) -> dict[str, str]:
    """What a reader of the file must know."""
    return {"danlu": json.dumps(describe(model)), "data": json.dumps(model.info.to_json(), ensure_ascii=False)}


@torch.no_grad()
def _difference(content: bytes, graph: nn.Module, model: Model) -> float | None:
    """The largest difference of onnxruntime's answers from ours, on batches of one and of several."""
    if find_spec("onnxruntime") is None:
        return None
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    source = torch.Generator().manual_seed(1)
    worst = 0.0
    for n in (1, 5):
        x = torch.rand(n, *model.info.shape, dtype=next(model.parameters()).dtype, generator=source)
        try:
            (answer,) = session.run(None, {model.info.inputs: x.numpy()})
        except Exception as error:  # onnxruntime has no common class for its own
            raise RunError(f"what was exported does not run on a batch of {n}: {error}; nothing was written") from error
        worst = max(worst, float((torch.from_numpy(answer) - graph(x)).abs().max()))
    return worst


@contextmanager
def _quiet() -> Iterator[None]:
    """torch's exporter speaks to its developers."""
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
