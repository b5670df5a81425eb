"""Files with a table: a header with the names of the columns, then rows of numbers, and perhaps a class for each row.

A file is read in pieces, so that no more of it than a piece is ever text in memory. A piece without quotes and gaps
goes through numpy's parser; any other goes through the csv module, which is slower, and each row is looked at.
"""

from __future__ import annotations

import csv
import io
import re
import shlex
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64, Int64

from danlu.errors import UsageError
from danlu.storage.text_encoding import encoding_of

Progress = Callable[[str, int, int | None], None]

MISSING = frozenset(("", "na", "n/a", "nan", "null", "none", "?"))
"""what a field may say, in small or capital letters, if there is no number"""
LARGEST = float(np.finfo(np.float32).max)
PIECE = 1 << 19
LONGEST_LINE = 1 << 24
_DELIMITERS = ",;\t"
_OTHERS = "| "
"""signs that part the fields of files that are not read"""
_ENDS = "take the delimiter off the end of each line"
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")
_NAMES_SHOWN = 8


class Block(NamedTuple):
    """Some rows of a table.

    Attributes:
        places: for each row the number that ``at`` makes a place of.
        numbers: one column for each that was asked for; NaN where a number is missing.
        classes: number of each row's class, counted as they first come; -1 where it is missing, 0 without a target.
    """

    places: Int64[np.ndarray, "n"]
    numbers: Float64[np.ndarray, "n d"]
    classes: Int64[np.ndarray, "n"]


class ReadOptions(NamedTuple):
    """How a table is read, and what may be advised when that fails.

    Attributes:
        encoding: how the text of a CSV file is written.
        encoding_setting: with what another encoding is named.
        fixed: whether a model says which columns there are, so that none can be left out.
    """

    encoding: str = "utf-8"
    encoding_setting: str = "--table.encoding latin-1"
    fixed: bool = False


_USUAL = ReadOptions()


@runtime_checkable
class TableFile(Protocol):
    """A file with a table, of which the header has been read."""

    path: Path
    header: tuple[str, ...]
    """names of the columns"""

    @property
    def top(self) -> str:
        """Where the header is."""
        ...

    def at(self, place: int) -> str:
        """The place of a row, in words."""
        ...

    def most_rows(self) -> int:
        """No fewer than there are rows."""
        ...

    def blocks(self, columns: tuple[str, ...], target: str | None, classes: dict[str, int]) -> Iterator[Block]:
        """The rows in order."""
        ...


class CSVTable:
    """A text file in UTF-8 with commas, semicolons or tabs between its fields, which may be quoted.

    Empty lines are no rows. What is between the fields is what parts the header, into as many as the first row has.

    Args:
        path: the file.
        progress: is told how many of its bytes have been read.

    Attributes:
        header: names of the columns.

    Raises:
        UsageError: if it is no such text, or has no header with different names.
    """

    def __init__(self, path: Path, progress: Progress, options: ReadOptions = _USUAL):
        self.path, self._progress, self._options = path, progress, options
        text = next((text for _, text in _pieces(path, options, lambda *_: None)), "")
        if not text.strip():
            raise UsageError(f"{path} is empty; a table begins with a line that names its columns")
        self._delimiter = max(_DELIMITERS, key=lambda delimiter: _fits(text, delimiter))
        records = _Records(path, text, 1, self._delimiter)
        self._line, cells = next(records)
        self._lines_before = records.reader.line_num
        self.header = tuple(cell.strip() for cell in cells)
        self._check_ends(next(records, (0, []))[1])
        check_header(self.top, self.header)

    def _check_ends(self, first: list[str]) -> None:
        """Where fields end: at a sign that is known, and not once more at the end of a line.

        Args:
            first: fields of the first row; none if there is no row.
        """
        if len(self.header) == len(first) == 1:
            for sign in _OTHERS:
                if self.header[0].count(sign) == first[0].strip().count(sign) > 0:
                    raise UsageError(
                        f"{self.top}: {sign!r} seems to part the fields; part them with commas, semicolons or tabs"
                    )
        *named, last = self.header
        if named and all(named) and not last and not "".join(first[-1:]).strip():
            raise UsageError(f"{self.top} ends with {self._delimiter!r}, and no column comes after it; {_ENDS}")

    @property
    def top(self) -> str:
        """Where the header is."""
        return self.at(self._line)

    def at(self, place: int) -> str:
        """The place of a row, in words."""
        return f"{self.path}, line {place}"

    def most_rows(self) -> int:
        """No fewer than there are rows."""
        with self.path.open("rb") as file:
            return 1 + sum(data.count(b"\n") + data.count(b"\r") for data in iter(lambda: file.read(PIECE), b""))

    def blocks(self, columns: tuple[str, ...], target: str | None, classes: dict[str, int]) -> Iterator[Block]:
        """The rows in order.

        Args:
            columns: which numbers are wanted.
            target: column with the class.
            classes: number of each class; those that are met get the next numbers.

        Raises:
            UsageError: if a row is not as long as the header, or a field is no number.
        """
        wanted = [self.header.index(name) for name in columns]
        label = None if target is None else self.header.index(target)
        skip = self._lines_before
        for line, piece in _pieces(self.path, self._options, self._progress):
            text, line, skip = _without_lines(piece, skip), line + skip, 0
            block = self._fast(text, line, wanted, label, classes) or self._careful(text, line, wanted, label, classes)
            refuse_large(self, columns, block)
            yield block

    def _fast(
        self, text: str, line: int, wanted: list[int], label: int | None, classes: dict[str, int]
    ) -> Block | None:
        """The rows of a text without quotes, empty lines and missing numbers; None for any other."""
        lines = text.removesuffix("\n").split("\n")
        if '"' in text or set(map(str.count, lines, repeat(self._delimiter))) != {len(self.header) - 1}:
            return None
        if len(self.header) == 1 and not all(map(str.strip, lines)):
            return None
        settings: dict[str, Any] = {"delimiter": self._delimiter, "comments": None, "encoding": None, "ndmin": 2}
        if label is not None:
            settings["converters"] = {label: lambda cell: class_number(cell, classes)}
        try:
            values = np.loadtxt(lines, usecols=wanted if label is None else [*wanted, label], **settings)
        except ValueError:
            return None
        if len(values) != len(lines):
            return None
        labels = np.zeros(len(values), np.int64) if label is None else values[:, -1].astype(np.int64)
        return Block(np.arange(line, line + len(values)), values[:, : len(wanted)], labels)

    def _careful(self, text: str, line: int, wanted: list[int], label: int | None, classes: dict[str, int]) -> Block:
        """The rows of any text."""
        plain = _is_plain(text)
        places, numbers, labels = [], [], []
        for place, cells in _Records(self.path, text, line, self._delimiter):
            if len(cells) != len(self.header):
                what = f"{len(cells)} fields, where the header has {len(self.header)}"
                one_more = len(cells) == len(self.header) + 1 and not cells[-1].strip()
                raise UsageError(f"{self.at(place)}: {what}" + (f"; {_ENDS}" if one_more else ""))
            try:
                row = [float(cells[k]) if plain else _number(cells[k]) for k in wanted]
            except ValueError:
                row = [self._number(place, cells, k, label) for k in wanted]
            places.append(place)
            numbers.append(row)
            labels.append(0 if label is None else class_number(cells[label], classes))
        values = np.array(numbers, dtype=np.float64).reshape(len(places), len(wanted))
        return Block(np.array(places, np.int64), values, np.array(labels, np.int64))

    def _number(self, place: int, cells: list[str], k: int, label: int | None) -> float:
        """The number in a field, NaN for none."""
        try:
            return _number(cells[k])
        except ValueError:
            name, cell = self.header[k], cells[k].strip()
            others = [self.header[i] for i, other in enumerate(cells) if i != label and _is_number(other)]
            if _DECIMAL_COMMA.fullmatch(cell):
                raise UsageError(
                    f"{self.at(place)}: column {name!r} holds {cell!r}, which is not a number: numbers have a decimal "
                    f"point, no comma; save the table with {cell.replace(',', '.')!r} for it"
                ) from None
            raise UsageError(
                f"{self.at(place)}: column {name!r} holds {cell if len(cell) <= 40 else cell[:40] + '…'!r}, "
                f"which is not a number; {leave_out(name, others, label is not None, self._options)}"
            ) from None


class _Records:
    """An iterator over the records of a text: the line on which each begins, and its fields."""

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
                raise UsageError(f"{self.path}, line {line}: {error}; look for a quote that is not closed") from error
            if cells:
                return line, cells


def _pieces(path: Path, options: ReadOptions, progress: Progress) -> Iterator[tuple[int, str]]:
    """Pieces of whole records, and the number of the line that each begins with."""
    codec = encoding_of(options.encoding)
    total, offset, line = path.stat().st_size, 0, 1
    with path.open("rb") as file:
        while data := _some_lines(file, path, line):
            while data.count(b'"') % 2 and len(data) < LONGEST_LINE:  # the last record goes on on the next line
                more = _some_lines(file, path, line + data.count(b"\n"))
                if not more:
                    break
                data += more
            if offset == 0 and data.startswith(BOM_UTF8):
                if codec != "utf-8":
                    raise UsageError(
                        f"{path} begins with the byte-order mark of UTF-8, so it is not {options.encoding}"
                    )
                data, offset = data.removeprefix(BOM_UTF8), len(BOM_UTF8)
            yield line, _decoded(data, path, line, offset, codec, options)
            offset += len(data)
            line += data.count(b"\n")
            progress(f"reading {path.name}", offset, total)


def _some_lines(file: io.BufferedReader, path: Path, line: int) -> bytes:
    data = file.read(PIECE)
    rest = file.readline(LONGEST_LINE)
    if len(rest) == LONGEST_LINE:
        line += data.count(b"\n")
        raise UsageError(f"{path}, line {line} is longer than {LONGEST_LINE} bytes, so this is hardly a table")
    return data + rest


def _decoded(data: bytes, path: Path, line: int, offset: int, codec: str, options: ReadOptions) -> str:
    """The text of bytes that begin at an offset of the file, with that line."""
    bad = data.find(b"\0")
    if bad < 0:
        try:
            return data.decode(codec)
        except UnicodeDecodeError as error:
            bad = error.start
    name = "UTF-8" if codec == "utf-8" else options.encoding
    what = f"0x{data[bad]:02x}, which is not {name} there" if data[bad] else "NUL, which no text has"
    other = f", or name its encoding with {options.encoding_setting}" if data[bad] and codec == "utf-8" else ""
    raise UsageError(
        f"{path}, line {line + data.count(10, 0, bad)}: byte {offset + bad} of the file is {what}; "
        f"save the table as CSV in UTF-8{other}"
    )


def _without_lines(text: str, lines: int) -> str:
    if not lines:
        return text
    rest = io.StringIO(text, newline="")
    for _ in range(lines):
        rest.readline()
    return rest.read()


def _fits(text: str, delimiter: str) -> tuple[bool, bool, int]:
    """How well a delimiter explains a text: it parts the header, into as many fields as the next record has."""
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


def check_header(top: str, header: tuple[str, ...]) -> None:
    """Columns have names, each another, and a header is no row of numbers."""
    if any(header) and all(map(_is_number, header)):
        raise UsageError(f"{top} holds numbers alone; a table begins with a line that names its columns")
    for k, name in enumerate(header):
        if not name:
            raise UsageError(f"{top}: column {k + 1} has no name; name it, or take the column out of the file")
        if name in header[:k]:
            raise UsageError(f"{top}: column {k + 1} is named {name!r}, as column {header.index(name) + 1} is")


def refuse_large(file: TableFile, columns: tuple[str, ...], block: Block) -> None:
    """Numbers that float32 cannot hold."""
    for row, column in np.argwhere(np.abs(block.numbers) > LARGEST)[:1]:
        raise UsageError(
            f"{file.at(int(block.places[row]))}: column {columns[column]!r} holds {block.numbers[row, column]:g}, "
            f"and float32 ends at {LARGEST:.1e}"
        )


def _is_plain(text: str) -> bool:
    """Whether all agree on what is a number in a text: Python alone takes 1_000 for one, and digits of any script."""
    return text.isascii() and "_" not in text


def _number(cell: str) -> float:
    """The number in a field, NaN for none; a ValueError for anything else."""
    if cell.strip().lower() in MISSING:
        return np.nan
    if not _is_plain(cell):
        raise ValueError(cell)
    return float(cell)


def _is_number(cell: str) -> bool:
    try:
        _number(cell)
    except ValueError:
        return False
    return True


def class_number(cell: str, classes: dict[str, int]) -> int:
    """The number of a class, -1 for a missing one."""
    cell = cell.strip()
    return classes.setdefault(cell, len(classes)) if cell else -1


def leave_out(name: str, others: list[str], has_target: bool, options: ReadOptions) -> str:
    """What to do about a column without numbers."""
    if options.fixed:
        return "the model needs a number there"
    if not others:
        return "a table needs at least one column of numbers"
    names = shlex.join(others[:_NAMES_SHOWN]) + (" …" if len(others) > _NAMES_SHOWN else "")
    as_class = "" if has_target else f", or make it the class with --table.target {shlex.quote(name)}"
    return f"leave the column out with --table.columns {names}{as_class}"
