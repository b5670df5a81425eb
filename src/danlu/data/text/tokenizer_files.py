"""Tokenizers from a training text, and from the file ``tokenizer.json`` of a model."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from danlu.data.base.tokenizer import Tokenizer, TokenKind
from danlu.data.text.bpe import BytePairs, learn_byte_pairs
from danlu.data.text.tokenizers import Characters, Words, learn_characters, learn_words
from danlu.errors import RunError
from danlu.storage.disk import looks_like

FILE = "tokenizer.json"
"""what the file of a tokenizer is called in the folder of a model"""


def learn(kind: TokenKind, pieces: Iterable[str], vocabulary: int | None = None, min_count: int = 1) -> Tokenizer:
    """A tokenizer of a training text.

    Args:
        kind: what a token is.
        pieces: the text, cut at white space.
        vocabulary: most tokens; for words 10 000, for bpe 4 096, all characters if not given.
        min_count: how often a token must occur.

    >>> learn("characters", ["abba"]).vocabulary
    2
    """
    how = {"characters": learn_characters, "words": learn_words, "bpe": learn_byte_pairs}[kind]
    return how(pieces, vocabulary, min_count)


def save(tokenizer: Tokenizer, path: Path) -> None:
    """Write a tokenizer into a file."""
    path.write_bytes(tokenizer.to_json().encode())  # the same bytes on every system


def load(path: Path) -> Tokenizer:
    """The tokenizer of a file ``tokenizer.json``, also of one that the package tokenizers has written.

    Raises:
        RunError: if it cannot be read, or is of a kind that danlu does not have.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror or error}") from error
    try:
        return from_json(content.decode())
    except ValueError as error:  # it is no UTF-8, no JSON, or has not what it should have
        raise RunError(f"{path} is no tokenizer: {_what_is(content, error)}") from None


def _what_is(content: bytes, error: ValueError) -> str:
    """What a file looks like that is no tokenizer."""
    kind = looks_like(content)
    if not content or (kind and kind != "text"):
        return f"it looks like {kind}" if content else "it is empty"
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start} is not UTF-8"
    return f"it is no JSON, or damaged: {error}" if isinstance(error, json.JSONDecodeError) else str(error)


def from_json(text: str) -> Tokenizer:
    """The tokenizer of such a file's text: the opposite of ``to_json``.

    Characters and words are told by how they part a text, and need no other package; bpe is read by tokenizers.

    Raises:
        ValueError: if it is none of these.

    >>> from_json(Characters("ab").to_json()).decode([1, 0])
    'ba'
    """
    page = json.loads(text)
    kind = _kind(page)
    if kind == "bpe":
        return _byte_pairs(text)
    vocabulary = page["model"].get("vocab")
    if not isinstance(vocabulary, dict) or sorted(vocabulary.values()) != list(range(len(vocabulary))):
        raise ValueError("its vocabulary does not number the tokens from 0 on")
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    return Characters(tokens) if kind == "characters" else Words(tokens)


def _kind(page: Any) -> TokenKind:
    model, parted = (_page_in(page, name) for name in ("model", "pre_tokenizer"))
    kinds: dict[tuple[Any, Any], TokenKind] = {
        ("WordLevel", "Split"): "characters",
        ("WordLevel", "WhitespaceSplit"): "words",
        ("BPE", "ByteLevel"): "bpe",
    }
    found = model.get("type"), parted.get("type")
    if found not in kinds:
        this = "is none" if found == (None, None) else f"is {found[0]} over {found[1]}"
        raise ValueError(f"danlu has characters, words and byte-level bpe, and this {this}")
    return kinds[found]


def _page_in(page: Any, name: str) -> dict[str, Any]:
    """What has a name on a page, if it is a page."""
    found = page.get(name) if isinstance(page, dict) else None
    return found if isinstance(found, dict) else {}


def _byte_pairs(text: str) -> BytePairs:
    from tokenizers import Tokenizer as Foreign

    try:
        return BytePairs(Foreign.from_str(text))
    except Exception as error:  # the package raises Exception itself
        raise ValueError(str(error)) from error
