"""Files as inputs of a model: images, rows of tables, or waveforms."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from danlu.app.console.progress import Screen
from danlu.catalogue.lookup import resolve
from danlu.data.base.dataset import DataInfo, require_images
from danlu.data.kinds import KINDS
from danlu.errors import UsageError


class Input(NamedTuple):
    """A batch of inputs: the name of each (its file, and line of a table), and their tensor or an error."""

    names: list[str]
    x: Tensor | None
    error: str | None = None


def inputs_of(
    files: Iterable[str | Path],
    info: DataInfo,
    invert: bool,
    encoding: str,
    screen: Screen,
    display: Callable[[str], str] = str,
) -> Iterator[Input]:
    """Read images, rows of tables or waveforms as inputs of a model.

    Args:
        files: images, or folders of images; or CSV or Parquet files; or WAV files, or folders of them.
        info: the inputs of the model.
        invert: for images, invert dark on light to light on dark.
        encoding: text encoding of CSV files.
        screen: prints a note on columns that are not used.
        display: replaces the path of standard input by its name, see ``with_standard_input``.

    Raises:
        UsageError: if a file does not exist, a table is not valid, or ``invert`` is given for other inputs than images.
    """
    reader = KINDS[info.kind].read_files
    if not reader:
        raise UsageError(
            f"this model takes {info.description}, which cannot be read from files; use it in Python: danlu.load(RUN)"
        )
    require_images(info, invert=invert)
    return resolve(reader)(files, info, invert, encoding, screen, display)


def say_unused(screen: Screen, file: str, columns: tuple[str, ...]) -> None:
    """Print a note on columns of a table that are ignored."""
    if columns:
        screen.say(f"{file}: ignored columns (the model does not use them): {', '.join(columns)}")
