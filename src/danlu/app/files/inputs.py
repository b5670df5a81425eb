"""Files as inputs of a model: images, or rows of tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from danlu.app.console.progress import Screen
from danlu.catalogue.lookup import resolve
from danlu.data.base.dataset import DataInfo
from danlu.data.kinds import KINDS
from danlu.errors import UsageError


class Input(NamedTuple):
    """A batch of inputs: the place of each in its file, and a tensor with one row per place, or an error."""

    places: list[str]
    x: Tensor | None
    error: str | None = None


def inputs_of(
    files: Iterable[str | Path],
    info: DataInfo,
    invert: bool,
    encoding: str,
    screen: Screen,
    said: Callable[[str], str] = str,
) -> Iterator[Input]:
    """Read images or rows of tables as inputs of a model.

    Args:
        files: images, or folders of images; or CSV or Parquet files.
        info: the inputs of the model.
        invert: for images, invert dark on light to light on dark.
        encoding: text encoding of CSV files.
        screen: prints a note on columns that are not used.
        said: replaces the path of standard input by its name, see ``files_of``.

    Raises:
        UsageError: if a file does not exist, or a table is not valid.
    """
    reader = KINDS[info.kind].read_files
    if not reader:
        raise UsageError(f"this model takes {info.description}, which are not read from files; use Python")
    return resolve(reader)(files, info, invert, encoding, screen, said)


def say_unused(screen: Screen, file: str, columns: tuple[str, ...]) -> None:
    """Print a note on columns of a table that are ignored."""
    if columns:
        screen.say(f"{file}: columns that this model does not use are ignored: {', '.join(columns)}")
