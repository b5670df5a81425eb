"""What a model is asked about: image files, or the rows of tables, one place at a time."""

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
    """What a model is asked about: where it comes from, and a batch of one for each place, or why there is none."""

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
    """The pictures of image files and of folders of them, or the rows of tables, as a model of such data wants them.

    Args:
        files: images, or folders of them; or CSV or Parquet files.
        info: of the model.
        invert: turn dark on light into light on dark first, of images.
        encoding: how the text of CSV files is written.
        screen: is told of columns that are not used.
        said: calls standard input by its name, see ``files_of``.

    Raises:
        UsageError: if a file is not there, or a table is not as it should be.
    """
    reader = KINDS[info.kind].read_files
    if not reader:
        raise UsageError(f"this model takes {info.description}, which are not read from files; use Python")
    return resolve(reader)(files, info, invert, encoding, screen, said)


def say_unused(screen: Screen, file: str, columns: tuple[str, ...]) -> None:
    """Columns of a table that are ignored."""
    if columns:
        screen.say(f"{file}: columns that this model does not use are ignored: {', '.join(columns)}")
