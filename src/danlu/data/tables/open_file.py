"""Open a table file of any format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from danlu.data.tables.csv_file import CSVTable
from danlu.data.tables.parquet_file import ParquetTable
from danlu.data.tables.table_file import Progress, ReadOptions, TableFile
from danlu.errors import UsageError
from danlu.storage.disk import looks_like
from danlu.storage.regular_file import open_regular

_UNPACK = "decompress it first"
_OTHER_TYPES = {
    "a gzip archive": _UNPACK,
    "a bzip2 archive": _UNPACK,
    "an xz archive": _UNPACK,
    "a ZIP archive": f"{_UNPACK}, or save it as CSV if it is a spreadsheet",
    "text in UTF-16": "save the table as CSV in UTF-8",
    "a web page": "download the file that the page shows or links to",
    "a Git LFS pointer": "download the file with git lfs pull",
}
"""file types that are not tables, and advice on each"""


def refuse_unused_encoding(files: Sequence[TableFile], encoding: str, setting: str) -> None:
    """Refuse an encoding other than the default if no file has one.

    Args:
        files: the files that are read with this encoding.
        encoding: the encoding.
        setting: name of the setting.

    Raises:
        UsageError: if the encoding has no effect.
    """
    if files and encoding != ReadOptions().encoding and not any(file.has_encoding for file in files):
        raise UsageError(
            f"{setting} has no effect on {files[0].path}: it applies to CSV files; leave it out", settings=(setting,)
        )


def open_table(path: Path, progress: Progress, options: ReadOptions) -> TableFile:
    """Open a table file and read its header.

    Args:
        path: the file.
        progress: progress callback.
        options: how the file is read.

    Raises:
        UsageError: if the file does not exist or is not a table.
    """
    if not path.is_file():
        problem = "is a folder" if path.is_dir() else "is not a file" if path.exists() else "does not exist"
        raise UsageError(f"{path} {problem}; give the path of a CSV or Parquet file, relative to the current folder")
    try:
        with open_regular(path) as file:
            start = file.read(200)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    if (file_type := looks_like(start)) in _OTHER_TYPES:
        raise UsageError(f"{path} is {file_type}; {_OTHER_TYPES[file_type]}")
    return ParquetTable(path, progress, options) if start.startswith(b"PAR1") else CSVTable(path, progress, options)
