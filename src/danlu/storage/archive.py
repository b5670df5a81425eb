"""Extract files from an archive that is not trusted."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from danlu.errors import RunError, UsageError
from danlu.storage.atomic import replacing

MEMBERS = 1000
"""maximum number of members of an archive"""


def unpack(archive: Path, sizes: Mapping[str, int], folder: Path) -> None:
    """Extract files with known names and sizes from a tar archive; other members are not extracted.

    Args:
        archive: the archive, compressed or not.
        sizes: size in bytes of each file to extract, by its name in the archive.
        folder: destination; a file is written under the last part of its name.

    Raises:
        UsageError: if the archive has an unsafe member (an absolute name, '..', a link, a device, a file that is too
            large), too many members, or lacks a file.
        RunError: if the archive is damaged.
    """
    extracted = set()
    try:
        with tarfile.open(archive, "r:*") as content:
            for number, member in enumerate(content):
                _check(member, number, sizes, archive)
                if member.name not in sizes:
                    continue
                source = content.extractfile(member)
                assert source is not None  # it is a file
                path = folder / PurePosixPath(member.name).name
                with replacing(path) as out:
                    shutil.copyfileobj(source, out)
                extracted.add(member.name)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise RunError(f"{archive} cannot be unpacked: {error}") from error
    if missing := sorted(sizes.keys() - extracted):
        raise UsageError(f"{archive}: missing member {', '.join(missing)}")


def _check(member: tarfile.TarInfo, number: int, sizes: Mapping[str, int], archive: Path) -> None:
    path, size = PurePosixPath(member.name), sizes.get(member.name)
    limit = max(sizes.values())
    reasons = {
        "has a path outside of the archive": path.is_absolute() or ".." in path.parts,
        "is not a file or folder": not (member.isfile() or member.isdir()),
        f"is larger than {limit:,} bytes": member.size > limit,
        f"exceeds the limit of {MEMBERS} members": number >= MEMBERS,
        f"has {member.size:,} bytes, expected {size}": size is not None and member.size != size,
    }
    for reason, applies in reasons.items():
        if applies:
            raise UsageError(f"{archive}: unsafe archive, not extracted: member {member.name!r} {reason}")
