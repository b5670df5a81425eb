"""Text as files have it: bytes that are checked and become characters piece by piece, and where parts are cut."""

from __future__ import annotations

import codecs
import hashlib
import io
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator, Sequence
from io import BufferedIOBase
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from danlu.data.text.bpe import SEAM
from danlu.errors import UsageError
from danlu.storage.disk import looks_like
from danlu.storage.text_encoding import encoding_of

Progress = Callable[[str, int, int | None], None]

PIECE = 1 << 20
"""bytes that are read at once"""
_NEAR = 1 << 16  # bytes within which a part is cut at the end of a line


class Document(NamedTuple):
    """A text in bytes.

    Attributes:
        name: path of its file, or what it is called.
        size: number of bytes.
        stamp: what changes when the content does: size and times of a file, or a checksum.
        content: the bytes, if it is no file.
    """

    name: str
    size: int
    stamp: str
    content: bytes | None = None

    def open(self) -> BufferedIOBase:
        """The bytes from the first on.

        Raises:
            UsageError: if the file cannot be read.
        """
        if self.content is not None:
            return io.BytesIO(self.content)
        try:
            return open(self.name, "rb")
        except OSError as error:
            raise UsageError(f"{self.name} cannot be read: {error.strerror or error}") from error


class Span(NamedTuple):
    """Bytes of a document, from the first to before the last."""

    document: Document
    start: int
    stop: int


class Piece(NamedTuple):
    """Some text of a document, and the number of the line that it begins in."""

    text: str
    name: str
    line: int


def whole(document: Document) -> Span:
    """All of a document."""
    return Span(document, 0, document.size)


def read(spans: Sequence[Span], encoding: str, progress: Progress) -> Iterator[Piece]:
    """The text of spans, one after the other; where a document ends without an end of line, one comes before the next.

    Args:
        spans: in order; of one document they begin at the beginning or at the end of another span.
        encoding: how the text is written.
        progress: is told how many bytes have been read.

    Raises:
        UsageError: if something is no text of this encoding; the message has path, line and byte.
    """
    codec = encoding_of(encoding)
    total, done = sum(span.stop - span.start for span in spans), 0
    for number, span in enumerate(spans):
        last = ""
        for piece, read_so_far in _pieces(span, codec, encoding):
            yield piece
            last = piece.text or last
            progress("read text", done + read_so_far, total)
        if number + 1 < len(spans) and last and not last.endswith("\n"):
            yield Piece("\n", span.document.name, 0)
        done += span.stop - span.start


def _pieces(span: Span, codec: str, encoding: str) -> Iterator[tuple[Piece, int]]:
    document, offset = span.document, span.start
    with document.open() as file:
        line = 1 + _ends_of_lines(file, span.start)
        decoder = codecs.getincrementaldecoder(codec)("strict")
        left = span.stop - span.start
        while left:
            data = file.read(min(PIECE, left))
            if not data:
                raise UsageError(f"{document.name} has become shorter while it was read; try again")
            left -= len(data)
            if offset == 0:
                data, offset = _begun(data, document.name, codec, encoding)
            waiting = len(decoder.getstate()[0])
            bad = data.find(b"\0")
            try:
                text = decoder.decode(data if bad < 0 else data[:bad], final=not left)
            except UnicodeDecodeError as error:
                raise _refusal(document.name, line, offset - waiting, error.object, error.start, encoding) from None
            if bad >= 0:
                raise _refusal(document.name, line, offset, data, bad, encoding)
            yield Piece(text, document.name, line), span.stop - span.start - left
            offset += len(data)
            line += text.count("\n")


def _ends_of_lines(file: BufferedIOBase, size: int) -> int:
    """How many lines end in the first bytes of a file, which are read."""
    found = 0
    while size:
        data = file.read(min(PIECE, size))
        found += data.count(b"\n")
        size -= len(data) or size
    return found


def _begun(data: bytes, name: str, codec: str, encoding: str) -> tuple[bytes, int]:
    """The first bytes of a document without a byte-order mark, and how long that was."""
    kind = looks_like(data)
    if kind and kind not in ("text", "a web page"):
        advice = "save it in UTF-8" if "UTF-16" in kind else "unpack it first" if "archive" in kind else "fetch it"
        raise UsageError(f"{name} is {kind}; {advice}")
    if not data.startswith(BOM_UTF8):
        return data, 0
    if codec != "utf-8":
        raise UsageError(f"{name} begins with the byte-order mark of UTF-8, so it is not {encoding}")
    return data.removeprefix(BOM_UTF8), len(BOM_UTF8)


def _refusal(name: str, line: int, offset: int, data: bytes, bad: int, encoding: str) -> UsageError:
    """What to say of a byte that cannot be, where these bytes begin at an offset of the file."""
    usual = encoding_of(encoding) == "utf-8"
    what = f"0x{data[bad]:02x}, which is not {'UTF-8' if usual else encoding} there" if data[bad] else ""
    other = ", or name its encoding with --text.encoding latin-1" if data[bad] and usual else ""
    return UsageError(
        f"{name}, line {line + data.count(10, 0, bad)}: byte {offset + bad} of the file is "
        f"{what or 'NUL, which no text has'}; save the text in UTF-8{other}"
    )


def split_documents(documents: Sequence[Document], shares: Sequence[float]) -> list[tuple[Span, ...]]:
    """Documents one after the other, in parts that follow each other and share nothing.

    A part ends with the line in which its share of the bytes ends, or, where that line is very long, with the word.

    Args:
        documents: in order.
        shares: of each part, summing to 1.

    >>> document = Document("poem", 12, "", b"one\\ntwo\\nten\\n")
    >>> [[(start, stop) for _, start, stop in part] for part in split_documents([document], (0.5, 0.5))]
    [[(0, 8)], [(8, 12)]]
    """
    total = sum(document.size for document in documents)
    ends, reached = [], 0.0
    for share in shares[:-1]:
        reached += share
        ends.append(_end(documents, round(reached * total)))
    return [_between(documents, start, stop) for start, stop in pairwise([0, *ends, total])]


def _between(documents: Sequence[Document], start: int, stop: int) -> tuple[Span, ...]:
    """The spans of the bytes from start to stop of all documents."""
    spans, begins = [], 0
    for document in documents:
        low, high = max(start - begins, 0), min(stop - begins, document.size)
        if low < high:
            spans.append(Span(document, low, high))
        begins += document.size
    return tuple(spans)


def _end(documents: Sequence[Document], target: int) -> int:
    """The first place from a byte on where a part may end."""
    begins = 0
    for document in documents:
        if begins < target < begins + document.size:
            with document.open() as file:
                file.seek(target - begins - 1)
                near = file.read(_NEAR)
            for sign in (b"\n", b" "):
                if (found := near.find(sign)) >= 0:
                    return target + found
            return target + next((k for k, byte in enumerate(near[1:]) if byte & 0xC0 != 0x80), 0)
        begins += document.size
    return target


def at_seams(pieces: Iterator[Piece]) -> Iterator[str]:
    """The same text in pieces that no tokenizer sees: each ends with a word, before white space."""
    held = ""
    for piece in pieces:
        held += piece.text
        seams = list(SEAM.finditer(held, max(len(held) - _NEAR, 0))) or list(SEAM.finditer(held))
        if seams:
            yield held[: seams[-1].start()]
            held = held[seams[-1].start() :]
    if held:
        yield held


def find_documents(path: Path) -> list[Document]:
    """A text file, or all files of a folder and of those below whose name ends with .txt, sorted by path.

    Raises:
        UsageError: if there is none.
    """
    if path.is_dir():
        files = sorted(file for file in path.rglob("*.txt") if file.is_file() and not file.name.startswith("."))
        if not files:
            raise UsageError(f"{path} has no file whose name ends with .txt")
        return [document_of(file, path) for file in files]
    if not path.is_file():
        raise UsageError(f"{path}: there is no such file or folder")
    return [document_of(path)]


def document_of(file: Path, folder: Path | None = None) -> Document:
    """A text file, which must lie in a folder if one is given.

    Raises:
        UsageError: if it is a link that leads out of the folder.
    """
    if folder is not None and not file.resolve().is_relative_to(folder.resolve()):
        raise UsageError(f"{file} is a link that leads out of {folder}; put the file itself there")
    state = file.stat()
    return Document(str(file), state.st_size, f"{state.st_size} {state.st_mtime_ns} {state.st_ctime_ns}")


def document(name: str, content: bytes) -> Document:
    """A text that is in memory."""
    return Document(name, len(content), hashlib.sha256(content).hexdigest(), content)
