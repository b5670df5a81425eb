"""Files and folders that are either complete or absent: written under a temporary name, synced, renamed.

A crash, a full disk or a killed process leaves what was there before. A process that is killed may leave its temporary
file, a hidden one whose name ends in ``.making``, or its temporary folder, whose name begins with ``.making-``.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from danlu.storage.disk import sync

FOLDERS = ".making-*"
"""pattern of the names of temporary folders"""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside a file; the file written there replaces it when the block ends without an error.

    Args:
        path: the file to write. Its folder must exist.

    Raises:
        OSError: if the file cannot be written. What was at ``path`` is unchanged.

    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name, "numbers.txt")
    >>> with replacing(path) as temporary:
    ...     _ = temporary.write_text("1 2 3")
    ...     path.exists()
    False
    >>> path.read_text()
    '1 2 3'
    """
    # the number keeps processes apart; names of files are limited to 255 bytes
    temporary = path.with_name(f".{path.name[:50]}.{os.getpid()}.making")
    try:
        yield temporary
        sync(temporary)
        temporary.replace(path)
        with suppress(PermissionError):  # a folder where one may write and not read
            sync(path.parent)
    finally:
        with suppress(OSError):
            temporary.unlink()


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file: afterwards it has the new content or, if that fails, the old one.

    Raises:
        OSError: if it cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write a file in UTF-8: afterwards it has the new content or, if that fails, the old one.

    Raises:
        OSError: if it cannot be written.
    """
    write_bytes(path, text.encode())


@contextmanager
def temporary_folder(parent: Path, name: str) -> Iterator[Path]:
    """Make an empty folder of a name that no other process uses, and remove it afterwards if it is still there.

    Args:
        parent: where to make it.
        name: a part of its name; it must not contain "-" if leftovers are to be found by it.
    """
    folder = parent / f".making-{name}-{os.getpid()}-{secrets.token_hex(4)}"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish(folder: Path, final: Path) -> None:
    """Rename a complete folder to its final name; a folder that has this name already is removed.

    The caller syncs what is inside.

    Raises:
        OSError: if it cannot be renamed.
    """
    try:
        folder.rename(final)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise
        with tempfile.TemporaryDirectory(prefix=".old-", dir=final.parent) as aside:
            with suppress(FileNotFoundError):  # another process has removed it
                final.rename(Path(aside) / final.name)
            folder.rename(final)
    sync(final.parent)
