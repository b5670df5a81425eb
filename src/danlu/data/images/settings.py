"""Settings of image files."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from danlu.data.base.page import Page


class Images(Page):
    """How image files become examples of one shape."""

    size: tuple[int, ...] | None = None
    """height and width, or one number for both; the commonest size of the files if not given"""
    fit: Literal["crop", "pad", "stretch"] = "crop"
    """what happens to files of another shape: cut to the middle, bordered with white, or stretched"""
    color: Literal["auto", "gray", "rgb"] = "auto"
    """gray or rgb; auto is gray if every file is"""
    unreadable: Literal["refuse", "skip"] = "refuse"
    """what happens when files cannot be read: nothing is trained, or they are left out and counted"""
    largest: Annotated[int, Field(ge=1)] = 100_000_000
    """pixels of the largest file that is opened"""

    @model_validator(mode="after")
    def _a_size_has_one_or_two_numbers(self) -> Images:
        if self.size is not None and (len(self.size) not in (1, 2) or min(self.size) < 1):
            raise ValueError("size is one number or two, height and width, of at least 1")
        return self
