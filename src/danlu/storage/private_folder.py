"""Folders and lock files that no other user can read or write."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from danlu.errors import UsageError
from danlu.storage.plain_files import check_parents, open_plain, this_user


def private_folder(path: Path, variable: str) -> Path:
    """Create a folder with the permissions 0700, or check that it exists and belongs to this user.

    Args:
        path: the folder; an existing one gets the permissions 0700.
        variable: environment variable that chooses another folder, for the message.

    Raises:
        UsageError: if the folder belongs to another user, or is no folder or a link, or ``check_parents`` raises it.
        OSError: if it cannot be created.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     oct(private_folder(Path(folder, "cache"), "DANLU_CACHE").stat().st_mode & 0o777)
    '0o700'
    """
    check_private(path, variable)
    with suppress(FileExistsError):
        path.mkdir(mode=0o700, parents=True)
    return check_private(path, variable)


def check_private(path: Path, variable: str) -> Path:
    """Check an existing folder as ``private_folder`` does; a path where nothing exists passes.

    Raises:
        UsageError: if the folder belongs to another user, or is no folder or a link, or ``check_parents`` raises it.
        OSError: if its permissions cannot be changed.
    """
    setting = f"the environment variable {variable} to a folder of your own"
    check_parents(path, f"Set {setting}")
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return path
    if not stat.S_ISDIR(status.st_mode):
        raise UsageError(
            f"{path} is a {'link' if stat.S_ISLNK(status.st_mode) else 'file'}, not a folder; set {setting}"
        )
    if status.st_uid != this_user():
        raise UsageError(f"{path} belongs to another user, who could change the files in it; set {setting}")
    if stat.S_IMODE(status.st_mode) != 0o700:
        try:
            path.chmod(0o700)
        except OSError:  # for example a disk that is mounted read-only
            if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                raise
    return path


def open_lock(path: Path, flags: int = 0) -> int:
    """Open or create a lock file with the permissions 0600; return the file descriptor.

    Every user who can read a file can lock it, and so delay its owner. An existing file of this user gets the
    permissions 0600.

    Args:
        path: the file.
        flags: additional flags of ``os.open``.

    Raises:
        UsageError: if it is not a plain file.
        OSError: if it cannot be opened.
    """
    handle = open_plain(path, os.O_RDWR | os.O_CREAT | flags, 0o600)
    with suppress(OSError):  # it belongs to another user, or the file system has no permissions
        os.fchmod(handle, 0o600)
    return handle
