"""Output of generated examples: an image grid, a folder of images, a table, or an array.

The destination is checked before anything is computed, so errors are reported at once. Output is written atomically.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import Tensor

from danlu.app.files.file_writer import Drawn as Drawn
from danlu.app.files.file_writer import FileWriter, Form
from danlu.catalogue.lookup import resolve
from danlu.data.base.dataset import DataInfo
from danlu.data.kinds import KINDS
from danlu.errors import UsageError
from danlu.storage.atomic import temporary_folder, write_bytes

LARGEST_SHEET = 10_000
"""maximal number of images in a grid; larger files cannot be viewed"""


class Place(NamedTuple):
    """The destination of examples.

    Attributes:
        path: the file or folder; None is standard output.
        form: the form of the output.
        overwrite: whether existing files may be replaced.
    """

    path: Path | None
    form: Form
    overwrite: bool = False


def find_place(out: str | Path | None, run: str | Path, word: str, info: DataInfo, overwrite: bool = False) -> Place:
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
    >>> find_place("rows.csv", "model", "samples", TableInfo((2,))).form
    'table'
    """
    writer = _writer(info)
    usual = writer.forms[writer.default]
    if out is None:
        inside = (Path(run) / "run.json").is_file()
        path = (Path(run) if inside else Path()) / (word + writer.default)
        return _free(Place(path, usual, overwrite or inside))
    if str(out) == "-":
        if usual == "sheet" and sys.stdout.isatty():
            raise UsageError("a terminal cannot show an image; give a file with -o, or redirect: … -o - > FILE")
        return Place(None, usual)
    path = Path(out)
    ending = "/" if str(out).endswith("/") or path.is_dir() else path.suffix.lower()
    if not any(ending in _writer_of(kind).forms for kind in KINDS if KINDS[kind].write_files):
        raise UsageError(f"{out}: the name must end in {writer.endings}; the ending selects the form")
    if ending not in writer.forms:
        raise UsageError(f"{out}: this model makes {writer.examples}; give a name that ends in {writer.endings}")
    return _free(Place(path, writer.forms[ending], overwrite))


def _writer_of(kind: str) -> FileWriter:
    return resolve(KINDS[kind].write_files)


def _writer(info: DataInfo) -> FileWriter:
    """The writer of the examples of a model.

    Raises:
        UsageError: if there is none.
    """
    if not KINDS[info.kind].write_files or not (writer := _writer_of(info.kind)).writable(info):
        raise UsageError(f"this model makes {info.kind} of shape {info.shape}, for which there is no file; use Python")
    return writer


def _free(place: Place) -> Place:
    path = place.path
    assert path is not None
    if not path.absolute().parent.is_dir():
        raise UsageError(f"{path}: there is no folder {path.parent}")
    if place.overwrite and not (path.is_dir() and place.form != "folder"):
        return place
    if place.form == "folder" and path.is_dir() and not any(path.iterdir()):
        return place
    if path.exists():
        what = "is not empty" if place.form == "folder" and path.is_dir() else "is there already"
        raise UsageError(f"{path} {what}; give another name with -o, or --overwrite")
    return place


def write(
    place: Place, x: Tensor, info: DataInfo, drawn: Drawn | None = None, known: np.ndarray | None = None
) -> Path | None:
    """Write examples to their destination; return the path, or None for standard output.

    Args:
        place: the destination, from ``find_place``.
        x: the examples, (n, *shape), in the values of the model.
        info: the examples of the model.
        drawn: the images of an image grid, if they differ from the examples.
        known: for rows, numbers in the units of the file that are written unchanged; NaN for the others.

    Raises:
        UsageError: if an image grid would be too large.
    """
    writer = _writer_of(info.kind)
    if place.form == "folder":
        assert place.path is not None
        assert writer.files is not None
        _write_folder(place.path, writer.files(x, info))
        return place.path
    check_sheet(place, len(x if drawn is None else drawn.images))
    content = writer.content(place.form, x, info, drawn, known)
    if place.path is None:
        getattr(sys.stdout, "buffer", io.BytesIO()).write(content)
        return None
    write_bytes(place.path, content)
    return place.path


def check_sheet(place: Place, count: int) -> None:
    """Check that an image grid is not too large.

    Raises:
        UsageError: if it is.
    """
    if place.form == "sheet" and count > LARGEST_SHEET:
        raise UsageError(
            f"{count:,} pictures are too many for one sheet, which has {LARGEST_SHEET:,} at most; give -o FOLDER/ or "
            f"-o FILE.npy"
        )


def _write_folder(path: Path, contents: Sequence[bytes]) -> None:
    """Write numbered files. They are written to a temporary folder first, then moved."""
    digits = max(4, len(str(len(contents) - 1)))
    with temporary_folder(path.parent, path.name) as temporary:
        for number, content in enumerate(contents):
            (temporary / f"{number:0{digits}}.png").write_bytes(content)
        path.mkdir(exist_ok=True)
        for file in sorted(temporary.iterdir()):
            file.replace(path / file.name)
