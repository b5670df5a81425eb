"""Parquet files whose metadata gives other sizes than the headers of their pages."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from danlu.data.tables import parquet_file
from danlu.data.tables.parquet_pages import largest_pages, page_headers
from danlu.data.tables.settings import Table
from danlu.data.tables.table import read_table
from danlu.errors import UsageError

arrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

LARGE = 1 << 26
ROWS = 5_000


def read(path: Path) -> Any:
    return read_table(str(path), Table())


def number(value: int) -> bytes:
    """An integer of Thrift."""
    value, content = (value << 1) ^ (value >> 63), b""
    while value > 0x7F:
        content, value = content + bytes([value & 0x7F | 0x80]), value >> 7
    return content + bytes([value])


def with_page(path: Path, content: bytes, claimed: int) -> Path:
    """A file whose only page is replaced; the metadata keeps the decompressed size.

    Args:
        path: the file to write.
        content: the decompressed page.
        claimed: the size of the decompressed page in its header.
    """
    file = io.BytesIO()
    table = arrow.table({"x": np.arange(float(ROWS)) % 7})
    parquet.write_table(table, file, compression="zstd", use_dictionary=False)
    old = file.getvalue()
    column = parquet.ParquetFile(file).metadata.row_group(0).column(0)
    (header,) = page_headers(file, 4, 4 + column.total_compressed_size)
    page = arrow.Codec("zstd").compress(arrow.py_buffer(content)).to_pybytes()
    start = b"\x15\0\x15" + number(header.decompressed) + b"\x15" + number(header.compressed)  # type and two sizes
    assert old[4:].startswith(start)
    rest = old[4 + len(start) : 4 + header.length]
    pages = b"\x15\0\x15" + number(claimed) + b"\x15" + number(len(page)) + rest + page
    footer = old[-8 - int.from_bytes(old[-8:-4], "little") : -8]
    size = b"\x16" + number(column.total_compressed_size)  # an integer of 64 bits, in the field after the last one
    assert footer.count(size) >= 1
    footer = footer.replace(size, b"\x16" + number(len(pages)))
    path.write_bytes(old[:4] + pages + footer + len(footer).to_bytes(4, "little") + b"PAR1")
    return path


def test_a_page_that_is_larger_than_the_metadata_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = with_page(tmp_path / "rows.parquet", bytes(LARGE), LARGE)
    column = parquet.ParquetFile(path).metadata.row_group(0).column(0)
    assert path.stat().st_size < 10_000
    assert column.total_uncompressed_size < 50_000
    monkeypatch.setattr(parquet_file, "available_memory", lambda: LARGE - 1)
    monkeypatch.setattr(parquet.ParquetFile, "iter_batches", None)  # nothing is decompressed
    with pytest.raises(UsageError, match="pages that are read together have 67,108,864 decompressed bytes, and 67"):
        read(path)


@pytest.mark.parametrize("name", [b"y", b"\xff"])
def test_the_name_of_a_column_among_its_pages_can_be_false(
    name: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """It stands in the schema, by which pyarrow reads, and with the positions of the pages."""
    path = with_page(tmp_path / "rows.parquet", bytes(LARGE), LARGE)
    content = path.read_bytes()
    at = content.rindex(b"\x01x") + 1
    path.write_bytes(content[:at] + name + content[at + 1 :])
    metadata = parquet.ParquetFile(path).metadata
    assert metadata.schema.column(0).path == "x"
    monkeypatch.setattr(parquet_file, "available_memory", lambda: LARGE - 1)
    monkeypatch.setattr(parquet.ParquetFile, "iter_batches", None)
    with pytest.raises(UsageError, match="pages that are read together have 67,108,864 decompressed bytes"):
        read(path)


def test_row_groups_that_share_their_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A row group has few bytes of metadata, so a small file could repeat a large region very often."""
    path = tmp_path / "rows.parquet"
    parquet.write_table(arrow.table({"x": np.random.default_rng(3).normal(size=ROWS)}), path, compression="zstd")
    read(path)
    repeated, footer = parquet.read_metadata(path), io.BytesIO()
    for _ in range(3):
        repeated.append_row_groups(parquet.read_metadata(path))
    repeated.write_metadata_file(footer)
    path.write_bytes(path.read_bytes() + footer.getvalue()[4:])
    assert parquet.read_table(path).num_rows == 4 * ROWS
    monkeypatch.setattr(parquet_file, "largest_pages", None)
    with pytest.raises(UsageError, match=r"its columns have [\d,]+ bytes, and the file has [\d,]+, so their pages"):
        read(path)


@pytest.mark.parametrize("part", ["b", "b.c"])
def test_two_columns_of_the_same_path(part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """pyarrow reads a part of a structure, too, if its path begins with the name of a column."""
    value: object = 2.0
    for name in reversed(part.split(".")):
        value = {name: value}
    path = tmp_path / "rows.parquet"
    columns = {"a.b": np.zeros(ROWS), "a": [value] * ROWS}
    for names in (["a.b", "a"], ["a", "a.b"]):
        table = arrow.table({name: columns[name] for name in names})
        parquet.write_table(table, path, compression="zstd", use_dictionary=False)
        metadata = parquet.ParquetFile(path).metadata
        assert {metadata.schema.column(k).path for k in range(2)} == {"a.b", "a." + part}
        free = max(metadata.row_group(0).column(k).total_uncompressed_size for k in range(2))
        monkeypatch.setattr(parquet_file, "available_memory", lambda free=free: free)
        with pytest.raises(UsageError, match="the pages that are read together have"):
            read_table(str(path), Table(columns=("a.b",)))


def test_pages_without_a_position(tmp_path: Path):
    path = with_page(tmp_path / "rows.parquet", bytes(100), 100)
    content = path.read_bytes()
    old, new = (b"\x26" + number(position) for position in (4, 0))  # an integer of 64 bits, two fields after the last
    path.write_bytes(content.replace(old, new))
    assert parquet.ParquetFile(path).metadata.row_group(0).column(0).data_page_offset == 0
    with pytest.raises(UsageError, match="the position of the pages of column 'x' is not positive"):
        read(path)


def test_a_page_with_a_false_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = with_page(tmp_path / "rows.parquet", bytes(100), (1 << 31) - 1)
    monkeypatch.setattr(parquet_file, "available_memory", lambda: 1 << 40)
    with pytest.raises(UsageError, match=r"rows\.parquet cannot be read as Parquet: "):
        read(path)


def test_too_little_memory_is_a_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object, **__: object) -> Iterator[None]:
        raise arrow.ArrowMemoryError("malloc of size 2147483648 failed")

    parquet.write_table(arrow.table({"x": np.arange(9.0)}), tmp_path / "rows.parquet")
    monkeypatch.setattr(parquet.ParquetFile, "iter_batches", fail)
    line = "there is not enough memory for the sizes in the file: malloc of size 2147483648 failed"
    with pytest.raises(UsageError, match=line):
        read(tmp_path / "rows.parquet")


@pytest.mark.parametrize("compression", ["snappy", "zstd", "gzip", "none"])
@pytest.mark.parametrize("use_dictionary", [True, False])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_headers_agree_with_the_metadata(compression: str, use_dictionary: bool, version: str):
    """The sizes of a column are those of its pages with their headers."""
    rng, file = np.random.default_rng(0), io.BytesIO()
    texts = ["a" * 3_000 + str(k) for k in rng.integers(0, 40, 3_000)]  # long texts are in the headers
    table = arrow.table({"x": rng.normal(size=3_000), "text": texts, "flag": rng.random(3_000) > 0.5})
    sizes = {"row_group_size": 1_100, "data_page_size": 4_096, "write_batch_size": 100}
    options = {"compression": compression, "use_dictionary": use_dictionary, "data_page_version": version}
    parquet.write_table(table, file, **sizes, **options)
    metadata, pages = parquet.ParquetFile(file).metadata, 0
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        for column in map(group.column, range(group.num_columns)):
            start = min(filter(None, (column.dictionary_page_offset, column.data_page_offset)))
            headers = list(page_headers(file, start, start + column.total_compressed_size))
            assert sum(h.length + h.compressed for h in headers) == column.total_compressed_size
            assert sum(h.length + h.decompressed for h in headers) == column.total_uncompressed_size
            assert [h.is_dictionary for h in headers] == [column.has_dictionary_page] + [False] * (len(headers) - 1)
            sizes = [h.decompressed for h in headers]
            largest = sizes[0] + max(sizes[1:]) if column.has_dictionary_page else max(sizes)
            assert largest_pages(file, start, start + column.total_compressed_size) == largest
            pages += len(headers)
    assert pages > 9  # several for some of the columns


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "cut off, or too long"),
        (b"\x15", "cut off, or too long"),
        (b"\x18\xff\xff\xff\xff\xff\xff\xff\xff\x7f" + bytes(30), "cut off, or too long"),  # a long text
        (b"\x19\xf1\xff\xff\xff\xff\x0f" + bytes(30), "cut off, or too long"),  # a long list
        (b"\x15" + b"\xff" * 20, "more than 64 bits"),
        (b"\x1c" * 50, "nested too deeply"),
        (b"\x19\x19" + b"\x19" * 50, "nested too deeply"),
        (b"\x1d\0", "unknown type 13"),
        (b"\0", "has the sizes -1 and -1"),
        (b"\x15\0\x15\x02\x15\x01\0", "has the sizes -1 and 1"),
    ],
)
def test_damaged_headers(content: bytes, problem: str):
    with pytest.raises(ValueError, match=problem):
        list(page_headers(io.BytesIO(content), 0, 100))


def test_fields_of_later_versions_are_skipped():
    """A byte, a double, a text, lists of integers and of truth values, structures, truth values, a far number."""
    fields = [b"\x13\x07", b"\x17" + bytes(8), b"\x18\x02ab", b"\x19\x35\x02\x04\x06", b"\x19\x21\x01\x02"]
    fields += [b"\x1c\x15\x08\0", b"\x11", b"\x12", b"\x05\xc8\x01\x10"]
    content = b"\x15\x04\x15\xc8\x01\x15\x06" + b"".join(fields) + b"\0"
    (header,) = page_headers(io.BytesIO(content), 0, 1)
    assert header == (True, len(content), 3, 100)
