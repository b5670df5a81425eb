"""Parquet files. They need the optional package pyarrow."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from danlu.data.tables.csv_file import check_header, class_number, leave_out, refuse_large
from danlu.data.tables.table_file import Block, Progress, ReadOptions
from danlu.errors import UsageError

PARQUET_ROWS = 1 << 16


class ParquetTable:
    """A Parquet file, which needs the package pyarrow.

    Args:
        path: the file.
        progress: progress callback, called with the number of rows read.
        options: how the file is read.

    Attributes:
        header: names of the columns.
        index: columns with the row index of pandas, according to its metadata.

    Raises:
        UsageError: if the package is not installed, or the file is damaged.
    """

    def __init__(self, path: Path, progress: Progress, options: ReadOptions):
        self.path, self._progress, self._options = path, progress, options
        try:
            self._types: Any = import_module("pyarrow").types
            parquet: Any = import_module("pyarrow.parquet")
        except ImportError as error:
            raise UsageError(
                f"{path}: reading Parquet files needs the package pyarrow; install it with pip install pyarrow, "
                f"or save the table as CSV"
            ) from error
        try:
            self._file: Any = parquet.ParquetFile(path)
        except (OSError, ValueError) as error:
            raise _unreadable(path, error) from error
        self.header: tuple[str, ...] = tuple(self._file.schema_arrow.names)
        self.index = _index_columns(self._file.schema_arrow.metadata or {}, self.header)
        check_header(self.top, self.header)

    @property
    def top(self) -> str:
        """Position of the header, for messages."""
        return str(self.path)

    def at(self, position: int) -> str:
        """Position of a row, for messages."""
        return f"{self.path}, row {position}"

    def most_rows(self) -> int:
        """The number of rows."""
        return self._file.metadata.num_rows

    def blocks(self, columns: tuple[str, ...], target: str | None, classes: dict[str, int]) -> Iterator[Block]:
        """The rows in order, as in ``CSVTable.blocks``."""
        numeric = [name for name in self.header if name != target and self._is_numeric(name)]
        for name in columns:
            if name not in numeric:
                kind = self._file.schema_arrow.field(name).type
                advice, settings = leave_out(name, numeric, target is not None, self._options)
                raise UsageError(
                    f"{self.path}: column {name!r} has type {kind}, which is not numeric; {advice}", settings=settings
                )
        names = [*columns, *(() if target is None else (target,))]
        position = 1
        for batch in self._batches(names):
            block = self._block(batch, position, columns, target, classes)
            refuse_large(self, columns, block)
            yield block
            position += len(block.positions)
            self._progress(f"reading {self.path.name}", position - 1, self.most_rows())

    def _batches(self, names: list[str]) -> Iterator[Any]:
        try:
            yield from self._file.iter_batches(batch_size=PARQUET_ROWS, columns=names)
        except (OSError, ValueError) as error:
            raise _unreadable(self.path, error) from error

    def _block(
        self, batch: Any, position: int, columns: tuple[str, ...], target: str | None, classes: dict[str, int]
    ) -> Block:
        values = np.empty((batch.num_rows, len(columns)))
        for k, name in enumerate(columns):
            values[:, k] = batch.column(name).cast("float64", safe=False).to_numpy(zero_copy_only=False)
        labels = np.zeros(len(values), np.int64)
        if target is not None:
            values_of_target = batch.column(target).to_pylist()
            labels[:] = [-1 if _is_missing(value) else class_number(str(value), classes) for value in values_of_target]
        return Block(np.arange(position, position + len(values)), values, labels)

    def _is_numeric(self, name: str) -> bool:
        kind, types = self._file.schema_arrow.field(name).type, self._types
        return any(
            is_kind(kind) for is_kind in (types.is_floating, types.is_integer, types.is_boolean, types.is_decimal)
        )


def _index_columns(metadata: dict[bytes, bytes], header: tuple[str, ...]) -> tuple[str, ...]:
    """The columns that pandas has written as the row index; a range is described in the metadata and has no column."""
    with suppress(ValueError, TypeError, AttributeError):
        columns = json.loads(metadata.get(b"pandas", b"{}")).get("index_columns", [])
        return tuple(name for name in columns if isinstance(name, str) and name in header)
    return ()


def _is_missing(value: Any) -> bool:
    """Whether the class is missing: null, or in a floating column NaN, which does not equal itself."""
    return value is None or value != value


def _unreadable(path: Path, error: Exception) -> UsageError:
    reason = " ".join(str(error).split())  # messages of pyarrow have several lines
    return UsageError(f"{path} cannot be read as Parquet: {reason}")
