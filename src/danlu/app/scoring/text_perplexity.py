"""Perplexity of text files under a language model, bits per character and per byte."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from danlu.app.console.error_lines import with_flags
from danlu.app.files.standard_input import with_standard_input
from danlu.app.inference.complete import tokenizer_of
from danlu.data.base.dataset import Part
from danlu.data.base.tokenizer import Tokenizer
from danlu.data.text.text_files import Document, find_documents, read, whole
from danlu.errors import UsageError
from danlu.evaluation.text_scores import bits
from danlu.metrics.perplexity import read_through
from danlu.storage.access import no_progress
from danlu.storage.text_encoding import encoding_of


class TextScore(NamedTuple):
    """The scores of a text.

    Attributes:
        file: name of the file.
        nats: negative log-likelihood of all tokens except the first, which is not predicted.
        tokens: number of predicted tokens.
        perplexity: perplexity per token.
        bits_per_byte: bits per byte of the text; None for models with unknown words.
        bits_per_character: bits per character, for models of characters.
        error: why there is no score; None if there is one.
    """

    file: str
    nats: float | None = None
    tokens: int = 0
    perplexity: float | None = None
    bits_per_byte: float | None = None
    bits_per_character: float | None = None
    error: str | None = None


class TextScores(NamedTuple):
    """The scores of several files, and notes on them."""

    files: tuple[TextScore, ...]
    notes: tuple[str, ...]


def score_text(run: str | Path, model: Any, files: Sequence[str | Path], encoding: str = "utf-8") -> TextScores:
    """Scores of text files; each is scored as a whole.

    Args:
        run: path of the run of the model.
        model: the model, on its device.
        files: files, or folders of .txt files; "-" is standard input.
        encoding: text encoding of the files.

    Raises:
        UsageError: if a file does not exist.
    """
    tokenizer, scores = tokenizer_of(model, run), []
    encoding_of(encoding)
    with with_standard_input(files) as (paths, display):
        for path in paths:
            for document in find_documents(Path(path)):
                scores.append(_scored(model, tokenizer, document, encoding, display))
    notes = ["the first token of each text is not scored, because nothing comes before it"]
    if tokenizer.unknown is not None:
        notes.append("all unknown words count as one token, which makes the scores better than they are")
    return TextScores(tuple(scores), tuple(notes))


def _scored(model: Any, tokenizer: Tokenizer, document: Document, encoding: str, display: Any) -> TextScore:
    name = display(document.name)
    try:
        text = "".join(piece.text for piece in read([whole(document)], encoding, no_progress, "encoding"))
        tokens = tokenizer.encode(text)
    except UsageError as error:
        message = display(with_flags(error))
        return TextScore(name, error=message if message.startswith(name) else f"{name}: {message}")
    if len(tokens) < 2:
        what = "is empty" if not text else f"has {len(tokens)} token{'s' * (len(tokens) != 1)}"
        return TextScore(name, error=f"{name} {what}; a score needs at least 2 tokens")
    totals = read_through(model, Part({"token": tokens}))
    exact = bits(totals, tokenizer.kind, tokenizer.decode(tokens[1:])) if tokenizer.unknown is None else {}
    per_byte, per_character = (exact.get(f"bits_per_{unit}") for unit in ("byte", "character"))
    return TextScore(name, totals.nats, totals.tokens, totals.perplexity, per_byte, per_character)
