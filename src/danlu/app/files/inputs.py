"""What a model is asked about: image files, or the rows of tables, one place at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from danlu.app.console.progress import Screen
from danlu.app.files.image_files import find_images, read_image
from danlu.app.files.table_files import read_rows
from danlu.data.base.dataset import DataInfo
from danlu.errors import RunError, UsageError


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
    if info.kind != "table":
        return _images(files, info, invert)
    if invert:
        raise UsageError("invert is for images, and this model takes rows of a table; leave it out")
    return _rows(files, info, encoding, screen, said)


def _images(files: Iterable[str | Path], info: DataInfo, invert: bool) -> Iterator[Input]:
    for path in find_images(list(files)):
        try:
            yield Input([str(path)], read_image(path, info, invert)[None])
        except RunError as error:  # the other files are still answered
            yield Input([str(path)], None, str(error))


def _rows(
    files: Iterable[str | Path], info: DataInfo, encoding: str, screen: Screen, said: Callable[[str], str]
) -> Iterator[Input]:
    for path in map(Path, files):
        rows = read_rows(path, info, encoding)
        say_unused(screen, said(str(path)), rows.unused)
        yield from (Input(*some) for some in rows)


def say_unused(screen: Screen, file: str, columns: tuple[str, ...]) -> None:
    """Columns of a table that are ignored."""
    if columns:
        screen.say(f"{file}: columns that this model does not use are ignored: {', '.join(columns)}")
