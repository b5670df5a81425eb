"""Open files for reading only if they are regular files: a pipe or a device could block, or never end."""

from __future__ import annotations

import errno
import os
import stat
from typing import BinaryIO, cast

from danlu.storage.available_memory import available_memory

_KINDS = {
    stat.S_IFLNK: "symbolic link",
    stat.S_IFDIR: "folder",
    stat.S_IFIFO: "pipe",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}


def kind_of(mode: int) -> str:
    """What a path with this mode is, if it is not a regular file.

    >>> kind_of(os.stat("/dev/null").st_mode)
    'device'
    """
    return _KINDS.get(stat.S_IFMT(mode), "special file")


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a regular file for reading in bytes. Links are followed.

    Raises:
        OSError: if the file cannot be opened, or is not a regular file.

    >>> open_regular("/dev/null")
    Traceback (most recent call last):
    OSError: [Errno 22] it is a device, not a regular file: '/dev/null'
    """
    # O_NONBLOCK: opening a pipe without a writer would block; it has no effect on reading regular files
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    try:
        handle = os.open(path, flags | getattr(os, "O_NOCTTY", 0))
    except OSError as error:
        if error.errno == errno.ENXIO:  # Linux does not open sockets
            raise _not_regular(path, os.stat(path).st_mode) from None
        raise
    try:
        mode = os.fstat(handle).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
        if not stat.S_ISREG(mode):
            raise _not_regular(path, mode)
        return cast(BinaryIO, open(handle, "rb"))
    except BaseException:
        os.close(handle)
        raise


def read_regular(path: str | os.PathLike[str], most: int | None = None) -> bytes:
    """Read a regular file.

    Args:
        path: the file.
        most: maximum size in bytes; the available memory if not given.

    Raises:
        OSError: if the file cannot be read, is not a regular file, or is larger.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if most is None and size > (free := available_memory()):
            problem = f"it has {size:,} bytes, and {free:,} bytes of memory are available"
            raise OSError(errno.ENOMEM, problem, os.fspath(path))
        content = file.read(size if most is None else most + 1)
    if most is not None and len(content) > most:
        raise OSError(errno.EFBIG, f"it is larger than {most:,} bytes", os.fspath(path))
    return content


def _not_regular(path: str | os.PathLike[str], mode: int) -> OSError:
    return OSError(errno.EINVAL, f"it is a {kind_of(mode)}, not a regular file", os.fspath(path))
