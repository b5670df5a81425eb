"""The headers of the pages of a Parquet file, which pyarrow does not give.

A column of a row group is a sequence of pages, each compressed by itself. pyarrow allocates and fills as many bytes as
the header of a page says, up to 2 GiB, although the metadata of the file may give a smaller size of the column.

A header is a structure in the compact protocol of Thrift.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

_LENGTHS = (1 << 8, 1 << 12, 1 << 20)
"""bytes of a file that are read for a header; it is longer with the least and the largest of long texts"""
_DEPTH = 8
"""nesting of a header, which has 3 levels"""
_KIND, _DECOMPRESSED, _COMPRESSED = 1, 2, 3  # numbers of the fields
_DICTIONARY = 2


class PageHeader(NamedTuple):
    """The header of a page.

    Attributes:
        is_dictionary: whether the page has the dictionary of the column.
        length: bytes of the header.
        compressed: bytes of the page in the file, without the header.
        decompressed: bytes of the page in memory.
    """

    is_dictionary: bool
    length: int
    compressed: int
    decompressed: int


def page_headers(file: BinaryIO, start: int, end: int) -> Iterator[PageHeader]:
    """The headers of the pages between two positions of a file.

    Args:
        file: the file.
        start: position of the first header.
        end: position after the last page.

    Raises:
        ValueError: if a header is damaged.

    Source: PageHeader in parquet.thrift of Apache Parquet; "Thrift Compact protocol encoding" of Apache Thrift.

    >>> from io import BytesIO
    >>> list(page_headers(BytesIO(bytes([0x15, 4, 0x15, 200, 1, 0x15, 6, 0]) + b"abc"), 0, 11))
    [PageHeader(is_dictionary=True, length=8, compressed=3, decompressed=100)]
    """
    while start < end:
        header = _read_header(file, start)
        yield header
        start += header.length + header.compressed


def largest_pages(file: BinaryIO, start: int, end: int) -> int:
    """The bytes that are in memory while the pages are read one after another: the dictionary and the largest page.

    Raises:
        ValueError: if a header is damaged.
    """
    dictionary = page = 0
    for header in page_headers(file, start, end):
        if header.is_dictionary:
            dictionary = max(dictionary, header.decompressed)
        else:
            page = max(page, header.decompressed)
    return dictionary + page


def _read_header(file: BinaryIO, start: int) -> PageHeader:
    for length in _LENGTHS:
        file.seek(start)
        fields = _Fields(file.read(length))
        try:
            values = fields.structure()
        except IndexError:  # it is longer
            continue
        compressed, decompressed = values.get(_COMPRESSED, -1), values.get(_DECOMPRESSED, -1)
        if min(compressed, decompressed) < 0:
            raise ValueError(f"the header of a page has the sizes {compressed} and {decompressed}")
        return PageHeader(values.get(_KIND) == _DICTIONARY, fields.at, compressed, decompressed)
    raise ValueError("the header of a page is cut off, or too long")


class _Fields:
    """Values in the compact protocol; reading after the end raises IndexError."""

    def __init__(self, content: bytes):
        self.content, self.at = content, 0

    def structure(self, depth: int = 0) -> dict[int, int]:
        """The integers of a structure by the numbers of their fields; other fields are skipped."""
        values: dict[int, int] = {}
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._integer()
            if head & 15 in (4, 5, 6):  # 16, 32 or 64 bits
                values[number] = self._integer()
            else:
                self._skip(head & 15, depth)
        return values

    def _skip(self, kind: int, depth: int) -> None:
        if depth > _DEPTH:
            raise ValueError("the header of a page is nested too deeply")
        match kind:
            case 1 | 2:  # the type of a field is the value, true or false
                pass
            case 3:
                self.at += 1
            case 4 | 5 | 6:
                self._integer()
            case 7:
                self.at += 8
            case 8:
                length = self._unsigned()  # which changes the position
                self.at += length
            case 9 | 10:
                self._skip_items(depth)
            case 12:
                self.structure(depth + 1)
            case _:
                raise ValueError(f"the header of a page has a field of the unknown type {kind}")

    def _skip_items(self, depth: int) -> None:
        head = self._byte()
        count = self._unsigned() if head >> 4 == 15 else head >> 4
        for _ in range(count):
            self._skip(3 if head & 15 in (1, 2) else head & 15, depth + 1)  # true and false have a byte here
            if self.at > len(self.content):
                raise IndexError

    def _byte(self) -> int:
        self.at += 1
        return self.content[self.at - 1]

    def _integer(self) -> int:
        value = self._unsigned()
        return (value >> 1) ^ -(value & 1)

    def _unsigned(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise ValueError("the header of a page has an integer of more than 64 bits")
