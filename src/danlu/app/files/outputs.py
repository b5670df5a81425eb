"""Output of generated examples: an image grid, a folder of files, a table, a sound, or an array.

The destination is checked before anything is computed, so errors are reported at once. Output is written atomically.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import Tensor

from danlu.app.console.output import print_bytes
from danlu.app.files.file_writer import FileWriter, Form
from danlu.app.files.file_writer import ImageGrid as ImageGrid
from danlu.catalogue.lookup import resolve
from danlu.data.base.dataset import DataInfo
from danlu.data.kinds import KINDS
from danlu.errors import UsageError
from danlu.storage.atomic import temporary_folder, write_bytes
from danlu.storage.plain_files import check_folder, make_folder

_UNSHOWN: dict[Form, str] = {"grid": "an image", "sound": "a waveform"}
"""forms of bytes that change the state of a terminal"""
LARGEST_GRID = 10_000
"""maximal number of images in a grid; larger files cannot be viewed"""


class Destination(NamedTuple):
    """The destination of examples.

    Attributes:
        path: the file or folder; None is standard output.
        form: the form of the output.
        overwrite: whether existing files may be replaced.
    """

    path: Path | None
    form: Form
    overwrite: bool = False


def find_destination(
    out: str | Path | None, run: str | Path, word: str, info: DataInfo, overwrite: bool = False
) -> Destination:
    """Check the destination of examples.

    Args:
        out: a file whose ending selects the form, a folder (its name ends in /, or it exists), or "-" for standard
            output.
        run: the run folder or model folder; without ``out`` the file is written to a run folder, else to the current
            folder.
        word: name of this file, without its ending.
        info: the examples of the model.
        overwrite: whether existing files may be replaced; the default file in a run folder always may.

    Raises:
        UsageError: if the form is unknown or not possible for these examples, or the output exists.

    >>> from danlu.data.tables.info import TableInfo
    >>> find_destination("rows.csv", "model", "samples", TableInfo((2,))).form
    'table'
    """
    writer = writer_of(info)
    default = writer.forms[writer.default]
    if out is None:
        inside = (Path(run) / "run.json").is_file()
        path = (Path(run) if inside else Path()) / (word + writer.default)
        return _free(Destination(path, default, overwrite or inside))
    if str(out) == "-":
        if default in _UNSHOWN and sys.stdout.isatty():
            raise UsageError(
                f"out: a terminal cannot show {_UNSHOWN[default]}; write to a file, or redirect standard output",
                settings=(f"out=FILE{writer.default}",),
            )
        return Destination(None, default)
    path = Path(out)
    ending = "/" if str(out).endswith("/") or path.is_dir() else path.suffix.lower()
    if not any(ending in _writer_of(kind).forms for kind in KINDS if KINDS[kind].write_files):
        raise UsageError(f"{out}: the name must end in {writer.endings}")
    if ending not in writer.forms:
        raise UsageError(f"{out}: this model generates {writer.examples}; the name must end in {writer.endings}")
    return _free(Destination(path, writer.forms[ending], overwrite))


def _writer_of(kind: str) -> FileWriter:
    return resolve(KINDS[kind].write_files)


def can_write(info: DataInfo) -> bool:
    """Whether the examples of a model can be written to files."""
    return bool(KINDS[info.kind].write_files) and _writer_of(info.kind).writable(info)


def writer_of(info: DataInfo) -> FileWriter:
    """The writer of the examples of a model.

    Raises:
        UsageError: if there is none.
    """
    if not can_write(info):
        raise UsageError(
            f"this model generates {info.description}, which cannot be written to files; use it in Python: "
            f"danlu.load(RUN).sample(n)"
        )
    return _writer_of(info.kind)


def _free(destination: Destination) -> Destination:
    path = destination.path
    assert path is not None
    if not path.absolute().parent.is_dir():
        raise UsageError(f"{path}: the folder {path.parent} does not exist")
    if destination.form == "folder":
        check_folder(path)
    if destination.overwrite and not (path.is_dir() and destination.form != "folder"):
        return destination
    if destination.form == "folder" and path.is_dir() and not any(path.iterdir()):
        return destination
    if path.exists():
        what = "is not empty" if destination.form == "folder" and path.is_dir() else "already exists"
        raise UsageError(
            f"{path} {what}; write to another path with out, or set overwrite=True to replace it",
            settings=("out", "overwrite=True"),
        )
    return destination


def write(
    destination: Destination, x: Tensor, info: DataInfo, grid: ImageGrid | None = None, known: np.ndarray | None = None
) -> Path | None:
    """Write examples to their destination; return the path, or None for standard output.

    Args:
        destination: the destination, from ``find_destination``.
        x: the examples, (n, *shape), in the values of the model.
        info: the examples of the model.
        grid: the images of an image grid, if they differ from the examples.
        known: for rows, numbers in the units of the file that are written unchanged; NaN for the others.

    Raises:
        UsageError: if an image grid would be too large.
    """
    writer = _writer_of(info.kind)
    if destination.form == "folder":
        assert destination.path is not None
        assert writer.files is not None
        _write_folder(destination.path, writer.files(x, info), writer.suffix)
        return destination.path
    check_grid_size(destination, len(x if grid is None else grid.images))
    content = writer.content(destination.form, x, info, grid, known)
    if destination.path is None:
        print_bytes(content)
        return None
    write_bytes(destination.path, content)
    return destination.path


def check_grid_size(destination: Destination, count: int) -> None:
    """Check that an image grid is not too large.

    Raises:
        UsageError: if it is.
    """
    if destination.form == "grid" and count > LARGEST_GRID:
        raise UsageError(
            f"an image grid has at most {LARGEST_GRID:,} images, got {count:,}; write to a folder, whose name ends in "
            f"/, or to an array, whose name ends in .npy",
            settings=("out=FOLDER/", "out=FILE.npy"),
        )


def _write_folder(path: Path, contents: Sequence[bytes], suffix: str) -> None:
    """Write numbered files. They are written to a temporary folder first, then moved."""
    digits = max(4, len(str(len(contents) - 1)))
    with temporary_folder(path.parent, path.name) as temporary:
        for number, content in enumerate(contents):
            with (temporary / f"{number:0{digits}}{suffix}").open("xb") as file:
                file.write(content)
        make_folder(path)
        for written in sorted(temporary.iterdir()):
            written.replace(path / written.name)
