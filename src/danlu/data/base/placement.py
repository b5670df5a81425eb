"""Placement of the training examples: on the device if they fit there, else prefetched in batches."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch

from danlu.data.base.batch_stream import PartStream, Shuffled
from danlu.data.base.dataset import Part
from danlu.data.base.prefetch import PrefetchedStream
from danlu.storage.available_memory import available_memory

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
    if batch_size == "full" or fits(part, device, dtype, free):
        stream = Shuffled(part.to(device, dtype).unmapped(), batch_size, seed)
        return Placement(stream, "in memory" if device.type == "cpu" else f"on {device}")
    size = f"{part.nbytes_as(dtype) / 2**20:,.0f} MiB"
    prefetched = PrefetchedStream(Shuffled(Part(part.fields, dtype, part.sources), batch_size, seed), device)
    return Placement(prefetched, f"prefetched in batches, because {size} do not fit on {device}")


def fits(part: Part, device: torch.device, dtype: torch.dtype | None = None, free: int | None = None) -> bool:
    """Whether a part may be copied to a device: it needs at most half of the free memory.

    Args:
        part: the examples.
        device: the device.
        dtype: dtype of fractional numbers on the device; that of the part if not given.
        free: free memory of the device in bytes; measured if not given.

    >>> part, cpu = Part({"x": torch.zeros(4)}), torch.device("cpu")
    >>> fits(part, cpu, free=32), fits(part, cpu, torch.float64, free=32)
    (True, False)
    """
    return part.nbytes_as(dtype) <= MEMORY_FRACTION * (free_memory(device) if free is None else free)


def free_memory(device: torch.device) -> int:
    """Free memory of a device in bytes; for a CPU, what this process may use without swapping."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else available_memory()
