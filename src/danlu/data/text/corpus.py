"""Data sets of running text, from documents or from the user's files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from danlu.data.base.dataset import PARTS, DataSet, Part
from danlu.data.base.split import refuse_unused_split
from danlu.data.base.split_settings import Split, part_fractions
from danlu.data.base.tokenizer import TokenKind
from danlu.data.text.info import TextInfo
from danlu.data.text.official_splits import OfficialParts, find_official_parts, official_notes, official_spans
from danlu.data.text.settings import Text
from danlu.data.text.text_files import Document, Span, find_documents, split_documents
from danlu.data.text.token_cache import ReadOptions, tokenize
from danlu.errors import UsageError
from danlu.storage.access import Access


def read_text(argument: str = "", text: Text = Text(), split: Split = Split(), access: Access | None = None) -> DataSet:
    r"""A text file, or all files of a folder with the suffix .txt, in the order of their paths.

    The text is UTF-8, with or without a byte-order mark, unless ``text.encoding`` names another encoding. It is split
    into consecutive parts, train, validation and test, each ending at the end of a line, before it is tokenized. A
    folder with train.txt and valid.txt or test.txt, or with file names as in ``data.text.official_splits``, has
    official parts; a missing validation or test part is split off train.txt. Each part has one field, ``token``, with
    its tokens in order. The tokens of a large text are mapped from a file in the cache.

    Args:
        argument: path of the file or folder, relative to the current folder.
        text: how the text is read and tokenized.
        split: fractions of the parts.
        access: has the cache and the progress callback.

    Raises:
        UsageError: if a file is not text in this encoding (the message has its path, line and byte), or the text is too
            short.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp(), "song.txt")
    >>> _ = file.write_text("la la la\n" * 10)
    >>> data = read_text(str(file))
    >>> data.info.vocabulary, [len(data.part(name)) for name in PARTS]
    (4, [63, 9, 18])
    """
    if not argument:
        raise UsageError("the data set text needs the path of a file or folder, for example text:poems.txt")
    path, access = Path(argument).expanduser(), access or Access()
    official = find_official_parts(path) if path.is_dir() else None
    if official is not None:
        return _official_text(path, official, text, split, access)
    documents = find_documents(path)
    if not sum(document.size for document in documents):
        raise UsageError(f"{argument} is empty; the text must have at least one line for each part")
    return split_text(f"text:{path.resolve().name}", documents, text, split, access)


def _official_text(folder: Path, official: OfficialParts, page: Text, split: Split, access: Access) -> DataSet:
    """The text of a folder with official parts."""
    refuse_unused_seed(split)
    for part in ("validation", "test"):
        if part in official.files:
            refuse_unused_split(split, part, f"{official.files[part].name} is the {part} part")
    name, fractions = f"text:{folder.resolve().name}", part_fractions(split)
    spans = official_spans(folder, official, fractions)
    _refuse_empty(name, spans, fractions)
    data = tokenized_data(name, spans, page, "characters", access)
    return replace(data, notes=(*official_notes(official, spans), *data.notes))


def split_text(name: str, documents: Sequence[Document], page: Text, split: Split, access: Access) -> DataSet:
    """Split documents without official parts into consecutive parts.

    Raises:
        UsageError: if a part with a positive fraction is empty.
    """
    refuse_unused_seed(split)
    fractions = part_fractions(split)
    parts = split_documents(documents, fractions)
    _refuse_empty(name, parts, fractions)
    return tokenized_data(name, parts, page, "characters", access)


def _refuse_empty(name: str, parts: Sequence[Sequence[Span]], fractions: Sequence[float]) -> None:
    for part, fraction, spans in zip(PARTS, fractions, parts, strict=True):
        if fraction and not spans:
            total = sum(span.stop - span.start for part_spans in parts for span in part_spans)
            raise UsageError(
                f"{name}: the {part} part would be empty (a fraction of {fraction:g} of {total:,} bytes, in whole "
                f"lines); add text, or change split.validation and split.test",
                settings=("split.validation", "split.test"),
            )


def tokenized_data(
    name: str, parts: Sequence[Sequence[Span]], page: Text, default: TokenKind, access: Access
) -> DataSet:
    """Tokenize three parts and return them as a data set.

    Args:
        name: name of the data set.
        parts: spans of train, validation and test.
        page: how the text is tokenized.
        default: type of the tokens if ``page.tokens`` is auto.
        access: has the cache and the progress callback.
    """
    kind: TokenKind = default if page.tokens == "auto" else page.tokens
    tokens = tokenize(parts, ReadOptions(kind, page.vocabulary, page.min_count, page.encoding), access)
    info = TextInfo((), vocabulary=tokens.tokenizer.vocabulary, tokens=kind)
    sources = {"token": tokens.source} if tokens.source else {}
    train, validation, test = (Part({"token": values}, sources=sources) for values in tokens.parts)
    return DataSet(name, info, train, validation, test, tokens.notes, tokens.tokenizer)


def refuse_unused_encoding(name: str, page: Text) -> None:
    """Check that the encoding is the default, because it applies only to the user's files.

    Raises:
        UsageError: if it is not.
    """
    if page.encoding != Text().encoding:
        raise UsageError(
            f"text.encoding has no effect on {name}: it applies to your own files (text:PATH); leave it out",
            settings=("text.encoding",),
        )


def refuse_unused_seed(split: Split) -> None:
    """Check that the seed is the default, because running text is split into consecutive parts.

    Raises:
        UsageError: if it is not.
    """
    if split.seed:
        raise UsageError(
            "split.seed has no effect on running text, which is split into consecutive parts; leave it out",
            settings=("split.seed",),
        )
