"""Write a trained model into a file that other programs read: ONNX, or the weights alone as safetensors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from danlu.app.export.exporters import EXPORTERS, FORMATS
from danlu.app.inference.load import load
from danlu.errors import UsageError
from danlu.models.base import Model
from danlu.models.saving.model_folder import describe
from danlu.storage.atomic import write_bytes


class Exported(NamedTuple):
    """The file that was written.

    Attributes:
        path: the file.
        format: onnx or safetensors.
        verb: what the ONNX graph computes, or None.
        difference: largest difference between the outputs of onnxruntime and of the model; None if they were not
            compared.
    """

    path: Path
    format: str
    verb: str | None = None
    difference: float | None = None


def export(run: str | Path, out: str | Path, verb: str | None = None) -> Exported:
    """Write the model of a run into one file; its suffix gives the format: ``.onnx`` or ``.safetensors``.

    An ONNX file computes one verb of the model, on batches of any size; its metadata holds the names of the classes and
    the description of the inputs. For a language model it computes logits and the next state from tokens and a state,
    for any number and length of texts. If onnxruntime is installed, its outputs are compared with the model's own
    before the file is written. A safetensors file holds the weights under the names that the published models use for
    them, where there are such names.

    Args:
        run: a run folder or a model folder.
        out: the file to write; an existing file is replaced.
        verb: what the ONNX file computes; by default the first verb of the model that can be exported.

    Raises:
        UsageError: if the format is unknown, a package is missing, the model does not have the verb, or ONNX does not
            have a layer.
        RunError: if the outputs of onnxruntime differ from the model's.
    """
    out = Path(out)
    if out.suffix not in FORMATS:
        raise UsageError(f"{out}: the name must end in {' or '.join(FORMATS)}")
    if out.is_dir():
        raise UsageError(f"{out} is a folder; give the name of a file")
    if not out.absolute().parent.is_dir():
        raise UsageError(f"{out}: the folder {out.parent} does not exist")
    if out.suffix == ".safetensors" and verb is not None:
        raise UsageError(f"{out}: a safetensors file has weights only; remove verb", settings=("verb",))
    model = load(run)
    exporter = next(one for one in EXPORTERS if one.suffix == out.suffix and one.applies(model))
    content = exporter.write(model, verb, _metadata(model))
    write_bytes(out, content.data)
    return Exported(out, out.suffix[1:], content.verb, content.difference)


def _metadata(model: Model) -> dict[str, str]:
    """The description of the model and of its inputs."""
    return {"danlu": json.dumps(describe(model)), "data": json.dumps(model.info.to_json(), ensure_ascii=False)}
