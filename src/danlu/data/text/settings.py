"""Settings of running text."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from danlu.data.base.page import Page


class Text(Page):
    """How running text becomes tokens."""

    tokens: Literal["auto", "characters", "words", "bpe"] = "auto"
    """what a token is: a character, a word, or a piece of bytes; auto is words for ptb, and characters for others"""
    vocabulary: Annotated[int, Field(ge=2)] | None = None
    """most tokens that are known; if not given 10 000 words, 4 096 pieces of bytes (bpe), or all characters"""
    min_count: Annotated[int, Field(ge=1)] = 1
    """how often a token must occur in the training part to be known"""
    encoding: str = "utf-8"
    """how the text of your own files is written, latin-1 or gbk for instance"""
