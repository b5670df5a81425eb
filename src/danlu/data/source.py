"""Where examples come from and how they become parts: a page of settings, with a data set's name on top."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from danlu import catalogue
from danlu.data.dataset import DataSet
from danlu.data.disk import whole_path
from danlu.data.idle import refuse_idle_pages
from danlu.errors import UsageError

PATHS = ("folder", "table", "text")
"""data sets whose argument is a path"""

Share = Annotated[float, Field(ge=0, lt=1)]


class Page(BaseModel):
    """Settings that explain themselves and do not change."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Split(Page):
    """How examples are parted where a data set has no official parts."""

    seed: int = 0
    """which split, where there is no official one"""
    validation: Share = 0.1
    """share of the examples for validation; of the training part, where the test part is official"""
    test: Share = 0.2
    """share of the examples for the test, where there is no official test part"""

    @model_validator(mode="after")
    def _something_is_left(self) -> Split:
        if self.validation + self.test >= 1:
            raise ValueError("validation and test together must leave something to train on")
        return self


class Images(Page):
    """How image files become examples of one shape."""

    size: tuple[int, ...] | None = None
    """height and width, or one number for both; the commonest size of the files if not given"""
    fit: Literal["crop", "pad", "stretch"] = "crop"
    """what happens to files of another shape: cut to the middle, bordered with white, or stretched"""
    colour: Literal["auto", "grey", "rgb"] = "auto"
    """grey or rgb; auto is grey if every file is"""
    unreadable: Literal["refuse", "skip"] = "refuse"
    """what happens when files cannot be read: nothing is trained, or they are left out and counted"""
    largest: Annotated[int, Field(ge=1)] = 100_000_000
    """pixels of the largest file that is opened"""

    @model_validator(mode="after")
    def _a_size_has_one_or_two_numbers(self) -> Images:
        if self.size is not None and (len(self.size) not in (1, 2) or min(self.size) < 1):
            raise ValueError("size is one number or two, height and width, of at least 1")
        return self


class Table(Page):
    """How the columns of a table become numbers."""

    target: str | None = None
    """column with the class of each row; none if not given"""
    columns: tuple[str, ...] | None = None
    """columns to use; all but the target if not given"""
    standardise: bool = True
    """shift and scale each column to mean 0 and deviation 1 over the training rows"""
    missing: Literal["refuse", "drop", "mean"] = "refuse"
    """what happens to rows with missing numbers: nothing is trained, they are left out, or filled with the mean"""
    encoding: str = "utf-8"
    """how the text of a CSV file is written, latin-1 or cp1252 for instance"""
    validation_file: str | None = None
    """another table with the rows for validation"""
    test_file: str | None = None
    """another table with the rows for the test"""


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


class Source(Page):
    """A data set and how it is read.

    >>> Source(data="digits").load().info.shape
    (1, 8, 8)
    """

    data: str = "digits"
    """name of the data set; of your own folder:PATH for images, table:FILE for rows, text:PATH for running text"""
    split: Split = Split()
    """shares and seed of the parts, where they are not official"""
    images: Images = Images()
    """how image files become examples of one shape"""
    table: Table = Table()
    """how columns become numbers"""
    text: Text = Text()
    """how running text becomes tokens"""

    def load(self, access: Access | None = None) -> DataSet:
        """The data set.

        Args:
            access: what may be used to get it.

        Raises:
            UsageError: if there is no such data set, settings do nothing with it, or its files are not as they should
                be.
        """
        name, _, argument = self.data.partition(":")
        if name not in catalogue.DATA and (path := Path(self.data).expanduser()).exists():
            raise UsageError(f"{self.data} is a path; write {holding(path)}:{self.data}")
        load = catalogue.find_data(name)
        refuse_idle_pages(self)
        return load(self, argument, access or Access())


def holding(path: Path) -> str:
    """The data set that a path seems to be for."""
    return "folder" if path.is_dir() else "text" if path.suffix.lower() == ".txt" else "table"


def no_progress(what: str, done: int, total: int | None) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Access:
    """What a loader may use.

    Attributes:
        data_dir: a folder where files of data sets lie already; else the environment's DANLU_DATA.
        download: whether missing files may be fetched.
        tell: is told of progress: what, how much is done, of how much (or None).
    """

    data_dir: Path | None = None
    download: bool = True
    tell: Callable[[str, int, int | None], None] = field(default=no_progress)

    @property
    def given(self) -> Path | None:
        """The folder that the user has named, if any.

        Raises:
            UsageError: if it is not there.
        """
        if self.data_dir is not None:
            if not self.data_dir.is_dir():
                raise UsageError(f"--data-dir {self.data_dir}: there is no such folder")
            return self.data_dir
        named = os.environ.get("DANLU_DATA")
        if not named:
            return None
        folder = whole_path(named)
        if not folder.is_dir():
            what = "this is a file" if folder.is_file() else "there is no such folder"
            raise UsageError(f"the environment's DANLU_DATA={named}: {what}; name the folder of data sets, or unset it")
        return folder

    @property
    def cache(self) -> Path:
        """Where danlu keeps what it has fetched or decoded: DANLU_CACHE, or a folder in the user's cache."""
        named = os.environ.get("DANLU_CACHE")
        usual = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return Path(named) if named else Path(usual) / "danlu"


def no_argument(name: str, argument: str) -> None:
    """A data set of one kind takes nothing after its name.

    Raises:
        UsageError: if something was given.
    """
    if argument:
        raise UsageError(f"{name}:{argument}: {name} takes nothing after its name")
