"""What a loader may use: the folder of data sets, the network, the cache, and a function that is told of progress."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from danlu.errors import UsageError
from danlu.storage.disk import absolute_path


def no_progress(what: str, done: int, total: int | None) -> None:
    """Progress nobody."""


@dataclass(frozen=True)
class Access:
    """What a loader may use.

    Attributes:
        data_dir: a folder where files of data sets lie already; else the environment's DANLU_DATA.
        download: whether missing files may be fetched.
        progress: is told of progress: what, how much is done, of how much (or None).
    """

    data_dir: Path | None = None
    download: bool = True
    progress: Callable[[str, int, int | None], None] = field(default=no_progress)

    @property
    def user_folder(self) -> Path | None:
        """The folder that the user has named, if any.

        Raises:
            UsageError: if it is not there.
        """
        if self.data_dir is not None:
            if not self.data_dir.is_dir():
                raise UsageError(f"data_dir: no such folder: {self.data_dir}", settings=("data_dir",))
            return self.data_dir
        named = os.environ.get("DANLU_DATA")
        if not named:
            return None
        folder = absolute_path(named)
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
