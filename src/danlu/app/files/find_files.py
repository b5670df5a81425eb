"""The files that are meant by the paths of a command."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path

from danlu.errors import UsageError


def find_files(paths: list[str | Path], suffixes: Set[str], kind: str) -> list[Path]:
    """The given files, and for a folder its files of a kind in sorted order.

    Args:
        paths: files, whatever their names, and folders.
        suffixes: the endings of the files in folders, in lower case.
        kind: the kind of files in the plural, for messages.

    Raises:
        UsageError: if a path does not exist, or a folder has no such files.
    """
    files: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in suffixes and p.is_file())
            if not inside:
                raise UsageError(f"{path} has no {kind}; allowed endings: {', '.join(sorted(suffixes))}")
            files += inside
        elif path.is_file():
            files.append(path)
        else:
            raise UsageError(f"{path}: no such file or folder")
    return files
