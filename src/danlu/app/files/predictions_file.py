"""A CSV file with the predicted class of each input."""

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
    path: Path, names: Sequence[str], rows: Iterable[tuple[str, Sequence[float] | None, str | None]]
) -> None:
    """Write one line for each input: file, most probable class, its probability, and the probability of each class.

    Args:
        path: the file.
        names: names of the classes.
        rows: for each input its name, the probability of each class, or None and why there is none.

    Raises:
        RunError: if the file cannot be written.
    """
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    lines = list(rows)
    with_errors = any(error for _, _, error in lines)
    table.writerow(["file", "class", "probability", *(f"p({name})" for name in names), *["error"] * with_errors])
    for file, values, error in lines:
        if values is None:
            table.writerow([file, *[""] * (2 + len(names)), error])
            continue
        best = max(range(len(values)), key=values.__getitem__)
        table.writerow([file, names[best], *(f"{p:.6g}" for p in (values[best], *values)), *[""] * with_errors])
    try:
        write_bytes(path, text.getvalue().encode())
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}") from error
