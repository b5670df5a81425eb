"""Parquet files. They need the optional package pyarrow."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from danlu.data.tables.fields import check_header, check_name, class_number, leave_out, refuse_large
from danlu.data.tables.parquet_pages import largest_pages
from danlu.data.tables.row_names import is_unnamed
from danlu.data.tables.table_file import NO_RECEIVERS, Block, Progress, ReadOptions, TextReceiver
from danlu.errors import UsageError, short
from danlu.storage.available_memory import available_memory
from danlu.storage.json_page import parse_json
from danlu.storage.regular_file import open_regular

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

    has_encoding = False
    unnamed: str | None = None

    def __init__(self, path: Path, progress: Progress, options: ReadOptions):
        self.path, self._progress, self._options = path, progress, options
        try:
            self._types: Any = import_module("pyarrow").types
            self._parquet: Any = import_module("pyarrow.parquet")
        except ImportError as error:
            raise UsageError(
                f"{path}: reading Parquet files needs the package pyarrow; install it with pip install pyarrow, "
                f"or save the table as CSV"
            ) from error
        try:
            self._file: Any = self._parquet.ParquetFile(path)
            self._size = path.stat().st_size
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

    def blocks(
        self,
        columns: tuple[str, ...],
        target: str | None,
        classes: dict[str, int],
        receivers: Mapping[str, TextReceiver] = NO_RECEIVERS,
    ) -> Iterator[Block]:
        """The rows in order, as in ``TableFile.blocks``."""
        numeric = {name: None for name in self.header if name != target and self._is_numeric(name)}
        for name in columns:
            if name not in numeric:
                kind = self._file.schema_arrow.field(name).type
                others = [other for other in numeric if other not in self.index and not is_unnamed(other)]
                advice, settings = leave_out(name, others, target is not None, self._options)
                raise UsageError(
                    f"{self.path}: column {name!r} has type {short(str(kind))}, which is not numeric; {advice}",
                    settings=settings,
                )
        as_text = [*(() if target is None else (target,)), *receivers]
        for name in as_text:
            self._check_target(name)
        names = [*columns, *as_text]
        self._check_memory(set(names))
        position = 1
        for batch in self._batches(names, as_text):
            for name, receive in receivers.items():
                receive(self._text_counts(batch.column(name), name))
            block = self._block(batch, position, columns, target, classes)
            refuse_large(self, columns, block)
            yield block
            position += len(block.positions)
            self._progress(f"reading {self.path.name}", position - 1, self.most_rows())

    def _batches(self, names: list[str], as_text: list[str]) -> Iterator[Any]:
        """The rows; columns that are read as text are kept encoded, because a small file can repeat a large text."""
        try:
            encoded = [name for name in as_text if self._is_text(name)]
            with self._parquet.ParquetFile(self.path, read_dictionary=encoded) as file:
                yield from file.iter_batches(batch_size=PARQUET_ROWS, columns=names)
        except (OSError, ValueError) as error:
            raise _unreadable(self.path, error) from error
        except MemoryError as error:  # a false size in the file, or too little memory
            raise _unreadable(self.path, error, "there is not enough memory for the sizes in the file: ") from error

    def _block(
        self, batch: Any, position: int, columns: tuple[str, ...], target: str | None, classes: dict[str, int]
    ) -> Block:
        values = np.empty((batch.num_rows, len(columns)))
        for k, name in enumerate(columns):
            values[:, k] = batch.column(name).cast("float64", safe=False).to_numpy(zero_copy_only=False)
        labels = np.zeros(len(values), np.int64)
        if target is not None:
            labels[:] = self._labels(batch.column(target), f"{target!r}: a class", classes)
        return Block(np.arange(position, position + len(values)), values, labels)

    def _check_memory(self, names: set[str]) -> None:
        """Check the decompressed sizes of columns in the metadata, which can be false, and those of their pages."""
        metadata, free = self._file.metadata, available_memory()
        paths = {k: metadata.schema.column(k).path for k in range(metadata.num_columns)}  # a chunk's own can be false
        read = {k: path for k, path in paths.items() if _is_read(path, names)}
        groups = [metadata.row_group(k) for k in range(metadata.num_row_groups)]
        self._check_overlap([group.column(k) for group in groups for k in read])
        for group in groups:
            for k, path in read.items():
                if (needed := group.column(k).total_uncompressed_size) > free:
                    raise UsageError(
                        f"{self.path}: column {path!r} has {needed:,} decompressed bytes, and "
                        f"{free:,} bytes of memory are available"
                    )
            if (needed := self._page_memory([(path, group.column(k)) for k, path in read.items()])) > free:
                raise UsageError(
                    f"{self.path}: the pages that are read together have {needed:,} decompressed bytes, and "
                    f"{free:,} bytes of memory are available"
                )

    def _check_overlap(self, chunks: list[Any]) -> None:
        """Refuse a file that gives the same pages for several columns or row groups: reading it would take long."""
        needed = sum(max(0, chunk.total_compressed_size) for chunk in chunks)
        if needed > self._size:
            reason = f"its columns have {needed:,} bytes, and the file has {self._size:,}, so their pages overlap"
            raise _unreadable(self.path, ValueError(reason))

    def _page_memory(self, chunks: list[tuple[str, Any]]) -> int:
        """The bytes of the decompressed pages of columns of a row group that are in memory at the same time."""
        needed = 0
        try:
            with open_regular(self.path) as file:
                for path, chunk in chunks:
                    if chunk.compression != "UNCOMPRESSED":  # such pages are as large as in the file
                        offsets = (chunk.dictionary_page_offset or 0, chunk.data_page_offset)
                        start = min((offset for offset in offsets if offset > 0), default=0)
                        if start == 0:  # a file begins with "PAR1"
                            raise ValueError(f"the position of the pages of column {path!r} is not positive")
                        needed += largest_pages(file, start, start + chunk.total_compressed_size)
        except (OSError, ValueError) as error:
            raise _unreadable(self.path, error) from error
        return needed

    def _labels(self, values: Any, what: str, classes: dict[str, int]) -> Any:
        """The class numbers of values, which may be encoded with a dictionary; -1 for a missing class.

        Args:
            values: the values.
            what: the column and the values, for messages.
            classes: number of each class; new classes are added.
        """
        if not self._types.is_dictionary(values.type):
            return [-1 if _is_missing(value) else class_number(str(value), classes) for value in values.to_pylist()]
        if self._types.is_binary(values.dictionary.type) or self._is_text_type(values.dictionary.type):
            compute: Any = import_module("pyarrow.compute")
            longest = compute.max(compute.binary_length(values.dictionary)).as_py() or 0
            check_name(f"{self.path}: column {what}", longest)
        numbers = self._labels(values.dictionary, what, classes)
        return np.array([*numbers, -1], np.int64)[values.indices.fill_null(len(numbers)).to_numpy(zero_copy_only=False)]

    def _text_counts(self, values: Any, name: str) -> dict[str, int]:
        """The different texts of a column, with the number of rows that have each; "" for missing ones."""
        texts: dict[str, int] = {}
        numbers = np.array(self._labels(values, f"{name!r}: a text", texts), np.int64)
        missing, *counts = np.bincount(numbers + 1, minlength=len(texts) + 1).tolist()
        found = {"": missing, **dict(zip(texts, counts, strict=True))}
        return {text: count for text, count in found.items() if count}

    def _check_target(self, name: str) -> None:
        """Check that the values of a column can be names of classes."""
        kind = self._file.schema_arrow.field(name).type
        if self._types.is_nested(kind):
            raise UsageError(
                f"{self.path}: column {name!r} has type {short(str(kind))}, which has no classes; choose another one",
                settings=("table.target",),
            )

    def _is_numeric(self, name: str) -> bool:
        kind, types = self._file.schema_arrow.field(name).type, self._types
        return any(
            is_kind(kind) for is_kind in (types.is_floating, types.is_integer, types.is_boolean, types.is_decimal)
        )

    def _is_text(self, name: str) -> bool:
        kind = self._file.schema_arrow.field(name).type
        return self._is_text_type(kind) or self._types.is_binary(kind)

    def _is_text_type(self, kind: Any) -> bool:
        return self._types.is_string(kind) or self._types.is_large_string(kind)


def _index_columns(metadata: dict[bytes, bytes], header: tuple[str, ...]) -> tuple[str, ...]:
    """The columns that pandas has written as the row index; a range is described in the metadata and has no column."""
    with suppress(ValueError, TypeError, AttributeError):
        columns = parse_json(metadata.get(b"pandas", b"{}").decode()).get("index_columns", [])
        names = set(header)
        return tuple(name for name in columns if isinstance(name, str) and name in names)
    return ()


def _is_read(path: str, names: set[str]) -> bool:
    """Whether pyarrow reads a column of numbers, which may be a part of a structure, for one of these names.

    It joins the names of a structure and its parts with dots, which names can have, too. The result is true also for a
    column "a.b" that is no part of a structure, and the name "a".
    """
    longest = max(map(len, names), default=0)  # the path of a part can be much longer, with as many dots
    ends = [dot.start() for dot in re.finditer(r"\.", path[: longest + 1])]
    return any(path[:end] in names for end in [*ends, len(path)])


def _is_missing(value: Any) -> bool:
    """Whether the class is missing: null, or in a floating column NaN, which does not equal itself."""
    return value is None or value != value


def _unreadable(path: Path, error: Exception, introduction: str = "") -> UsageError:
    reason = " ".join(str(error).split())  # messages of pyarrow have several lines
    return UsageError(f"{path} cannot be read as Parquet: {introduction}{reason}")
