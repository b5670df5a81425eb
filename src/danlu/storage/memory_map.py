"""Memory-mapped files as tensors."""

from __future__ import annotations

import mmap
import sys
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from danlu.storage.cache_entries import hold


def map_file(path: Path) -> UInt8[Tensor, "bytes"]:
    """The bytes of a file as a memory-mapped tensor; writes to the tensor do not change the file.

    Only written pages need memory. The flag MAP_NORESERVE tells the system so; without it, as in ``torch.from_file``
    and ``numpy.memmap``, Linux refuses to map a file that is larger than its memory.
    """
    with path.open("rb") as file:
        hold(file)
        if sys.platform != "linux":
            region = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        else:
            no_reserve = getattr(mmap, "MAP_NORESERVE", 0x4000)  # not defined in older versions of Python
            flags, prot = mmap.MAP_PRIVATE | no_reserve, mmap.PROT_READ | mmap.PROT_WRITE
            region = mmap.mmap(file.fileno(), 0, flags=flags, prot=prot)
    return torch.frombuffer(region, dtype=torch.uint8)


def file_identity(path: Path) -> str:
    """A text that changes when the file or its content changes: path, device, inode, size and both times.

    >>> file_identity(Path(__file__)) == file_identity(Path(__file__))
    True
    """
    state = path.stat()
    numbers = (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
    return " ".join([str(path.resolve()), *map(str, numbers)])
