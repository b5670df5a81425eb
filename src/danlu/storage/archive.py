"""Unpacking an archive that could have been made by anybody."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from danlu.errors import RunError, UsageError
from danlu.storage.atomic import replacing

MEMBERS = 1000
"""how many an archive may have"""


def unpack(archive: Path, wanted: Mapping[str, int], folder: Path) -> None:
    """Take files of known names and sizes out of a tar archive, and nothing else.

    Args:
        archive: the archive, compressed or not.
        wanted: size in bytes by name inside the archive.
        folder: where to write them, under the last part of their names.

    Raises:
        UsageError: if the archive holds what no honest one does (absolute names, '..', links, devices, too much), or
            lacks a file.
        RunError: if it is damaged.
    """
    found = set()
    try:
        with tarfile.open(archive, "r:*") as content:
            for number, member in enumerate(content):
                _check(member, number, wanted, archive)
                if member.name not in wanted:
                    continue
                source = content.extractfile(member)
                assert source is not None  # it is a file
                path = folder / PurePosixPath(member.name).name
                with replacing(path) as temporary, temporary.open("wb") as out:
                    shutil.copyfileobj(source, out)
                found.add(member.name)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise RunError(f"{archive} cannot be unpacked: {error}") from error
    if missing := sorted(wanted.keys() - found):
        raise UsageError(f"{archive} has no {', '.join(missing)}")


def _check(member: tarfile.TarInfo, number: int, wanted: Mapping[str, int], archive: Path) -> None:
    path, size = PurePosixPath(member.name), wanted.get(member.name)
    limit = max(wanted.values())
    reasons = {
        "leads out of it": path.is_absolute() or ".." in path.parts,
        "is neither a file nor a folder": not (member.isfile() or member.isdir()),
        f"is larger than {limit:,} bytes": member.size > limit,
        f"is one of more than {MEMBERS} members": number >= MEMBERS,
        f"has {member.size:,} bytes instead of {size}": size is not None and member.size != size,
    }
    for reason, holds in reasons.items():
        if holds:
            raise UsageError(f"{archive} is refused: its member {member.name!r} {reason}")
