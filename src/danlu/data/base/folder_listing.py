"""The files of a data set in a folder: which files count, and the listing of the folder."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from danlu.errors import UsageError, nearest
from danlu.printable import printable

MAX_NAMES = 5
"""largest number of names in a message"""
_SYSTEM_FILES = {"thumbs.db", "desktop.ini", "__macosx", "@eadir", "__pycache__"}


class FileType(NamedTuple):
    """The files that a data set reads from a folder.

    Attributes:
        one: name of the content of a file, for messages.
        many: its plural.
        file: name of a file, for messages.
        dataset: name of the data set.
        suffixes: suffixes of such files in lower case.
        hints: for suffixes of other kinds of data, what the user can do.
    """

    one: str
    many: str
    file: str
    dataset: str
    suffixes: frozenset[str]
    hints: Mapping[str, str]


class FileEntry(NamedTuple):
    """A file in the folder of a data set.

    Attributes:
        path: path relative to the folder, with slashes.
        size: size in bytes.
        modified: modification time of the content, in nanoseconds.
        changed: change time of the content or the metadata, in nanoseconds.
    """

    path: str
    size: int
    modified: int
    changed: int


class Listing(NamedTuple):
    """The content of a folder.

    Attributes:
        files: files with a suffix of the type, sorted by path.
        folders: paths of the subfolders, down to two levels.
        others: number of ignored files by type.
    """

    files: list[FileEntry]
    folders: set[str]
    others: Counter[str]


def find_folder(argument: str, files: FileType) -> Path:
    """The folder that the user named.

    Args:
        argument: the text after the name of the data set.
        files: the files that are read from it.

    Raises:
        UsageError: if there is no such folder.
    """
    if not argument:
        raise UsageError(f"the data set {files.dataset} needs the path of a folder, for example {files.dataset}:PATH")
    root = Path(argument).expanduser()
    if root.is_file():
        raise UsageError(f"{files.dataset}:{argument} is a file; give the folder that contains it")
    if not root.is_dir():
        neighbors = [path.name for path in root.parent.iterdir() if path.is_dir()] if root.parent.is_dir() else []
        hint = nearest(root.name, neighbors)
        raise UsageError(f"folder not found: {argument}" + (f"; {hint}" if hint.endswith("?") else ""))
    return root


def list_files(root: Path, suffixes: frozenset[str], progress: Callable[[str, int, int | None], None]) -> Listing:
    """List the files in a folder that have one of some suffixes.

    Args:
        root: the folder.
        suffixes: the suffixes in lower case.
        progress: progress callback, called with the number of files.

    Raises:
        UsageError: if a folder cannot be listed, or a link refers to a file outside of the folder.
    """
    listing, real_root = Listing([], set(), Counter()), os.path.realpath(root)
    waiting = [""]
    while waiting:
        below = waiting.pop()
        try:
            with os.scandir(root / below) as entries:
                for entry in entries:
                    if _take(listing, entry, below + entry.name, suffixes, real_root):
                        waiting.append(f"{below}{entry.name}/")
        except OSError as error:
            raise UsageError(f"{printable(str(root / below))} cannot be listed: {error.strerror or error}") from error
        progress("listing files", len(listing.files), None)
    progress("listing files", len(listing.files), len(listing.files))
    listing.files.sort()
    return listing


def _take(listing: Listing, entry: os.DirEntry[str], path: str, suffixes: frozenset[str], real_root: str) -> bool:
    """Add an entry of a folder to the listing. Returns whether it is a folder to be listed."""
    _, dot, end = entry.name.rpartition(".")
    suffix = dot + end.lower() if dot else ""
    if entry.name.startswith(".") or entry.name.lower() in _SYSTEM_FILES:
        listing.others["hidden"] += 1
    elif entry.is_symlink():
        _check_inside(entry, real_root)
        listing.others["links"] += 1
    elif entry.is_dir(follow_symlinks=False):
        if path.count("/") < 2:
            listing.folders.add(path)
        return True
    elif suffix not in suffixes or not entry.is_file(follow_symlinks=False):
        listing.others[suffix or "without a suffix"] += 1
    else:
        state = entry.stat(follow_symlinks=False)
        listing.files.append(FileEntry(path, state.st_size, state.st_mtime_ns, state.st_ctime_ns))
    return False


def _check_inside(link: os.DirEntry[str], real_root: str) -> None:
    """Refuse links to files outside of the folder, which could be any file of the system."""
    target = os.path.realpath(link.path)
    if not Path(target).is_relative_to(real_root):
        raise UsageError(
            f"{printable(link.path)} is a link to {printable(target)}, which is outside of the folder; "
            f"replace the link by a copy of the file, or remove it"
        )


def count_of(files: FileType, paths: Sequence[str]) -> str:
    """The number of files and the names of the first ones, for messages."""
    few = ", ".join(map(printable, paths[:MAX_NAMES])) + (", …" if len(paths) > MAX_NAMES else "")
    return f"{len(paths):,} {files.file}{'s' * (len(paths) > 1)} ({few})"


def other_content(files: FileType, listing: Listing) -> str:
    """The other content of a folder without files of the type, and the supported suffixes, for messages."""
    others = f"; it has other files ({_kinds(listing)})" if listing.others else ""
    hints = "".join(f"; {hint}" for suffix, hint in files.hints.items() if listing.others[suffix])
    return f" in a supported format{others}{hints}; supported suffixes: {', '.join(sorted(files.suffixes))}"


def _kinds(listing: Listing) -> str:
    few = listing.others.most_common(MAX_NAMES)
    more = listing.others.total() - sum(count for _, count in few)
    return ", ".join([f"{count:,} {printable(kind)}" for kind, count in few] + [f"{more:,} more"] * bool(more))


def note_on_ignored(listing: Listing) -> list[str]:
    """A note on the ignored files, if there are any."""
    count = listing.others.total()
    return [f"{count:,} other file{'s are' if count > 1 else ' is'} ignored: {_kinds(listing)}"] if count else []
