"""Text documents: decode them piece by piece with checks, and split them into parts."""

from __future__ import annotations

import codecs
import hashlib
import io
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, NamedTuple

from danlu.data.text.bpe import SEAM
from danlu.errors import UsageError
from danlu.storage.disk import looks_like
from danlu.storage.regular_file import open_regular
from danlu.storage.text_encoding import encoding_of

Progress = Callable[[str, int, int | None], None]

PIECE = 1 << 20
"""number of bytes that are read at a time"""
_SEARCH = 1 << 16  # maximum number of bytes that are searched for the end of a line


_ADVICE = {"text in UTF-16": "save it in UTF-8", "a Git LFS pointer": "download the file with git lfs pull"}


class Document(NamedTuple):
    """An encoded text, in a file or in memory.

    Attributes:
        name: path of the file, or a name.
        size: number of bytes.
        stamp: a string that changes with the content: size and times of a file, or a checksum.
        content: the bytes of a document in memory; None for a file.
    """

    name: str
    size: int
    stamp: str
    content: bytes | None = None

    def open(self) -> io.BufferedIOBase | BinaryIO:
        """Open the document for reading in bytes.

        Raises:
            UsageError: if the file cannot be read.
        """
        if self.content is not None:
            return io.BytesIO(self.content)
        try:
            return open_regular(self.name)
        except OSError as error:
            raise UsageError(f"{self.name} cannot be read: {error.strerror or error}") from error


class Span(NamedTuple):
    """The bytes ``start:stop`` of a document."""

    document: Document
    start: int
    stop: int


class Piece(NamedTuple):
    """A piece of the text of a document, and the number of its first line."""

    text: str
    name: str
    line: int


def whole(document: Document) -> Span:
    """The span of a complete document."""
    return Span(document, 0, document.size)


def read(
    spans: Sequence[Span], encoding: str, progress: Progress, encoding_setting: str = "text.encoding"
) -> Iterator[Piece]:
    """Read the text of spans in order. A newline is added between documents if the first does not end with one.

    Args:
        spans: the spans. A span begins at the start of its document or at the end of another span.
        encoding: text encoding.
        progress: progress callback, called with the number of bytes read.
        encoding_setting: name of the setting of the encoding, for error messages.

    Raises:
        UsageError: if a document is not text in this encoding; the message has its path, line and byte.
    """
    codec = encoding_of(encoding)
    total, done = sum(span.stop - span.start for span in spans), 0
    for number, span in enumerate(spans):
        last = ""
        for piece, read_so_far in _pieces(span, codec, encoding, encoding_setting):
            yield piece
            last = piece.text or last
            progress("reading text", done + read_so_far, total)
        if number + 1 < len(spans) and last and not last.endswith("\n"):
            yield Piece("\n", span.document.name, 0)
        done += span.stop - span.start


def _pieces(span: Span, codec: str, encoding: str, encoding_setting: str) -> Iterator[tuple[Piece, int]]:
    document, offset = span.document, span.start
    with document.open() as file:
        line = 1 + _count_lines(file, span.start)
        decoder = codecs.getincrementaldecoder(codec)("strict")
        left = span.stop - span.start
        while left:
            data = file.read(min(PIECE, left))
            if not data:
                raise UsageError(f"{document.name} was truncated while it was read; try again")
            left -= len(data)
            if offset == 0:
                data, offset = _without_mark(data, document.name, codec, encoding)
            undecoded = len(decoder.getstate()[0])
            bad = data.find(b"\0")
            try:
                text = decoder.decode(data if bad < 0 else data[:bad], final=not left)
            except UnicodeDecodeError as error:
                raise _bad_byte(
                    document.name, line, offset - undecoded, error.object, error.start, encoding, encoding_setting
                ) from None
            if bad >= 0:
                raise _bad_byte(document.name, line, offset, data, bad, encoding, encoding_setting)
            yield Piece(text, document.name, line), span.stop - span.start - left
            offset += len(data)
            line += text.count("\n")


def _count_lines(file: io.BufferedIOBase | BinaryIO, size: int) -> int:
    """Read the first ``size`` bytes of a file and count the newlines."""
    count = 0
    while size:
        data = file.read(min(PIECE, size))
        count += data.count(b"\n")
        size -= len(data) or size
    return count


def _without_mark(data: bytes, name: str, codec: str, encoding: str) -> tuple[bytes, int]:
    """Remove the byte-order mark from the first bytes of a document; returns its length too."""
    file_type = looks_like(data)
    if file_type and file_type not in ("text", "a web page"):
        advice = _ADVICE.get(file_type, "decompress it first")
        raise UsageError(f"{name} is {file_type}; {advice}")
    if not data.startswith(BOM_UTF8):
        return data, 0
    if codec != "utf-8":
        raise UsageError(f"{name} begins with a UTF-8 byte-order mark, so its encoding is not {encoding}")
    return data.removeprefix(BOM_UTF8), len(BOM_UTF8)


def _bad_byte(
    name: str, line: int, offset: int, data: bytes, bad: int, encoding: str, encoding_setting: str
) -> UsageError:
    """The error for an invalid byte in data that begins at this offset of the file."""
    is_utf8 = encoding_of(encoding) == "utf-8"
    codec = "UTF-8" if is_utf8 else encoding
    problem = f"0x{data[bad]:02x}, which is not valid {codec}" if data[bad] else "NUL, which is not text"
    other = data[bad] and is_utf8
    advice = f", or set {encoding_setting}, for example to latin-1" if other else ""
    return UsageError(
        f"{name}, line {line + data.count(10, 0, bad)}: byte {offset + bad} of the file is "
        f"{problem}; save the text in UTF-8{advice}",
        settings=(f"{encoding_setting}=latin-1",) if other else (),
    )


def split_documents(documents: Sequence[Document], fractions: Sequence[float]) -> list[tuple[Span, ...]]:
    """Split concatenated documents into consecutive parts.

    A part ends at the end of the line in which its fraction of the bytes ends; if this line is very long, at the end of
    the word.

    Args:
        documents: the documents in order.
        fractions: fraction of each part; they sum to 1.

    >>> document = Document("poem", 12, "", b"one\\ntwo\\nten\\n")
    >>> [[(start, stop) for _, start, stop in part] for part in split_documents([document], (0.5, 0.5))]
    [[(0, 8)], [(8, 12)]]
    """
    total = sum(document.size for document in documents)
    ends, cumulative = [], 0.0
    for fraction in fractions[:-1]:
        cumulative += fraction
        ends.append(_end(documents, round(cumulative * total)))
    return [_between(documents, start, stop) for start, stop in pairwise([0, *ends, total])]


def _between(documents: Sequence[Document], start: int, stop: int) -> tuple[Span, ...]:
    """The spans of the bytes ``start:stop`` of the concatenated documents."""
    spans, first = [], 0
    for document in documents:
        low, high = max(start - first, 0), min(stop - first, document.size)
        if low < high:
            spans.append(Span(document, low, high))
        first += document.size
    return tuple(spans)


def _end(documents: Sequence[Document], target: int) -> int:
    """The first position at or after the target where a part may end."""
    first = 0
    for document in documents:
        if first < target < first + document.size:
            with document.open() as file:
                file.seek(target - first - 1)
                following = file.read(_SEARCH)
            for separator in (b"\n", b" "):
                if (index := following.find(separator)) >= 0:
                    return target + index
            return target + next((k for k, byte in enumerate(following[1:]) if byte & 0xC0 != 0x80), 0)
        first += document.size
    return target


def at_seams(pieces: Iterator[Piece]) -> Iterator[str]:
    """The same text, cut only at seams: each piece ends with a word, before white space."""
    rest = ""
    for piece in pieces:
        rest += piece.text
        seams = list(SEAM.finditer(rest, max(len(rest) - _SEARCH, 0))) or list(SEAM.finditer(rest))
        if seams:
            yield rest[: seams[-1].start()]
            rest = rest[seams[-1].start() :]
    if rest:
        yield rest


def find_documents(path: Path) -> list[Document]:
    """A text file, or all files with the suffix .txt in a folder and its subfolders, sorted by path.

    Raises:
        UsageError: if there is no such file.
    """
    if path.is_dir():
        files = sorted(file for file in path.rglob("*.txt") if file.is_file() and not file.name.startswith("."))
        if not files:
            raise UsageError(f"{path} has no files with the suffix .txt")
        return [document_of(file, path) for file in files]
    if not path.is_file():
        raise UsageError(f"{path}: file or folder not found")
    return [document_of(path)]


def document_of(file: Path, folder: Path | None = None) -> Document:
    """A text file; if a folder is given, the file must be inside of it.

    Raises:
        UsageError: if it is a link to a file outside of the folder.
    """
    if folder is not None and not file.resolve().is_relative_to(folder.resolve()):
        raise UsageError(f"{file} is a link to a file outside of {folder}; replace it by a copy of the file")
    state = file.stat()
    return Document(str(file), state.st_size, f"{state.st_size} {state.st_mtime_ns} {state.st_ctime_ns}")


def document(name: str, content: bytes) -> Document:
    """A document in memory."""
    return Document(name, len(content), hashlib.sha256(content).hexdigest(), content)
