"""Scores of a language model on a text: cross-entropy, perplexity, bits per character or byte."""

from __future__ import annotations

from typing import Any

from danlu.data.base.dataset import Part
from danlu.metrics.perplexity import Reading, lanes_of, read_through
from danlu.verbs import can, has


def reads(model: Any, part: Part) -> bool:
    """Whether a model predicts tokens, and the part has at least two."""
    return can(model, "log_prob") and has(model, "token_log_probs") and "token" in part.fields and len(part) > 1


def text_scores(model: Any, part: Part) -> dict[str, float]:
    """Nats per token and perplexity of a text; bits per character or byte if the tokens represent the text exactly."""
    reading = read_through(model, part, lanes_of(len(part)))
    scores = {"cross_entropy": reading.cross_entropy, "perplexity": reading.perplexity}
    tokenizer = model.tokenizer
    if tokenizer is not None and tokenizer.unknown is None:
        text = tokenizer.decode(part.fields["token"][1:].cpu().long())
        scores |= bits(reading, tokenizer.kind, text)
    return scores


def bits(reading: Reading, kind: str, text: str) -> dict[str, float]:
    """Bits per byte; for a model of characters also bits per character.

    >>> bits(Reading(nats=4 * 0.6931471805599453, tokens=4), "characters", "über")
    {'bits_per_character': 1.0, 'bits_per_byte': 0.8}
    """
    per_character = {"bits_per_character": reading.bits_per(len(text))} if kind == "characters" else {}
    return {**per_character, "bits_per_byte": reading.bits_per(len(text.encode()))}
