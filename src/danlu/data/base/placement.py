"""Placement of the training examples: on the device if they fit there, else prefetched in batches."""

from __future__ import annotations

import os
from typing import Literal, NamedTuple

import torch

from danlu.data.base.batch_stream import PartStream, Shuffled
from danlu.data.base.dataset import Part
from danlu.data.base.prefetch import PrefetchedStream

MEMORY_FRACTION = 0.5
"""maximum fraction of the free memory for the examples"""


class Placement(NamedTuple):
    """A stream of training batches, and a description of where its examples are stored."""

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
    """A stream of shuffled batches of a part, which is copied to the device if it fits, else prefetched.

    The batches and their order are the same in both cases.

    Args:
        part: the examples, in memory or mapped from a file.
        batch_size: number of rows of a batch, or "full".
        seed: random seed of the order.
        device: device of the batches.
        dtype: dtype of fractional numbers.
        free: free memory of the device in bytes; measured if not given.

    >>> choose_placement(Part({"x": torch.zeros(4)}), 2, 0, torch.device("cpu"), torch.float32).reason
    'in memory'
    """
    free = free_memory(device) if free is None else free
    if part.nbytes <= MEMORY_FRACTION * free or batch_size == "full":
        stream = Shuffled(part.to(device, dtype).unmapped(), batch_size, seed)
        return Placement(stream, "in memory" if device.type == "cpu" else f"on {device}")
    size = f"{part.nbytes / 2**20:,.0f} MiB"
    prefetched = PrefetchedStream(Shuffled(Part(part.fields, dtype, part.mapped), batch_size, seed), device)
    return Placement(prefetched, f"prefetched in batches, because {size} do not fit on {device}")


def free_memory(device: torch.device) -> int:
    """Free memory of a device in bytes; for a CPU, the memory available without swapping."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            lines = dict(line.split(":") for line in file)
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
