"""Memory that this process may use: what the system has available, within the limits of its control groups."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

UNLIMITED = 1 << 60
"""limit in bytes from which on a control group counts as unlimited"""


def available_memory(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes that this process can use without swapping or exceeding the limit of a container.

    The limit of ``ulimit -v`` counts, too. A control group (version 1 or 2) limits all processes in it and in its
    descendants, so the smallest remainder over the group of this process and its ancestors counts. Cached file pages
    that the system can drop count as available.

    Args:
        proc: folder of the proc file system.
        cgroups: folder where control groups are mounted.

    >>> available_memory() > 0
    True
    """
    return max(0, min([_of_system(proc), *_of_groups(proc, cgroups), *_of_process(proc)]))


def _of_system(proc: Path) -> int:
    try:
        lines = dict(line.split(":") for line in (proc / "meminfo").read_text(encoding="ascii").splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):  # not Linux
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _of_groups(proc: Path, cgroups: Path) -> Iterator[int]:
    """What remains of the limit of each control group that has one."""
    with suppress(OSError, ValueError):
        for line in (proc / "self/cgroup").read_text(encoding="utf-8").splitlines():
            _, controllers, name = line.split(":", 2)
            if not controllers:
                yield from _remainders(cgroups, name, "memory.max", "memory.current", "inactive_file")
            elif "memory" in controllers.split(","):
                files = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
                yield from _remainders(cgroups / "memory", name, *files)


def _of_process(proc: Path) -> Iterator[int]:
    """What remains of the limit on the address space of this process (``ulimit -v``), if it has one."""
    with suppress(ImportError, OSError, ValueError):
        import resource  # not on Windows

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if 0 <= limit < UNLIMITED:
            pages = int((proc / "self/statm").read_text(encoding="ascii").split()[0])
            yield limit - pages * resource.getpagesize()


def _remainders(root: Path, name: str, limit: str, usage: str, reclaimable: str) -> Iterator[int]:
    """Remainders of a group and its ancestors. In a container the own group can be mounted as the root itself."""
    group = root / name.lstrip("/")
    for folder in (group, *group.parents):
        if not folder.is_relative_to(root):
            return
        with suppress(OSError, ValueError, KeyError):
            most = int((folder / limit).read_text(encoding="ascii"))  # "max" is a ValueError: no limit
            if most < UNLIMITED:
                statistics = (folder / "memory.stat").read_text(encoding="ascii").splitlines()
                cached = int(dict(line.split() for line in statistics)[reclaimable])
                yield most - int((folder / usage).read_text(encoding="ascii")) + cached
