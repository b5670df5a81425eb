"""Settings of running text."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from danlu.data.base.page import Page


class Text(Page):
    """How running text is converted to tokens."""

    tokens: Literal["auto", "characters", "words", "bpe"] = "auto"
    """tokenization: characters, words or bpe (byte-pair encoding); auto: words for ptb, characters for others"""
    vocabulary: Annotated[int, Field(ge=2)] | None = None
    """maximum vocabulary size; if not given 10,000 words, 4,096 subwords (bpe), or all characters"""
    min_count: Annotated[int, Field(ge=1)] = 1
    """minimum number of occurrences of a token in the training part"""
    encoding: str = "utf-8"
    """character encoding of your own files, for example latin-1 or gbk"""
