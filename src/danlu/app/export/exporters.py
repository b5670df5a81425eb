"""The list of exporters. The first one whose suffix fits and that applies to the model writes the file.

A new exporter is a module with the two functions ``applies`` and ``write``, and one line in ``EXPORTERS``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from danlu.app.export import own_onnx, traced_onnx, weights
from danlu.app.export.content import Content
from danlu.models.base import Model


class Exporter(NamedTuple):
    """One way to write a model into a file.

    Attributes:
        suffix: of the file's name.
        applies: whether it can write this model.
        write: the content of the file, from the model, the verb that was asked for (or None) and the metadata.
    """

    suffix: str
    applies: Callable[[Model], bool]
    write: Callable[[Model, str | None, dict[str, str]], Content]


EXPORTERS: tuple[Exporter, ...] = (
    Exporter(".onnx", own_onnx.applies, own_onnx.write),
    Exporter(".onnx", traced_onnx.applies, traced_onnx.write),
    Exporter(".safetensors", weights.applies, weights.write),
)
FORMATS = tuple(dict.fromkeys(exporter.suffix for exporter in EXPORTERS))
