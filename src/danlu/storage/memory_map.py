"""A file as a tensor that is read when it is used."""

from __future__ import annotations

import mmap
import sys
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from danlu.storage.cache_entries import hold


def map_file(path: Path) -> UInt8[Tensor, "bytes"]:
    """The bytes of a file, read when they are used; what is written to the tensor stays in this process.

    That needs memory for what is written alone, and the system has to be told so: it refuses to map a file that is
    larger than its memory otherwise, as ``torch.from_file`` and ``numpy.memmap`` do.
    """
    with path.open("rb") as file:
        hold(file)
        if sys.platform != "linux":
            region = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        else:
            no_reserve = getattr(mmap, "MAP_NORESERVE", 0x4000)  # older Pythons have no name for it
            flags, prot = mmap.MAP_PRIVATE | no_reserve, mmap.PROT_READ | mmap.PROT_WRITE
            region = mmap.mmap(file.fileno(), 0, flags=flags, prot=prot)
    return torch.frombuffer(region, dtype=torch.uint8)
