"""Resources of a loader: the folder of data sets, the network, the cache, and a progress callback."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from danlu.errors import UsageError
from danlu.storage.disk import absolute_path
from danlu.storage.private_folder import check_private, private_folder


def no_progress(what: str, done: int, total: int | None) -> None:
    """A progress callback that does nothing."""


@dataclass(frozen=True)
class Access:
    """Resources that a loader may use.

    Attributes:
        data_dir: folder with files of data sets; by default the folder in the environment variable DANLU_DATA.
        download: whether missing files may be downloaded.
        progress: progress callback. It is called with a description, the amount done, and the total or None.
    """

    data_dir: Path | None = None
    download: bool = True
    progress: Callable[[str, int, int | None], None] = field(default=no_progress)

    @property
    def user_folder(self) -> Path | None:
        """The folder of data sets that the user named, or None.

        Raises:
            UsageError: if the folder does not exist.
        """
        if self.data_dir is not None:
            if not self.data_dir.is_dir():
                raise UsageError(f"data_dir: folder not found: {self.data_dir}", settings=("data_dir",))
            return self.data_dir
        named = os.environ.get("DANLU_DATA")
        if not named:
            return None
        folder = absolute_path(named)
        if not folder.is_dir():
            problem = "it is a file, not a folder" if folder.is_file() else "folder not found"
            raise UsageError(
                f"environment variable DANLU_DATA={named}: {problem}; set it to the folder of data sets, or unset it"
            )
        return folder

    @property
    def cache(self) -> Path:
        """Folder for downloaded and decoded files: DANLU_CACHE, or ``danlu`` in the user's cache folder."""
        named = os.environ.get("DANLU_CACHE")
        default = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return Path(named) if named else Path(default) / "danlu"

    def cache_folder(self, name: str, create: bool = True) -> Path:
        """A folder of the cache that no other user can read or write; it gets the permissions 0700.

        Args:
            name: its name.
            create: whether it is created if it does not exist.

        Raises:
            UsageError: if it belongs to another user, or is no folder or a link, or its path leads through a link of
                another user.
            OSError: if it cannot be created.
            RuntimeError: if the user has no home folder.
        """
        folder = check_private(self.cache / name, "DANLU_CACHE")
        if not create:
            return folder
        with suppress(FileExistsError):
            self.cache.mkdir(mode=0o700, parents=True)
        return private_folder(folder, "DANLU_CACHE")
