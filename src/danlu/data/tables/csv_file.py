"""CSV files: a header with the names of the columns, then rows of numbers, optionally with a class per row.

A file is read in pieces, so only one piece at a time is in memory as text. A piece without quotes and missing numbers
is parsed by numpy. Other pieces are parsed by the csv module, which is slower.
"""

from __future__ import annotations

import csv
import io
import re
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import repeat
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import Float64, Int64

from danlu.data.tables.fields import (
    check_header,
    class_number,
    is_number,
    is_plain,
    leave_out,
    number,
    refuse_large,
    refuse_row_of_numbers,
)
from danlu.data.tables.row_names import is_unnamed, name_of_unnamed
from danlu.data.tables.table_file import NO_RECEIVERS, Block, Progress, ReadOptions, TextReceiver
from danlu.errors import UsageError
from danlu.storage.regular_file import open_regular
from danlu.storage.text_encoding import encoding_of

PIECE = 1 << 19
LONGEST_LINE = 1 << 24
_DELIMITERS = ",;\t"
_UNSUPPORTED = "| "
"""delimiters of files that are not supported"""
_REMOVE_DELIMITER = "remove the delimiter at the end of each line"
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")
_DEFAULT = ReadOptions()


class CSVTable:
    """A text file with fields separated by commas, semicolons or tabs; fields can be quoted.

    Empty lines are skipped. The delimiter is the one that splits the header into as many fields as the first row.

    Args:
        path: the file.
        progress: progress callback, called with the number of bytes read.
        options: how the file is read.

    Attributes:
        header: names of the columns; a first column without a name gets one.
        unnamed: the name that a first column without a name gets; None if it has a name.
        index: columns that number the rows, according to the file; none.

    Raises:
        UsageError: if the file is not such a text, or has no header with distinct names.
    """

    has_encoding = True

    def __init__(self, path: Path, progress: Progress, options: ReadOptions = _DEFAULT):
        self.path, self._progress, self._options = path, progress, options
        text = next((text for _, text in _pieces(path, options, lambda *_: None)), "")
        if not text.strip():
            raise UsageError(f"{path} is empty; the first line of a table must have the names of the columns")
        self._delimiter = max(_DELIMITERS, key=lambda delimiter: _fits(text, delimiter))
        records = _Records(path, text, 1, self._delimiter)
        self._line, cells = next(records)
        self._lines_before = records.reader.line_num
        self.header = tuple(cell.strip() for cell in cells)
        self._check_ends(next(records, (0, []))[1])
        refuse_row_of_numbers(self.top, self.header)
        self.index: tuple[str, ...] = ()
        self.unnamed: str | None = None
        if len(self.header) > 1 and not self.header[0]:
            self.unnamed = name_of_unnamed(self.header)
            self.header = self.unnamed, *self.header[1:]
        check_header(self.top, self.header)

    def _check_ends(self, first: list[str]) -> None:
        """Check that the delimiter is supported and does not occur at the end of each line.

        Args:
            first: fields of the first row; empty if there is no row.
        """
        if len(self.header) == len(first) == 1:
            for sign in _UNSUPPORTED:
                if self.header[0].count(sign) == first[0].strip().count(sign) > 0:
                    raise UsageError(
                        f"{self.top}: the delimiter seems to be {sign!r}; it must be a comma, a semicolon or a tab"
                    )
        *named, last = self.header
        if named and all(named) and not last and not "".join(first[-1:]).strip():
            raise UsageError(f"{self.top}: no column name after the last {self._delimiter!r}; {_REMOVE_DELIMITER}")

    @property
    def top(self) -> str:
        """Position of the header, for messages."""
        return self.at(self._line)

    def at(self, position: int) -> str:
        """Position of a row, for messages."""
        return f"{self.path}, line {position}"

    def most_rows(self) -> int:
        """An upper bound of the number of rows."""
        with open_regular(self.path) as file:
            ends = sum(data.count(b"\n") + data.count(b"\r") for data in iter(lambda: file.read(PIECE), b""))
            return min(ends, file.tell() // len(self.header)) + 1  # a row has a byte for each field; others are empty

    def blocks(
        self,
        columns: tuple[str, ...],
        target: str | None,
        classes: dict[str, int],
        receivers: Mapping[str, TextReceiver] = NO_RECEIVERS,
    ) -> Iterator[Block]:
        """The rows in order, as in ``TableFile.blocks``.

        Raises:
            UsageError: if a row does not have as many fields as the header, or a field is not a number.
        """
        index_of = {name: index for index, name in enumerate(self.header)}
        indices = [index_of[name] for name in columns]
        label = None if target is None else index_of[target]
        texts = {index_of[name]: receive for name, receive in receivers.items()}
        skip = self._lines_before
        for line, piece in _pieces(self.path, self._options, self._progress):
            text, line, skip = _without_lines(piece, skip), line + skip, 0
            block = self._fast(text, line, indices, label, classes, texts)
            if block is None:
                block = self._careful(text, line, indices, label, classes, texts)
            refuse_large(self, columns, block)
            yield block

    def _fast(
        self,
        text: str,
        line: int,
        indices: list[int],
        label: int | None,
        classes: dict[str, int],
        texts: dict[int, TextReceiver],
    ) -> Block | None:
        """The rows of a text without quotes, empty lines and missing numbers; None for another text."""
        lines = text.removesuffix("\n").split("\n")
        if '"' in text or set(map(str.count, lines, repeat(self._delimiter))) != {len(self.header) - 1}:
            return None
        if len(self.header) == 1 and not all(map(str.strip, lines)):
            return None
        parsed = self._parsed(lines, indices, label, classes)
        if parsed is None:
            return None
        for k, receive in texts.items():
            receive(Counter(map(str.strip, self._column(lines, k))))
        return Block(np.arange(line, line + len(lines)), *parsed)

    def _parsed(
        self, lines: list[str], indices: list[int], label: int | None, classes: dict[str, int]
    ) -> tuple[Float64[np.ndarray, "n d"], Int64[np.ndarray, "n"]] | None:
        """The numbers and the classes of lines; None if numpy cannot parse them."""
        if not indices:
            cells = [] if label is None else self._column(lines, label)
            labels = [class_number(cell, classes) for cell in cells] or [0] * len(lines)
            return np.empty((len(lines), 0)), np.array(labels, np.int64)
        arguments: dict[str, Any] = {"delimiter": self._delimiter, "comments": None, "encoding": None, "ndmin": 2}
        if label is not None:
            arguments["converters"] = {label: lambda cell: class_number(cell, classes)}
        try:
            values = np.loadtxt(lines, usecols=indices if label is None else [*indices, label], **arguments)
        except ValueError:
            return None
        if len(values) != len(lines):
            return None
        labels = np.zeros(len(values), np.int64) if label is None else values[:, -1].astype(np.int64)
        return values[:, : len(indices)], labels

    def _column(self, lines: list[str], k: int) -> Iterator[str]:
        """The fields of a column in lines without quotes."""
        if k == 0:
            return (line.partition(self._delimiter)[0] for line in lines)
        return (line.split(self._delimiter, k + 1)[k] for line in lines)

    def _careful(
        self,
        text: str,
        line: int,
        indices: list[int],
        label: int | None,
        classes: dict[str, int],
        texts: dict[int, TextReceiver],
    ) -> Block:
        """The rows of a text, each checked."""
        plain = is_plain(text)
        line_numbers, numbers, labels = [], [], []
        columns: dict[int, list[str]] = {k: [] for k in texts}
        for line_number, cells in _Records(self.path, text, line, self._delimiter):
            if len(cells) != len(self.header):
                count = f"{len(cells)} fields, expected {len(self.header)} as in the header"
                one_more = len(cells) == len(self.header) + 1 and not cells[-1].strip()
                raise UsageError(f"{self.at(line_number)}: {count}" + (f"; {_REMOVE_DELIMITER}" if one_more else ""))
            try:
                row = [float(cells[k]) if plain else number(cells[k]) for k in indices]
            except ValueError:
                row = [self._number(line_number, cells, k, label) for k in indices]
            line_numbers.append(line_number)
            numbers.append(row)
            labels.append(0 if label is None else class_number(cells[label], classes))
            for k, column in columns.items():
                column.append(cells[k])
        for k, receive in texts.items():
            receive(Counter(map(str.strip, columns[k])))
        values = np.array(numbers, dtype=np.float64).reshape(len(line_numbers), len(indices))
        return Block(np.array(line_numbers, np.int64), values, np.array(labels, np.int64))

    def _number(self, line_number: int, cells: list[str], k: int, label: int | None) -> float:
        """The number in a field; NaN if it is missing."""
        try:
            return number(cells[k])
        except ValueError:
            name, cell = self.header[k], cells[k].strip()
            others = [self.header[i] for i, other in enumerate(cells) if i != label and is_number(other)]
            others = [other for other in others if not is_unnamed(other)]
            if _DECIMAL_COMMA.fullmatch(cell):
                raise UsageError(
                    f"{self.at(line_number)}: column {name!r}: {cell!r} is not a number: the decimal separator must "
                    f"be a point; save the table with {cell.replace(',', '.')!r}"
                ) from None
            advice, settings = leave_out(name, others, label is not None, self._options)
            raise UsageError(
                f"{self.at(line_number)}: column {name!r}: {cell if len(cell) <= 40 else cell[:40] + '…'!r} is not a "
                f"number; {advice}",
                settings=settings,
            ) from None


class _Records:
    """An iterator over the records of a text: the number of the first line and the fields of each."""

    def __init__(self, path: Path, text: str, line: int, delimiter: str):
        self.path, self.line = path, line
        lines = io.StringIO(text, newline="")
        self.reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)

    def __iter__(self) -> _Records:
        return self

    def __next__(self) -> tuple[int, list[str]]:
        while True:
            line = self.line + self.reader.line_num
            try:
                cells = next(self.reader)
            except csv.Error as error:
                raise UsageError(f"{self.path}, line {line}: {error}; check for an unclosed quote") from error
            if cells:
                return line, cells


def _pieces(path: Path, options: ReadOptions, progress: Progress) -> Iterator[tuple[int, str]]:
    """Pieces of complete records, each with the number of its first line."""
    codec = encoding_of(options.encoding)
    total, offset, line = path.stat().st_size, 0, 1
    with open_regular(path) as file:
        while data := _read_lines(file, path, line):
            while data.count(b'"') % 2 and len(data) < LONGEST_LINE:  # the last record continues on the next line
                more = _read_lines(file, path, line + data.count(b"\n"))
                if not more:
                    break
                data += more
            if offset == 0 and data.startswith(BOM_UTF8):
                if codec != "utf-8":
                    raise UsageError(
                        f"{path} begins with a UTF-8 byte-order mark, so its encoding is not {options.encoding}"
                    )
                data, offset = data.removeprefix(BOM_UTF8), len(BOM_UTF8)
            yield line, _decode(data, path, line, offset, codec, options)
            offset += len(data)
            line += data.count(b"\n")
            progress(f"reading {path.name}", offset, total)


def _read_lines(file: BinaryIO, path: Path, line: int) -> bytes:
    data = file.read(PIECE)
    rest = file.readline(LONGEST_LINE)
    if len(rest) == LONGEST_LINE:
        line += data.count(b"\n")
        raise UsageError(f"{path}, line {line} is longer than {LONGEST_LINE:,} bytes; this does not look like a table")
    return data + rest


def _decode(data: bytes, path: Path, line: int, offset: int, codec: str, options: ReadOptions) -> str:
    """Decode bytes that begin at this offset and line of the file."""
    bad = data.find(b"\0")
    if bad < 0:
        try:
            return data.decode(codec)
        except UnicodeDecodeError as error:
            bad = error.start
    name = "UTF-8" if codec == "utf-8" else options.encoding
    problem = f"0x{data[bad]:02x}, which is not valid {name}" if data[bad] else "NUL, which is not text"
    other = data[bad] and codec == "utf-8"
    advice = f", or set {options.encoding_setting}, for example to latin-1" if other else ""
    raise UsageError(
        f"{path}, line {line + data.count(10, 0, bad)}: byte {offset + bad} of the file is {problem}; "
        f"save the table as CSV in UTF-8{advice}",
        settings=(f"{options.encoding_setting}=latin-1",) if other else (),
    )


def _without_lines(text: str, lines: int) -> str:
    if not lines:
        return text
    rest = io.StringIO(text, newline="")
    for _ in range(lines):
        rest.readline()
    return rest.read()


def _fits(text: str, delimiter: str) -> tuple[bool, bool, int]:
    """Sort key of a delimiter: whether it splits the header, into as many fields as the next record, and how many."""
    records = _Records(Path(), text, 1, delimiter)
    try:
        header = next(records)[1]
    except UsageError:
        return False, False, 0
    try:
        first = next(records, (0, []))[1]
    except UsageError:
        first = []
    return len(header) > 1, len(first) == len(header), len(header)
