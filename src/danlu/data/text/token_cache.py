"""Texts as tokens: in memory if that is soon done, else tokenized once, into a file of the cache that is mapped.

An entry is a folder ``texts/KEY`` with ``tokens.bin``, the tokens of the three parts one after another, the tokenizer,
and ``page.json``, which says how many each part has. The key is the SHA-256 of the settings and of what identifies the
documents: path, size and times of a file, as for pictures, or a checksum. The entry is there whole or not at all, and
one whose file was cut off or written to since is made anew.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from io import BufferedIOBase
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from danlu.data.base.tokenizer import Tokenizer, TokenKind
from danlu.data.text.text_files import Span, at_seams, read
from danlu.data.text.tokenizer_files import FILE, from_json, learn
from danlu.data.text.tokenizers import UnknownCharacter
from danlu.errors import RunError, UsageError
from danlu.storage.access import Access
from danlu.storage.atomic import publish, temporary_folder
from danlu.storage.cache_entries import locked_entry, mark_used, remove_unused
from danlu.storage.disk import sync
from danlu.storage.memory_map import map_file

FORMAT = 1
SOON = 1 << 22
"""bytes of a text whose characters or words are not worth a file"""
IN_MEMORY = 1 << 30
"""bytes of text that are tokenized in memory where the cache cannot be written"""
_TOKENS, _PAGE = "tokens.bin", "page.json"


class ReadOptions(NamedTuple):
    """How a text becomes tokens."""

    kind: TokenKind
    vocabulary: int | None = None
    min_count: int = 1
    encoding: str = "utf-8"


class Tokens(NamedTuple):
    """What became of a text.

    Attributes:
        parts: the tokens of train, validation and test.
        tokenizer: made of the training part.
        mapped: whether they lie in a file, and are read from there.
        notes: what the user should know.
    """

    parts: tuple[Int[Tensor, "n"], ...]
    tokenizer: Tokenizer
    mapped: bool
    notes: tuple[str, ...] = ()


def tokenize(parts: Sequence[Sequence[Span]], options: ReadOptions, access: Access) -> Tokens:
    """The tokens of three parts; the tokenizer sees the first alone.

    Args:
        parts: spans of documents.
        options: how they become tokens.
        access: has the cache, and is told of progress.

    Raises:
        UsageError: if something is no text, or has a character that no training text has.
        RunError: if the disk has no room, or the cache cannot be written and the text is too large for memory.
    """
    size = sum(span.stop - span.start for spans in parts for span in spans)
    if options.kind != "bpe" and size <= SOON:
        return _in_memory(parts, options, access)
    shelf = _shelf(access)
    if isinstance(shelf, str):
        if size > IN_MEMORY:
            raise RunError(
                f"{shelf}, and {size:,} bytes of text are too many to be tokenized into memory at each start; set "
                f"DANLU_CACHE to a folder with that much room"
            )
        note = f"{shelf}, so that the text is tokenized anew at each start"
        return _in_memory(parts, options, access)._replace(notes=(note,))
    key = _key(parts, options)
    if found := _read(shelf / key, key):
        return found
    with locked_entry(shelf, key, access.progress):
        return _read(shelf / key, key) or _on_disk(shelf, key, parts, options, access)


def _shelf(access: Access) -> Path | str:
    """Where entries lie, or why none can be made there."""
    try:
        shelf = access.cache / "texts"
    except RuntimeError as error:  # there is no home
        return f"a cache cannot be written ({error})"
    try:
        shelf.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=shelf).close()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _no_room(shelf, error) from error
        return f"{shelf} cannot be written ({error.strerror or error})"
    return shelf


def _key(parts: Sequence[Sequence[Span]], options: ReadOptions) -> str:
    library = version("tokenizers") if options.kind == "bpe" else None
    spans = [[(s.document.name, s.document.stamp, s.start, s.stop) for s in spans] for spans in parts]
    return hashlib.sha256(repr((FORMAT, options, library, spans)).encode(errors="surrogateescape")).hexdigest()[:32]


def _learnt(parts: Sequence[Sequence[Span]], options: ReadOptions, access: Access) -> Tokenizer:
    pieces = at_seams(read(parts[0], options.encoding, access.progress))
    return learn(options.kind, pieces, options.vocabulary, options.min_count)


def _encoded(
    spans: Sequence[Span], options: ReadOptions, tokenizer: Tokenizer, access: Access
) -> Iterator[Int[Tensor, "n"]]:
    """The tokens of a part, piece by piece."""
    pieces = read(spans, options.encoding, access.progress)
    if tokenizer.kind != "characters":
        yield from map(tokenizer.encode, at_seams(pieces))
        return
    for piece in pieces:
        try:
            yield tokenizer.encode(piece.text)
        except UnknownCharacter as error:
            raise UsageError(
                f"{piece.name}, line {piece.line + error.line - 1}: {error.what}; let rare characters share a token "
                f"with --text.min-count 2, or take bytes with --text.tokens bpe"
            ) from None


def _in_memory(parts: Sequence[Sequence[Span]], options: ReadOptions, access: Access) -> Tokens:
    tokenizer = _learnt(parts, options, access)
    dtype = dtype_for(tokenizer.vocabulary)
    none = torch.empty(0, dtype=dtype)
    found = [
        torch.cat([none, *(tokens.to(dtype) for tokens in _encoded(spans, options, tokenizer, access))])
        for spans in parts
    ]
    return Tokens(tuple(found), tokenizer, mapped=False)


def dtype_for(vocabulary: int) -> torch.dtype:
    """The smallest type for tokens; never bytes, which count as fractions.

    >>> dtype_for(32768), dtype_for(32769)
    (torch.int16, torch.int32)
    """
    return torch.int16 if vocabulary <= 1 << 15 else torch.int32


def _on_disk(shelf: Path, key: str, parts: Sequence[Sequence[Span]], options: ReadOptions, access: Access) -> Tokens:
    """Make the entry of that key, and map it."""
    tokenizer = _learnt(parts, options, access)
    dtype = dtype_for(tokenizer.vocabulary)
    try:
        with temporary_folder(shelf, key) as folder:
            counts = []
            with (folder / _TOKENS).open("wb") as file:
                for spans in parts:
                    counts.append(_write(file, _encoded(spans, options, tokenizer, access), dtype))
                file.flush()
                os.fsync(file.fileno())
            (folder / FILE).write_text(tokenizer.to_json(), encoding="utf-8")
            state = (folder / _TOKENS).stat()
            page = {
                "format": FORMAT,
                "key": key,
                "counts": counts,
                "bytes": state.st_size,
                "modified": state.st_mtime_ns,
                "tokenizer": _sum(folder / FILE),
            }
            (folder / _PAGE).write_text(json.dumps({**page, "sha256": _seal(page)}), encoding="utf-8")
            for made in (folder / FILE, folder / _PAGE, folder):
                sync(made)
            publish(folder, shelf / key)
    except OSError as error:
        raise _no_room(shelf, error) from error
    found = _read(shelf / key, key)
    remove_unused(shelf, used=_PAGE, held=_TOKENS)
    if found is None:
        raise RunError(f"{shelf / key} was written and cannot be read again; remove it and try once more")
    return found


def _write(file: BufferedIOBase, pieces: Iterator[Int[Tensor, "n"]], dtype: torch.dtype) -> int:
    count = 0
    for tokens in pieces:
        file.write(tokens.to(dtype).numpy().tobytes())
        count += len(tokens)
    return count


def _read(entry: Path, key: str) -> Tokens | None:
    try:
        page = json.loads((entry / _PAGE).read_text(encoding="utf-8"))
        state = (entry / _TOKENS).stat()
        seal = page.pop("sha256")
        if page["format"] != FORMAT or page["key"] != key or seal != _seal(page):
            return None
        if (state.st_size, state.st_mtime_ns, _sum(entry / FILE)) != (
            page["bytes"],
            page["modified"],
            page["tokenizer"],
        ):
            return None
        mark_used(entry / _PAGE)
        tokenizer = from_json((entry / FILE).read_text(encoding="utf-8"))
        tokens = map_file(entry / _TOKENS).view(dtype_for(tokenizer.vocabulary))
        return Tokens(tuple(tokens.split(page["counts"])), tokenizer, mapped=True)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError):  # whatever it is, it is no entry
        return None


def _seal(page: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(page, sort_keys=True).encode()).hexdigest()


def _sum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _no_room(shelf: Path, error: OSError) -> RunError:
    return RunError(
        f"cannot keep the tokens in {shelf}: {error.strerror or error}. Nothing was kept. Make room, or set "
        f"DANLU_CACHE to a folder on another disk"
    )
