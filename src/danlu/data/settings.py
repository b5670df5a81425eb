"""Settings of every data set: its name and its split into parts.

Help and the parsing of flags need the settings but no tensors, so this module does not import torch. The names of
``danlu.data`` are imported when they are used.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, model_validator

from danlu import catalogue
from danlu import data as room
from danlu.catalogue.datasets import DATA, find_data_entry
from danlu.data.base.effects import without_effect
from danlu.data.base.page import Page
from danlu.data.base.split_settings import Split
from danlu.data.kinds import KINDS
from danlu.errors import UsageError
from danlu.storage.access import Access
from danlu.storage.disk import absolute_path

S = TypeVar("S", bound="DataSettings")


class DataSettings(Page):
    """A data set and how it is split.

    Each kind of data has a subclass with its own settings: ``ImageData``, ``TableData``, ``TextData``,
    ``WaveformData``. A class that derives from one or several of them accepts these kinds of data. ``DataSettings``
    itself accepts every kind and reads it with the default settings.

    >>> DataSettings(data="digits").load().info.shape
    (1, 8, 8)
    """

    help_section: ClassVar[str] = "data"

    data: str = "digits"
    """name of the data set; for your own files folder:PATH (images), table:FILE (rows), text:PATH or wav:PATH"""
    split: Split = Split()
    """fractions and seed of the parts, if the data set has no official split"""

    @model_validator(mode="after")
    def _every_change_has_an_effect(self: S) -> S:
        if messages := list(without_effect(self, self.usual())):
            raise ValueError("\n".join(messages))
        return self

    def usual(self) -> DataSettings:
        """The default settings, with which changes are compared."""
        return type(self).model_construct()

    @classmethod
    def settings_by_kind(cls) -> dict[str, tuple[str, ...]]:
        """Names of the settings of each kind of data that this class accepts.

        >>> from danlu.data.tables.table_data import TableData
        >>> TableData.settings_by_kind()
        {'table': ('table',)}
        """
        pages = {vars(base)["kind"]: base for base in cls.__mro__ if "kind" in vars(base)}
        return {
            kind: tuple(name for name in pages[kind].__annotations__ if name in cls.model_fields)
            for kind in KINDS
            if kind in pages
        }

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of data that the settings accept."""
        return tuple(self.settings_by_kind()) or tuple(KINDS)

    @property
    def mixes_labels(self) -> bool:
        """Whether a training batch mixes the labels of its examples."""
        return False

    def unused_settings(self) -> frozenset[str]:
        """Names of the settings that have no effect, because they belong to another kind of data or another data set.

        >>> from danlu.data import TrainingData
        >>> sorted(TrainingData(data="moons").unused_settings())
        ['augment', 'binarize', 'glyphs', 'images', 'text', 'tones', 'waveforms']
        """
        name = self.data.partition(":")[0]
        if name not in DATA:
            return frozenset()
        by_kind = self.settings_by_kind()
        used = by_kind.get(DATA[name].kind, ())
        settings = {setting for names in by_kind.values() for setting in names}
        return frozenset(
            setting for setting in settings if setting not in used or _only_data_set(setting) not in (None, name)
        )

    def load(self, access: Access | None = None) -> room.DataSet:
        """Read the data set.

        Args:
            access: folders of data sets and of the cache, and the progress callback.

        Raises:
            UsageError: if the data set does not exist, is of a kind that the settings do not accept, or has files that
                are not valid, or if a setting has no effect on it.
        """
        name, _, argument = self.data.partition(":")
        if name not in DATA and (path := Path(self.data).expanduser()).exists():
            raise UsageError(f"{self.data} is a path; write {data_set_of(path)}:{self.data}")
        entry = find_data_entry(name)
        if entry.kind not in self.kinds:
            raise UsageError(
                f"this recipe needs data of kind {' or '.join(self.kinds)}; {self.data} is of kind {entry.kind}",
                settings=("data",),
            )
        refuse_unused_settings(self)
        page = entry.page
        options = {page: getattr(self, page)} if page in type(self).model_fields else {}
        return catalogue.find_data(name)(argument=argument, split=self.split, access=access or Access(), **options)

    def usage(self) -> dict[str, str]:
        """The settings that are needed to use the trained model. They are saved with it."""
        return {}

    def transform(self, stream: room.PartStream, seed: int) -> room.Stream:
        """Apply the transformations of training examples to a stream.

        Args:
            stream: stream of batches of the training part.
            seed: random seed of the transformations.
        """
        return stream

    def with_absolute_paths(self: S) -> S:
        """The same settings with absolute paths, so that a run can be resumed from another folder.

        Raises:
            UsageError: if a path cannot be stored in a recipe file.
        """
        name, _, path = self.data.partition(":")
        if not path or name not in {kind.dataset for kind in KINDS.values()}:
            return self
        return self.model_copy(update={"data": f"{name}:{absolute_path(path)}"})


def data_set_of(path: Path) -> str:
    """Name of the data set that reads a path, by its ending (``Kind.endings``).

    >>> data_set_of(Path("/")), data_set_of(Path("book.TXT")), data_set_of(Path("rows.csv"))
    ('folder', 'text', 'table')
    """
    ending = "/" if path.is_dir() else path.suffix.lower()
    return next(kind.dataset for one in (ending, "*") for kind in KINDS.values() if one in kind.endings)


def name_of(source: str | Path) -> str:
    """The name of the data set that reads a path: a folder of images, a text (.txt), or a table.

    Raises:
        UsageError: if it is a path, and does not exist.

    >>> name_of("digits"), name_of("/")
    ('digits', 'folder:/')
    """
    path = Path(source).expanduser()
    if path.exists():
        return f"{data_set_of(path)}:{path}"
    if ":" not in str(source) and (len(path.parts) > 1 or path.suffix):
        raise UsageError(f"{source}: no such file or folder")
    return str(source)


def refuse_unused_settings(settings: DataSettings) -> None:
    """Check that settings without effect on the data set have their default values.

    Raises:
        UsageError: if a setting does not.

    >>> from danlu.data.images.image_data import ImageData
    >>> refuse_unused_settings(ImageData(data="digits", images={"size": (3,)}))
    Traceback (most recent call last):
    danlu.errors.UsageError: images.size has no effect on digits: it applies to your own images (folder:PATH); leave it
    out
    """
    entry = find_data_entry(settings.data.partition(":")[0])
    for kind, names in settings.settings_by_kind().items():
        for name in names:
            for_files, only = name == KINDS[kind].page, _only_data_set(name)
            if kind == entry.kind and (name == entry.page or not (for_files or only)):
                continue
            if changed := _changed(settings, name):
                one = len(changed) == 1
                has, it_applies, it = ("has", "it applies", "it") if one else ("have", "they apply", "them")
                what = KINDS[kind].files if for_files else f"the data set {only}" if only else kind
                raise UsageError(
                    f"{', '.join(changed)} {has} no effect on {settings.data}: {it_applies} to {what}; leave {it} out",
                    settings=tuple(changed),
                )


def _only_data_set(page: str) -> str | None:
    """The data set that a page of settings is for; None for a page for the user's files, and for other settings."""
    if page in {kind.page for kind in KINDS.values()}:
        return None
    return next((name for name, entry in DATA.items() if entry.page == page), None)


def _changed(settings: Page, name: str) -> list[str]:
    """Dotted names of the settings below a name that do not have their default values."""
    value: Any = getattr(settings, name)
    default: Any = type(settings).model_fields[name].default
    if not isinstance(value, BaseModel):
        return [name] if value != default else []
    return [f"{name}.{setting}" for setting, initial in default if getattr(value, setting) != initial]
