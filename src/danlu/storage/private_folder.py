"""Folders that no other user can read or write."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from danlu.errors import UsageError


def private_folder(path: Path, variable: str) -> Path:
    """Create a folder with the permissions 0700, or check that it exists and belongs to this user.

    Args:
        path: the folder; an existing one gets the permissions 0700.
        variable: environment variable that chooses another folder, for the message.

    Raises:
        UsageError: if the folder belongs to another user, is no folder or a link, or cannot be created.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     oct(private_folder(Path(folder, "cache"), "DANLU_CACHE").stat().st_mode & 0o777)
    '0o700'
    """
    remedy = f"set the environment variable {variable} to a folder of your own"
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{path} cannot be created: {error.strerror}; {remedy}") from error
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise UsageError(f"{path} is a link, not a folder; {remedy}")
    if status.st_uid != os.getuid():
        raise UsageError(f"{path} belongs to another user, who could change the files in it; {remedy}")
    if stat.S_IMODE(status.st_mode) != 0o700:
        path.chmod(0o700)
    return path
