"""Tokenized texts: small texts are tokenized in memory, others once into a file of the cache, which is mapped.

An entry is a folder ``texts/KEY`` with ``tokens.bin``, the concatenated tokens of the three parts, the tokenizer, and
``page.json``, which has the number of tokens of each part. The key is the SHA-256 of the settings and of the identity
of the documents: path, size and times of a file, as for images, or a checksum. An entry is either complete or absent.
An entry whose file was truncated or modified is created again; its SHA-256 is compared when the file is new to this
machine, and not again as long as its identity stays the same.
"""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from io import BufferedIOBase
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from danlu.data.base.tokenizer import Tokenizer, TokenKind
from danlu.data.text.text_files import Span, at_seams, read
from danlu.data.text.tokenizer_files import FILE, from_json, learn
from danlu.data.text.tokenizers import UnknownCharacter
from danlu.errors import RunError, UsageError
from danlu.storage.access import Access
from danlu.storage.atomic import publish, temporary_folder, write_text
from danlu.storage.cache_entries import locked_entry, mark_used, remove_unused
from danlu.storage.contents import file_digest, has_digest, read_checked_page, remember_digest, write_checked_page
from danlu.storage.disk import sync
from danlu.storage.memory_map import file_identity, map_file

FORMAT = 2
SMALL = 1 << 22
"""maximum size in bytes of a text whose characters or words are not cached"""
IN_MEMORY = 1 << 30
"""maximum size in bytes of a text that is tokenized in memory if the cache cannot be written"""
_TOKENS, _PAGE, _VERIFIED = "tokens.bin", "page.json", "verified"


class ReadOptions(NamedTuple):
    """How a text is read and tokenized."""

    kind: TokenKind
    vocabulary: int | None = None
    min_count: int = 1
    encoding: str = "utf-8"


class Tokens(NamedTuple):
    """A tokenized text.

    Attributes:
        parts: the tokens of train, validation and test.
        tokenizer: the tokenizer, learned from the training part.
        source: identity of the file that the tokens are mapped from; empty if they are in memory.
        notes: remarks for the user.
    """

    parts: tuple[Int[Tensor, "n"], ...]
    tokenizer: Tokenizer
    source: str
    notes: tuple[str, ...] = ()


def tokenize(parts: Sequence[Sequence[Span]], options: ReadOptions, access: Access) -> Tokens:
    """Tokenize three parts; the tokenizer is learned from the first one only.

    Args:
        parts: spans of documents.
        options: how the text is tokenized.
        access: has the cache and the progress callback.

    Raises:
        UsageError: if a document is not text, or has a character that is not in the vocabulary.
        RunError: if the disk is full, or the cache cannot be written and the text is too large for memory.
    """
    size = sum(span.stop - span.start for spans in parts for span in spans)
    if options.kind != "bpe" and size <= SMALL:
        return _in_memory(parts, options, access)
    entries = _entries_folder(access)
    if isinstance(entries, str):
        if size > IN_MEMORY:
            raise RunError(
                f"{entries}, and a text of {size:,} bytes is too large to be tokenized in memory; set the environment "
                f"variable DANLU_CACHE to a folder with enough space"
            )
        note = f"{entries}; the text is tokenized again at each start"
        return _in_memory(parts, options, access)._replace(notes=(note,))
    key = _key(parts, options)
    if tokens := _read(entries / key, key):
        return tokens
    with locked_entry(entries, key, access.progress):
        return _read(entries / key, key) or _on_disk(entries, key, parts, options, access)


def _entries_folder(access: Access) -> Path | str:
    """The folder of the entries, or the reason why it cannot be written."""
    try:
        entries = access.cache / "texts"
    except RuntimeError as error:  # no home folder
        return f"the cache cannot be written ({error})"
    try:
        access.cache_folder(entries.name)
        tempfile.TemporaryFile(dir=entries).close()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _cannot_write(entries, error) from error
        return f"{entries} cannot be written ({error.strerror or error})"
    return entries


def _key(parts: Sequence[Sequence[Span]], options: ReadOptions) -> str:
    library = version("tokenizers") if options.kind == "bpe" else None
    spans = [[(s.document.name, s.document.stamp, s.start, s.stop) for s in spans] for spans in parts]
    return hashlib.sha256(repr((FORMAT, options, library, spans)).encode(errors="surrogateescape")).hexdigest()[:32]


def _learn_tokenizer(parts: Sequence[Sequence[Span]], options: ReadOptions, access: Access) -> Tokenizer:
    pieces = at_seams(read(parts[0], options.encoding, access.progress))
    return learn(options.kind, pieces, options.vocabulary, options.min_count)


def _encode(
    spans: Sequence[Span], options: ReadOptions, tokenizer: Tokenizer, access: Access
) -> Iterator[Int[Tensor, "n"]]:
    """Yield the tokens of a part piece by piece."""
    pieces = read(spans, options.encoding, access.progress)
    if tokenizer.kind != "characters":
        yield from map(tokenizer.encode, at_seams(pieces))
        return
    for piece in pieces:
        try:
            yield tokenizer.encode(piece.text)
        except UnknownCharacter as error:
            raise UsageError(
                f"{piece.name}, line {piece.line + error.line - 1}: {error.problem}; set text.min_count to 2 "
                f"to use one token for rare characters, or text.tokens to bpe",
                settings=("text.min_count=2", "text.tokens=bpe"),
            ) from None


def _in_memory(parts: Sequence[Sequence[Span]], options: ReadOptions, access: Access) -> Tokens:
    tokenizer = _learn_tokenizer(parts, options, access)
    dtype = dtype_for(tokenizer.vocabulary)
    empty = torch.empty(0, dtype=dtype)
    encoded = [
        torch.cat([empty, *(tokens.to(dtype) for tokens in _encode(spans, options, tokenizer, access))])
        for spans in parts
    ]
    return Tokens(tuple(encoded), tokenizer, source="")


def dtype_for(vocabulary: int) -> torch.dtype:
    """The smallest dtype for tokens; not uint8, which stands for fractions in a ``Part``.

    >>> dtype_for(32768), dtype_for(32769)
    (torch.int16, torch.int32)
    """
    return torch.int16 if vocabulary <= 1 << 15 else torch.int32


def _on_disk(entries: Path, key: str, parts: Sequence[Sequence[Span]], options: ReadOptions, access: Access) -> Tokens:
    """Create the entry of this key, and map it."""
    tokenizer = _learn_tokenizer(parts, options, access)
    dtype = dtype_for(tokenizer.vocabulary)
    try:
        with temporary_folder(entries, key) as folder:
            counts = []
            with (folder / _TOKENS).open("xb") as file:
                for spans in parts:
                    counts.append(_write(file, _encode(spans, options, tokenizer, access), dtype))
                file.flush()
                os.fsync(file.fileno())
            write_text(folder / FILE, tokenizer.to_json())
            state = (folder / _TOKENS).stat()
            page = {
                "format": FORMAT,
                "key": key,
                "counts": counts,
                "bytes": state.st_size,
                "modified": state.st_mtime_ns,
                "contents": file_digest(folder / _TOKENS),
                "tokenizer": file_digest(folder / FILE),
            }
            write_checked_page(folder / _PAGE, page)
            sync(folder)
            publish(folder, entries / key)
        remember_digest(entries / key / _TOKENS, page["contents"], entries / key / _VERIFIED)
    except OSError as error:
        raise _cannot_write(entries, error) from error
    tokens = _read(entries / key, key)
    remove_unused(entries, used=_PAGE, held=_TOKENS)
    if tokens is None:
        raise RunError(f"{entries / key} was written but cannot be read; remove it and try again")
    return tokens


def _write(file: BufferedIOBase, pieces: Iterator[Int[Tensor, "n"]], dtype: torch.dtype) -> int:
    count = 0
    for tokens in pieces:
        file.write(tokens.to(dtype).numpy().tobytes())
        count += len(tokens)
    return count


def _read(entry: Path, key: str) -> Tokens | None:
    try:
        page = read_checked_page(entry / _PAGE)
        state = (entry / _TOKENS).stat()
        if page["format"] != FORMAT or page["key"] != key:
            return None
        if (state.st_size, state.st_mtime_ns, file_digest(entry / FILE)) != (
            page["bytes"],
            page["modified"],
            page["tokenizer"],
        ):
            return None
        if not has_digest(entry / _TOKENS, page["contents"], remember=entry / _VERIFIED):
            return None
        mark_used(entry / _PAGE)
        tokenizer = from_json((entry / FILE).read_text(encoding="utf-8"))
        tokens = map_file(entry / _TOKENS).view(dtype_for(tokenizer.vocabulary))
        return Tokens(tuple(tokens.split(page["counts"])), tokenizer, source=file_identity(entry / _TOKENS))
    # any of these means that there is no valid entry
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError):
        return None


def _cannot_write(entries: Path, error: OSError) -> RunError:
    return RunError(
        f"cannot write the tokens to {entries}: {error.strerror or error}; free disk space, or set the environment "
        f"variable DANLU_CACHE to a folder on another disk"
    )
