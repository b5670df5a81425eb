"""Files and folders that are either complete or absent: written under a random temporary name, synced, renamed.

After a crash, a full disk or a killed process, the previous content is unchanged. A killed process may leave a
temporary file, which is hidden and has the suffix ``.making``, or a temporary folder with the prefix ``.making-``.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedRandom
from pathlib import Path

from danlu.storage.disk import sync
from danlu.storage.plain_files import check_parents

FOLDERS = ".making-*"
"""glob pattern of temporary folders"""


@contextmanager
def replacing(path: Path) -> Iterator[BufferedRandom]:
    """A context with a new file, open for writing and reading, that replaces ``path`` if the block raises no error.

    The file has a random temporary name in the folder of ``path``. It is created only if nothing exists there, and it
    replaces a link at ``path``, so no link is followed that another user left in the folder.

    Args:
        path: the file to write. Its folder must exist.

    Raises:
        UsageError: if the path leads through a link of another user; see ``check_parents``.
        OSError: if the file cannot be written. The file at ``path`` is then unchanged.

    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name, "numbers.txt")
    >>> with replacing(path) as file:
    ...     _ = file.write(b"1 2 3")
    ...     path.exists()
    False
    >>> path.read_text()
    '1 2 3'
    """
    check_parents(path)
    temporary = path.with_name(f".{path.name[:50]}.{secrets.token_hex(8)}.making")  # a name has at most 255 bytes
    with _errors_name(path):
        file = temporary.open("x+b")
    with file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            with _errors_name(path):  # for example if the file at path belongs to another user
                temporary.replace(path)
            with suppress(PermissionError):  # a folder with write but no read permission
                sync(path.parent)
        finally:
            with suppress(OSError):
                temporary.unlink()


@contextmanager
def _errors_name(path: Path) -> Iterator[None]:
    """A context whose errors name the file to write, because its temporary name would not help."""
    try:
        yield
    except OSError as error:
        error.filename, error.filename2 = os.fspath(path), None
        raise


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file; if that fails, the file keeps its old content.

    Raises:
        OSError: if it cannot be written.
    """
    with replacing(path) as file:
        file.write(content)


def write_text(path: Path, text: str) -> None:
    """Write a file in UTF-8; if that fails, the file keeps its old content.

    Raises:
        OSError: if it cannot be written.
    """
    write_bytes(path, text.encode())


@contextmanager
def temporary_folder(parent: Path, name: str) -> Iterator[Path]:
    """A context with an empty folder of a unique name; the folder is removed at the end if it still exists.

    Args:
        parent: folder in which it is created.
        name: a part of its name. It must not contain "-" if leftover folders are searched by it.

    Raises:
        UsageError: if the path leads through a link of another user; see ``check_parents``.
        OSError: if it cannot be created.
    """
    folder = parent / f".making-{name}-{os.getpid()}-{secrets.token_hex(8)}"
    check_parents(folder)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish(folder: Path, final: Path) -> None:
    """Rename a complete folder to its final name; an existing folder of this name is removed.

    The caller must have synced the content.

    Raises:
        OSError: if it cannot be renamed.
    """
    try:
        folder.rename(final)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise
        with tempfile.TemporaryDirectory(prefix=".old-", dir=final.parent) as replaced:
            with suppress(FileNotFoundError):  # another process has removed it
                final.rename(Path(replaced) / final.name)
            folder.rename(final)
    sync(final.parent)
