"""A CSV file with the prediction for each input: a class, or a number."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from danlu.errors import RunError, UsageError
from danlu.storage.atomic import write_bytes


def check_predictions_file(out: str | Path, overwrite: bool) -> Path:
    """Check the file before anything is computed.

    Args:
        out: the file.
        overwrite: whether an existing file may be replaced.

    Raises:
        UsageError: if the name does not end in .csv, its folder does not exist, or it exists.

    >>> check_predictions_file("classes.csv", overwrite=False)
    PosixPath('classes.csv')
    """
    path = Path(out)
    if path.suffix.lower() != ".csv":
        raise UsageError(f"{out}: the name must end in .csv", settings=("out=FILE.csv",))
    if not path.absolute().parent.is_dir():
        raise UsageError(f"{path}: the folder {path.parent} does not exist", settings=("out",))
    if path.is_dir() or (path.exists() and not overwrite):
        raise UsageError(
            f"{path} already exists; write to another path with out, or set overwrite=True to replace it",
            settings=("out", "overwrite=True"),
        )
    return path


def write_predictions(
    path: Path, columns: Sequence[str], rows: Iterable[tuple[str, Sequence[str], str | None]]
) -> None:
    """Write one line for each input: file, the values of its columns, and an error if there are any.

    Args:
        path: the file.
        columns: names of the values.
        rows: for each input its name, its values, which are empty if there is no prediction, and why there is none.

    Raises:
        RunError: if the file cannot be written.
    """
    text, lines = io.StringIO(newline=""), list(rows)
    table = csv.writer(text, lineterminator="\n")
    with_errors = any(error for _, _, error in lines)
    table.writerow(["file", *columns, *["error"] * with_errors])
    for file, values, error in lines:
        cells = values or [""] * len(columns)
        table.writerow([file, *cells, *[error or ""] * with_errors])
    try:
        write_bytes(path, text.getvalue().encode())
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}") from error
