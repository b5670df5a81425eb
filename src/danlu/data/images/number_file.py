"""A file with a number for each image of a folder."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

from danlu.data.base.folder_listing import MAX_NAMES, FileEntry
from danlu.errors import UsageError, few
from danlu.printable import printable
from danlu.storage.regular_file import read_regular


def read_numbers(path: Path, files: Sequence[FileEntry]) -> tuple[str, dict[str, float]]:
    """The name of the number, and the number of each image.

    The first line has the names of the columns: the path of an image relative to its folder, and the number. Fields are
    separated by commas, semicolons or tabs. Further columns are ignored.

    Args:
        path: the CSV file, in UTF-8.
        files: the images of the folder; each needs a number.

    Raises:
        UsageError: if the file cannot be read, a number is not valid, an image is named twice, or one has no number.
    """
    try:
        text = read_regular(path).decode("utf-8-sig")
    except FileNotFoundError:
        raise UsageError(f"images.numbers: {path} does not exist", settings=("images.numbers",)) from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not text in UTF-8; save it as CSV in UTF-8") from None
    first = text.partition("\n")[0]
    records = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count), skipinitialspace=True)
    header = next(records, [])
    if len(header) < 2:
        raise UsageError(f"{path} needs two columns, the name of an image and its number; line 1 has {len(header)}")
    numbers: dict[str, float] = {}
    for cells in records:
        if not cells:
            continue
        where = f"{path}, line {records.line_num}"
        if len(cells) < 2:
            raise UsageError(f"{where} has {len(cells)} field, expected {len(header)} as in the header")
        name = cells[0].strip().removeprefix("./")
        if name in numbers:
            raise UsageError(f"{where}: {printable(name)} has a number already; name each image once")
        numbers[name] = _number(cells[1].strip(), where)
    lacking = [printable(file.path) for file in files if file.path not in numbers]
    if lacking:
        raise UsageError(
            f"{path} has no number for {len(lacking):,} of {len(files):,} images: {few(lacking[:MAX_NAMES])}; the "
            f"first column must have their paths relative to the folder"
        )
    return printable(header[1].strip()) or "number", numbers


def _number(cell: str, where: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(f"{where}: {printable(cell)[:40]!r} is not a finite number")
    return value
