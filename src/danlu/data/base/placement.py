"""Where examples stay while they are trained on: on the device if they fit there, else where they are."""

from __future__ import annotations

import os
from typing import Literal, NamedTuple

import torch

from danlu.data.base.batch_stream import PartStream, Shuffled
from danlu.data.base.dataset import Part
from danlu.data.base.prefetch import PrefetchedStream

SHARE = 0.5
"""of the free memory that examples may take"""


class Placement(NamedTuple):
    """A stream of training batches, and where its examples stay, in words."""

    stream: PartStream
    reason: str


def choose_placement(
    part: Part,
    batch_size: int | Literal["full"],
    seed: int,
    device: torch.device,
    dtype: torch.dtype,
    free: int | None = None,
) -> Placement:
    """The stream of a part: from memory on the device if that has room, else from where the part is, read ahead.

    The batches are the same in both cases, in the same order.

    Args:
        part: the examples, in memory or mapped from a file.
        batch_size: rows of a batch, or "full".
        seed: of the order.
        device: where batches are wanted.
        dtype: of fractional numbers.
        free: bytes of free memory on the device; asked for if not given.

    >>> choose_placement(Part({"x": torch.zeros(4)}), 2, 0, torch.device("cpu"), torch.float32).reason
    'in memory'
    """
    free = free_memory(device) if free is None else free
    if part.nbytes <= SHARE * free or batch_size == "full":
        stream = Shuffled(part.to(device, dtype).unmapped(), batch_size, seed)
        return Placement(stream, "in memory" if device.type == "cpu" else f"on {device}")
    size = f"{part.nbytes / 2**20:,.0f} MiB"
    ahead = PrefetchedStream(Shuffled(Part(part.fields, dtype, part.mapped), batch_size, seed), device)
    return Placement(ahead, f"read ahead from where they are, for {size} are too much to be held on {device}")


def free_memory(device: torch.device) -> int:
    """Bytes that are free on a device; of a CPU, what the system could give without swapping."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            lines = dict(line.split(":") for line in file)
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
