"""Folders without links: check one that came from elsewhere, create one, and append to a file in it.

A link in a folder can lead to any file of this user, and opening a pipe or a device can block the process. So a folder
that may come from another user is checked before its files are opened, and files are opened so that a link that appears
later is an error.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from danlu.errors import UsageError
from danlu.storage.regular_file import kind_of

_NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)  # neither is defined on Windows
_MOST_LINKS = 40  # on the way to a file: Linux follows no more


def check_tree(folder: Path) -> None:
    """Check that everything in a folder and its subfolders is a file or a folder.

    Args:
        folder: the folder. It may itself be a link, because the user names it.

    Raises:
        UsageError: if there is a link, a pipe, a socket or a device; the message has its name.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Path(folder, "report.html").symlink_to("elsewhere")
    ...     check_tree(Path(folder))
    Traceback (most recent call last):
    danlu.errors.UsageError: ...report.html is a symbolic link; ...
    """
    for path, mode in _modes(os.fspath(folder)):
        if not stat.S_ISREG(mode):
            raise _refusal(path, mode, f"nothing in {folder} was opened or changed")


def check_files(*paths: Path) -> None:
    """Check that each path is a file or a folder, or does not exist.

    Raises:
        UsageError: if one is a link, a pipe, a socket or a device.
    """
    for path in paths:
        try:
            mode = path.lstat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            continue
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise _refusal(path, mode, "it was not opened")


def make_folder(path: Path) -> None:
    """Create a folder for results and its parents, or check that it exists, is no link and is not another user's.

    A folder that another user created can get links at any time. The administrator (root) is trusted.

    Raises:
        UsageError: if it is a link, or belongs to another user, or ``check_parents`` raises it.
        OSError: if it cannot be created.
    """
    check_parents(path)
    check_files(path)
    path.mkdir(parents=True, exist_ok=True)
    check_folder(path)


def check_folder(path: Path) -> None:
    """Check a folder for results as ``make_folder`` does; a path where nothing exists passes.

    Raises:
        UsageError: if it is a link, or belongs to another user, or ``check_parents`` raises it.
    """
    check_parents(path)
    check_files(path)
    with suppress(FileNotFoundError, NotADirectoryError):
        if path.lstat().st_uid in trusted_users():
            return
        raise UsageError(
            f"{path} belongs to another user, who could change the files in it; give the name of a new folder"
        )


def check_parents(path: Path, remedy: str = "Give the name of another folder") -> None:
    """Check that the path leads through no link of another user in a folder that every user, or another one, controls.

    Such a link, for example in ``/tmp``, decides in which folder of this user a file is replaced. Linux does not follow
    it either if ``fs.protected_symlinks`` is set and the folder has the sticky bit. Other links are followed, and what
    they lead to is checked in the same way.

    Args:
        path: the path. Its last component is not checked.
        remedy: end of the message.

    Raises:
        UsageError: if there is one.
    """
    for link in _links_to(path.absolute().parent):
        if _is_foreign_link(link):
            raise UsageError(
                f"{link} is a symbolic link of another user, who decides where it leads; nothing was written. {remedy}"
            )


def open_plain(path: Path, flags: int, mode: int = 0o666) -> int:
    """Open or create a file that is not a link and has no second name; return the file descriptor.

    Args:
        path: the file.
        flags: flags of ``os.open``.
        mode: the permissions of a new file, before the umask.

    Raises:
        UsageError: if it is a link, a pipe, a socket, a device or a folder, or has several names (hard links), or
            ``check_parents`` raises it.
        OSError: if it cannot be opened.
    """
    check_parents(path)
    check_files(path)
    try:
        handle = os.open(path, flags | _NO_LINK, mode)
    except OSError:
        check_files(path)  # it became a link after the check
        raise
    status = os.fstat(handle)
    if stat.S_ISREG(status.st_mode) and status.st_nlink <= 1:
        return handle
    os.close(handle)
    if stat.S_ISREG(status.st_mode):
        raise UsageError(
            f"{path} has {status.st_nlink} names (hard links), and writing to it would change a file elsewhere; "
            f"it was not changed. Replace it by a copy, or remove it"
        )
    raise _refusal(path, status.st_mode, "it was not changed")


def append_text(path: Path, text: str) -> None:
    """Append text to a file, which is created if necessary.

    Raises:
        UsageError: if it is not a plain file.
        OSError: if it cannot be written.
    """
    with open(open_plain(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT), "ab") as file:
        file.write(text.encode())


def trusted_users() -> set[int]:
    """User IDs whose files this process trusts: its own, and that of the administrator."""
    return {this_user(), 0}


def this_user() -> int:
    """The user ID of this process; 0 on Windows, where every file has this one."""
    return os.getuid() if hasattr(os, "getuid") else 0


def _links_to(folder: Path) -> Iterator[Path]:
    """The links through which an absolute path leads, in the order of the system, each in a folder without links."""
    place, rest, links = Path(folder.anchor), [*reversed(folder.parts[1:])], 0
    while rest:
        name = rest.pop()
        if name == "..":
            place = place.parent
            continue
        try:
            target = Path(os.readlink(place / name))
        except OSError:  # it is no link, or does not exist
            place /= name
            continue
        yield place / name
        links += 1
        if links > _MOST_LINKS:
            return
        place = Path(target.anchor) if target.is_absolute() else place
        rest += reversed(target.parts[1:] if target.is_absolute() else target.parts)


def _is_foreign_link(path: Path) -> bool:
    """Whether this is a link of a user who is not trusted, in a folder that every user can write, or such a user owns.

    A container can show the administrator under another number, as the owner of the root folder and of folders in it.
    """
    try:
        status, folder = path.lstat(), path.parent.stat()
    except OSError:
        return False
    if not stat.S_ISLNK(status.st_mode) or status.st_uid in trusted_users():
        return False
    return bool(folder.st_mode & stat.S_IWOTH) or folder.st_uid not in {*trusted_users(), _owner_of_root()}


def _owner_of_root() -> int:
    return os.stat(os.sep).st_uid


def _modes(folder: str) -> Iterator[tuple[str, int]]:
    """Paths and modes of everything in a folder except folders. Links are not followed."""
    folders = [folder]
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    elif entry.is_file(follow_symlinks=False):
                        yield entry.path, stat.S_IFREG
                    else:
                        yield entry.path, entry.stat(follow_symlinks=False).st_mode
        except FileNotFoundError:  # removed meanwhile, for example by the process that trains
            continue


def _refusal(path: str | Path, mode: int, state: str) -> UsageError:
    replace = ", or, if it is your own link, replace it by a copy of what it leads to" if stat.S_ISLNK(mode) else ""
    return UsageError(
        f"{path} is a {kind_of(mode)}; danlu uses only plain files and folders here, because others lead to files "
        f"elsewhere or block the program; {state}. Remove it{replace}"
    )
