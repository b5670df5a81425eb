"""Running text: files of the user's own, and the English of Python's own manual."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from danlu.data.base.dataset import PARTS, DataSet, Part
from danlu.data.base.split import Split, part_fractions, refuse_unused_fraction
from danlu.data.base.tokenizer import TokenKind
from danlu.data.text.info import TextInfo
from danlu.data.text.official_splits import Official, find_official_files, official_notes, official_spans
from danlu.data.text.settings import Text
from danlu.data.text.text_files import Document, Span, find_documents, split_documents
from danlu.data.text.token_cache import ReadOptions, tokenize
from danlu.errors import UsageError
from danlu.storage.access import Access


def read_text(argument: str = "", text: Text = Text(), split: Split = Split(), access: Access | None = None) -> DataSet:
    r"""A text file, or the files of a folder whose names end with .txt, in the order of their paths.

    The text is UTF-8, with a byte-order mark or without, unless ``text.encoding`` says otherwise. It is parted
    into train, validation and test one after the other, each ending with a line, before anything is tokenized. A folder
    with train.txt and valid.txt or test.txt, or with files named as in ``data.text_parts``, has official parts; what is
    missing of the last two is split off train.txt. Each part has one field, ``token``, with its tokens in order; of a
    large text they lie in a file of the cache.

    Args:
        argument: path of the file or folder, relative to the current folder.
        text: how to read and tokenize it.
        split: shares of the parts.
        access: has the cache, and is told of progress.

    Raises:
        UsageError: if a file is no text, with its path, line and byte, or there is too little of it.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp(), "song.txt")
    >>> _ = file.write_text("la la la\n" * 10)
    >>> data = read_text(str(file))
    >>> data.info.vocabulary, [len(data.part(name)) for name in PARTS]
    (4, [63, 9, 18])
    """
    if not argument:
        raise UsageError("after text comes the path of a file or a folder, as in text:poems.txt")
    path, access = Path(argument).expanduser(), access or Access()
    found = find_official_files(path) if path.is_dir() else None
    if found is not None:
        return _official_text(path, found, text, split, access)
    documents = find_documents(path)
    if not sum(document.size for document in documents):
        raise UsageError(f"{argument} is empty; a text needs at least one line for each part")
    return split_text(f"text:{path.resolve().name}", documents, text, split, access)


def _official_text(folder: Path, found: Official, page: Text, split: Split, access: Access) -> DataSet:
    """The text of a folder whose files are its parts."""
    refuse_unused_seed(split)
    for part in ("validation", "test"):
        if part in found.files:
            refuse_unused_fraction(split, part, f"{found.files[part].name} is its file")
    name, shares = f"text:{folder.resolve().name}", part_fractions(split)
    spans = official_spans(folder, found, shares)
    _refuse_empty(name, spans, shares)
    data = data_of(name, spans, page, "characters", access)
    return replace(data, notes=(*official_notes(found, spans), *data.notes))


def split_text(name: str, documents: Sequence[Document], page: Text, split: Split, access: Access) -> DataSet:
    """Documents without official parts: parts by the shares, one after the other.

    Raises:
        UsageError: if a part with a share gets nothing.
    """
    refuse_unused_seed(split)
    shares = part_fractions(split)
    parts = split_documents(documents, shares)
    _refuse_empty(name, parts, shares)
    return data_of(name, parts, page, "characters", access)


def _refuse_empty(name: str, parts: Sequence[Sequence[Span]], shares: Sequence[float]) -> None:
    for part, share, spans in zip(PARTS, shares, parts, strict=True):
        if share and not spans:
            total = sum(span.stop - span.start for some in parts for span in some)
            raise UsageError(
                f"{name}: of {total:,} bytes none is left for the {part} part at a share of {share:g}, for parts end "
                f"with lines; add text, or change --split.validation and --split.test"
            )


def data_of(name: str, parts: Sequence[Sequence[Span]], page: Text, usual: TokenKind, access: Access) -> DataSet:
    """The data set of three parts.

    Args:
        name: what it is called.
        parts: spans of train, validation and test.
        page: how they become tokens.
        usual: what a token is, if the page leaves that open.
        access: has the cache, and is told of progress.
    """
    kind: TokenKind = usual if page.tokens == "auto" else page.tokens
    found = tokenize(parts, ReadOptions(kind, page.vocabulary, page.min_count, page.encoding), access)
    info = TextInfo((), vocabulary=found.tokenizer.vocabulary, tokens=kind)
    train, validation, test = (Part({"token": tokens}, mapped=found.mapped) for tokens in found.parts)
    return DataSet(name, info, train, validation, test, found.notes, found.tokenizer)


def refuse_unused_encoding(name: str, page: Text) -> None:
    """The encoding is for files of the user's own.

    Raises:
        UsageError: if one is given.
    """
    if page.encoding != Text().encoding:
        raise UsageError(
            f"--text.encoding does nothing with {name}: it is for text:PATH, files of your own; leave it out"
        )


def refuse_unused_seed(split: Split) -> None:
    """Running text is parted in its own order.

    Raises:
        UsageError: if a seed is given.
    """
    if split.seed:
        raise UsageError("--split.seed does nothing with running text, whose parts follow each other; leave it out")
