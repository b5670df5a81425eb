"""Settings of image files."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from danlu.data.base.page import Page


class Images(Page):
    """How image files are converted to examples of one shape."""

    size: tuple[int, ...] | None = None
    """height and width, or one number for both; the most frequent size of the files if not given"""
    fit: Literal["crop", "pad", "stretch"] = "crop"
    """how images of another shape are treated: cropped at the center, padded with white, or stretched"""
    color: Literal["auto", "gray", "rgb"] = "auto"
    """gray or rgb; auto: gray if all files are gray"""
    unreadable: Literal["refuse", "skip"] = "refuse"
    """refuse: stop with an error if a file cannot be read; skip: leave it out and count it"""
    largest: Annotated[int, Field(ge=1)] = 100_000_000
    """maximum number of pixels of an image file"""

    @model_validator(mode="after")
    def _size_is_valid(self) -> Images:
        if self.size is not None and (len(self.size) not in (1, 2) or min(self.size) < 1):
            raise ValueError(f"size must be one or two numbers (height and width) of at least 1, got {self.size}")
        return self
