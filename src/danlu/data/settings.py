"""Where examples come from and how they become parts: a page of settings, with a data set's name on top."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from danlu import catalogue
from danlu.data.base.dataset import DataSet
from danlu.data.base.page import Page
from danlu.data.base.split import Split
from danlu.data.images.settings import Images
from danlu.data.tables.settings import Table
from danlu.data.text.settings import Text
from danlu.errors import UsageError
from danlu.storage.access import Access
from danlu.storage.disk import whole_path

PATHS = ("folder", "table", "text")
"""data sets whose argument is a path"""


class DataSettings(Page):
    """A data set and how it is read.

    >>> DataSettings(data="digits").load().info.shape
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


S = TypeVar("S", bound=DataSettings)
_PAGES = {
    "images": (("folder",), "folder:PATH, images of your own"),
    "table": (("table",), "table:FILE, rows of your own"),
    "text": (("text", "pydoc", "ptb", "tiny-shakespeare"), "running text"),
}
"""pages of settings, the data sets that read each, and these in words"""


def absolute(source: S) -> S:
    """The same settings with whole paths, so that a run can go on from another folder.

    Raises:
        UsageError: if a path cannot be written into a recipe.
    """
    kind, _, path = source.data.partition(":")
    changes: dict[str, Any] = {}
    if kind in PATHS and path:
        changes["data"] = f"{kind}:{whole_path(path)}"
    files = {name: getattr(source.table, name) for name in ("validation_file", "test_file")}
    whole = {name: str(whole_path(given)) for name, given in files.items() if given is not None}
    return source.model_copy(update={**changes, "table": source.table.model_copy(update=whole)})


def refuse_idle_pages(source: DataSettings) -> None:
    """Settings of a page that is for another kind of data set must be the usual ones.

    Raises:
        UsageError: if one is not.

    >>> from danlu.data.settings import Images, DataSettings
    >>> refuse_idle_pages(DataSettings(data="digits", images=Images(size=(3,))))
    Traceback (most recent call last):
    danlu.errors.UsageError: --images.size does nothing with digits: it is for folder:PATH, images of your own; leave it
    out
    """
    for name, (kinds, words) in _PAGES.items():
        page, usual = getattr(source, name), type(source).model_fields[name].default
        idle = [f"--{name}.{setting.replace('_', '-')}" for setting, value in usual if getattr(page, setting) != value]
        if idle and source.data.partition(":")[0] not in kinds:
            does, it_is, it = ("does", "it is", "it") if len(idle) == 1 else ("do", "they are", "them")
            raise UsageError(
                f"{', '.join(idle)} {does} nothing with {source.data}: {it_is} for {words}; leave {it} out"
            )
