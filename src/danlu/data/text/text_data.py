"""Settings for training on running text."""

from __future__ import annotations

from typing import ClassVar

from danlu.data.settings import DataSettings
from danlu.data.text.settings import Text


class TextData(DataSettings):
    """Running text and how it is converted to tokens.

    >>> TextData(data="pydoc", text=Text(tokens="words")).text.tokens
    'words'
    """

    kind: ClassVar[str] = "text"

    text: Text = Text()
    """how running text is converted to tokens"""
