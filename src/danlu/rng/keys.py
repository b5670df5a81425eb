"""Stateless random numbers: every random number is a function of the numbers that identify its position in a run.

A run has one seed. The random numbers of round 7, turn 2 depend on (seed, 7, 2) and not on earlier draws. Any round can
be replayed alone, and a checkpoint needs no generator state. The first part of a key names the use (order, noise,
dropout), which makes the numbers of different uses at the same position independent.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from zlib import crc32

import torch

_MASK = (1 << 64) - 1


def key(*parts: int | str) -> int:
    """A 63-bit seed for a position in a run; different positions have independent seeds.

    Each part is added to the state, to which the finalizer of the generator SplitMix64 (Steele, Lea and
    Flood, "Fast splittable pseudorandom number generators", 2014) is then applied.

    Args:
        parts: numbers, or names, which are hashed.

    >>> len({key(0, 1), key(1, 0), key(0, 1, 0), key("order", 0, 1)})
    4
    """
    state = len(parts)
    for part in parts:
        number = crc32(part.encode()) if isinstance(part, str) else part
        state = (state + number + 0x9E3779B97F4A7C15) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state >> 1


def generator(*parts: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """A new generator, seeded with the key of a position in a run.

    >>> a, b = (torch.randn(3, generator=generator("noise", 0, 7, 2)) for _ in range(2))
    >>> torch.equal(a, b)
    True
    """
    return torch.Generator(device).manual_seed(key(*parts))


@contextmanager
def seeded(*parts: int | str, device: torch.device | str = "cpu") -> Iterator[None]:
    """A context in which torch's default generators of the CPU and of a device have the seed of a position.

    Their states are restored at the end. Generators of other devices are not changed. The context is for code that
    cannot be given a generator, such as the initialization of a layer.

    Args:
        parts: the parts of the key.
        device: the device.

    >>> before = torch.get_rng_state()
    >>> with seeded("weights", 0):
    ...     a = torch.randn(3)
    >>> with seeded("weights", 0):
    ...     b = torch.randn(3)
    >>> torch.equal(a, b), torch.equal(torch.get_rng_state(), before)
    (True, True)
    """
    device = torch.device(device)
    if device.type == "cuda" and device.index is None:  # the current device can be another one at the end
        device = torch.device("cuda", torch.cuda.current_device())
    on_mps = torch.mps.get_rng_state() if device.type == "mps" else None
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        seed_default(key(*parts), device)
        try:
            yield
        finally:
            if on_mps is not None:
                torch.mps.set_rng_state(on_mps)


def seed_default(key: int, device: torch.device) -> None:
    """Seed torch's default generators of the CPU and of one device; torch.manual_seed takes 100 times as long.

    Args:
        key: the seed.
        device: the device.

    >>> seed_default(3, torch.device("cpu"))
    >>> torch.initial_seed()
    3
    """
    torch.default_generator.manual_seed(key)
    if device.type == "cuda":
        torch.cuda.init()  # before it, there are no generators
        index = torch.cuda.current_device() if device.index is None else device.index
        torch.cuda.default_generators[index].manual_seed(key)
    elif device.type == "mps":
        torch.mps.manual_seed(key)
