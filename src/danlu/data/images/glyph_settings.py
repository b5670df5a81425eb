"""Settings of the data set glyphs: letters and digits, drawn in several faces."""

from __future__ import annotations

import math
import string
from typing import Annotated, Literal

from pydantic import Field, field_validator

from danlu.data.base.page import Fraction, Page
from danlu.errors import nearest

Family = Literal["sans", "serif", "mono"]
Weight = Literal["regular", "bold"]
Slant = Literal["upright", "italic"]
Label = Literal["character", "case", "family", "weight", "slant"]

GROUPS = {"digits": string.digits, "upper": string.ascii_uppercase, "lower": string.ascii_lowercase}
"""the groups of characters, in the order of the classes"""
ALPHABET = "".join(GROUPS.values())
"""all characters, in the order of the classes"""
MOST_EXAMPLES = 10_000_000


class Glyphs(Page):
    """Which letters and digits are drawn, in which faces, and what their class is.

    The value ``all`` of ``family``, ``weight`` and ``slant`` selects every face.

    >>> Glyphs(characters=("digits", "B", "A")).alphabet
    '0123456789AB'
    """

    examples: Annotated[int, Field(ge=1, le=MOST_EXAMPLES)] = 20_000
    """number of images, over all parts"""
    label: Label = "character"
    """the class of an image: its character, or its case (with digits), family, weight or slant"""
    characters: Annotated[tuple[str, ...], Field(min_length=1)] = tuple(GROUPS)
    """characters that are drawn: digits, upper, lower, or single letters and digits"""
    family: Literal["all"] | Family = "all"
    """draw only faces of this family: sans-serif, serif or monospaced"""
    weight: Literal["all"] | Weight = "all"
    """draw only faces of this weight"""
    slant: Literal["all"] | Slant = "all"
    """draw only faces of this slant; italic: also oblique ones"""
    rotate: Annotated[float, Field(ge=0, le=180)] = 8.0
    """maximum rotation in both directions, in degrees"""
    scale: tuple[float, float] = (0.9, 1.1)
    """smallest and largest scale; with 1, capitals have a height of 16 pixels"""
    translate: Fraction = 0.05
    """maximum shift in each direction, as a fraction of the image side"""

    @field_validator("characters")
    @classmethod
    def _characters_exist(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in GROUPS and (len(name) != 1 or name not in ALPHABET):
                raise ValueError(
                    f"{name!r} is neither a letter from A to Z or a to z, nor a digit, nor a group of characters; "
                    f"{nearest(name, GROUPS)}"
                )
        return value

    @field_validator("scale")
    @classmethod
    def _scale_is_valid(cls, value: tuple[float, float]) -> tuple[float, float]:
        low, high = value
        if not 0 < low <= high < math.inf:
            raise ValueError(f"scale must be two numbers, 0 < smallest <= largest, got {low:g} {high:g}")
        return value

    @property
    def alphabet(self) -> str:
        """The selected characters, each once, in the order of the classes: digits, upper case, lower case."""
        selected = {character for name in self.characters for character in GROUPS.get(name, name)}
        return "".join(character for character in ALPHABET if character in selected)
