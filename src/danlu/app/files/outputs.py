"""Where examples go that a model has made: a sheet of pictures, a folder of them, a table, an array.

The place is found before anything is computed, so that what cannot be written is said at once; and what is written is
there whole or not at all.
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from torch import Tensor

from danlu.app.files.image_grid import as_bytes, png, sheet
from danlu.app.files.table_files import in_units
from danlu.data.base.dataset import DataInfo
from danlu.errors import UsageError
from danlu.storage.atomic import temporary_folder, write_bytes

Form = Literal["sheet", "folder", "table", "array"]
FORMS: dict[str, Form] = {".png": "sheet", ".csv": "table", ".npy": "array"}
LARGEST_SHEET = 10_000
"""pictures of a sheet; more make a file that nobody can look at"""


class Place(NamedTuple):
    """Where examples go.

    Attributes:
        path: the file or the folder; None is standard output.
        form: as what they are written.
        overwrite: whether something may be there already.
    """

    path: Path | None
    form: Form
    overwrite: bool = False


def find_place(out: str | Path | None, run: str | Path, word: str, info: DataInfo, overwrite: bool = False) -> Place:
    """Where examples go, if they can.

    Args:
        out: a file whose name says the form, a folder (its name ends in /, or it is there), or "-" for standard output.
        run: the run or the model folder; without ``out`` a file goes into the run, or else into the current folder.
        word: name of that file, without its ending.
        info: of the model.
        overwrite: whether something may be there already; the file that goes into the run always may.

    Raises:
        UsageError: if the form is unknown or is none for such examples, or something is there.

    >>> find_place("rows.csv", "model", "samples", DataInfo("table", (2,))).form
    'table'
    """
    _check_kind(info)
    usual: Form = "sheet" if info.kind == "images" else "table"
    if out is None:
        inside = (Path(run) / "run.json").is_file()
        path = (Path(run) if inside else Path()) / (word + (".png" if usual == "sheet" else ".csv"))
        return _free(Place(path, usual, overwrite or inside))
    if str(out) == "-":
        if usual == "sheet" and sys.stdout.isatty():
            raise UsageError("a picture is not for a terminal; give a file with -o, or send it on: … -o - > FILE")
        return Place(None, usual)
    path = Path(out)
    if str(out).endswith("/") or path.is_dir():
        form: Form = "folder"
    elif path.suffix.lower() in FORMS:
        form = FORMS[path.suffix.lower()]
    else:
        raise UsageError(f"{out}: the name ends in .{_said(usual)}, which says the form")
    if (form in ("sheet", "folder")) != (usual == "sheet") and form != "array":
        what = "rows of a table" if usual == "table" else "pictures"
        raise UsageError(f"{out}: this model makes {what}; give a name that ends in .{_said(usual)}")
    return _free(Place(path, form, overwrite))


def _said(usual: Form) -> str:
    return "png (a sheet), in .npy (numbers) or in / (a folder)" if usual == "sheet" else "csv or in .npy"


def _check_kind(info: DataInfo) -> None:
    if info.kind == "text" or (info.kind == "images" and (len(info.shape) != 3 or info.shape[0] not in (1, 3))):
        raise UsageError(f"this model makes {info.kind} of shape {info.shape}, for which there is no file; use Python")


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


class Drawn(NamedTuple):
    """Pictures of a sheet, and how many are in a row.

    Attributes:
        images: (n, c, height, width) in the range of the data.
        columns: how many are in a row; as many as make it nearly square if None.
        heads: what is written above each, if anything is.
    """

    images: Tensor
    columns: int | None = None
    heads: Sequence[str] = ()


def write(
    place: Place, x: Tensor, info: DataInfo, drawn: Drawn | None = None, known: np.ndarray | None = None
) -> Path | None:
    """Write examples to their place; the path, or None for standard output.

    Args:
        place: from ``find_place``.
        x: (n, *shape), as the model has them.
        info: of the model.
        drawn: what a sheet shows, if it is not each example once.
        known: for rows, numbers in the units of the file that are written as they are; NaN for the others.

    Raises:
        UsageError: if a sheet would be too large.
    """
    if place.form == "folder":
        assert place.path is not None
        _write_folder(place.path, [png(as_bytes(one, info.range).permute(1, 2, 0)) for one in x])
        return place.path
    if place.form == "sheet":
        drawn = drawn or Drawn(x)
        check_sheet(place, len(drawn.images))
        content = png(sheet(drawn.images, drawn.columns, info.range, drawn.heads))
    elif place.form == "table":
        content = _csv(info, x, known).encode()
    else:
        content = _npy(in_units(info, x).astype(np.float32) if info.kind == "table" else x.cpu().numpy())
    if place.path is None:
        getattr(sys.stdout, "buffer", io.BytesIO()).write(content)
        return None
    write_bytes(place.path, content)
    return place.path


def check_sheet(place: Place, count: int) -> None:
    """Whether so many pictures are for one sheet.

    Raises:
        UsageError: if they are not.
    """
    if place.form == "sheet" and count > LARGEST_SHEET:
        raise UsageError(
            f"{count:,} pictures are too many for one sheet, which has {LARGEST_SHEET:,} at most; give -o FOLDER/ or "
            f"-o FILE.npy"
        )


def _write_folder(path: Path, contents: Sequence[bytes]) -> None:
    """The files are numbered; a new folder is there with all of them or not at all."""
    digits = max(4, len(str(len(contents) - 1)))
    with temporary_folder(path.parent, path.name) as temporary:
        for number, content in enumerate(contents):
            (temporary / f"{number:0{digits}}.png").write_bytes(content)
        path.mkdir(exist_ok=True)
        for file in sorted(temporary.iterdir()):
            file.replace(path / file.name)


def _csv(info: DataInfo, x: Tensor, known: np.ndarray | None) -> str:
    """The rows with the names of their columns; seven digits, which is what float32 has."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(info.columns or [f"x{k}" for k in range(1, x.shape[1] + 1)])
    rows = in_units(info, x)
    given = np.full(rows.shape, np.nan) if known is None else known
    for made, there in zip(rows, given, strict=True):
        writer.writerow([f"{a:.7g}" if np.isnan(b) else f"{b:.15g}" for a, b in zip(made, there, strict=True)])
    return text.getvalue()


def _npy(values: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, values)
    return content.getvalue()
