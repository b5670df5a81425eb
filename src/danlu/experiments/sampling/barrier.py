"""The energy barrier between two states of units −1 and 1."""

from __future__ import annotations

import heapq

from jaxtyping import Float
from torch import Tensor


def energy_barrier(energies: Float[Tensor, "states"], start: int, end: int) -> float:
    """How far the energy must rise above that of a state on the best way to another, by changes of single units.

    States are visited in the order of the highest energy on the way to them, as in Dijkstra's algorithm.

    Args:
        energies: energy of each state, numbered by the bits of its units.
        start: number of the first state.
        end: number of the last state.

    >>> import torch
    >>> energy_barrier(torch.tensor([0.0, 3.0, 2.0, -1.0]), 0, 3)  # by 0, 2, 3
    2.0
    """
    values = energies.tolist()
    units = (len(values) - 1).bit_length()
    waiting, visited = [(values[start], start)], set()
    while waiting:
        highest, state = heapq.heappop(waiting)
        if state == end:
            return highest - values[start]
        if state in visited:
            continue
        visited.add(state)
        for unit in range(units):
            neighbor = state ^ (1 << unit)
            if neighbor not in visited:
                heapq.heappush(waiting, (max(highest, values[neighbor]), neighbor))
    raise ValueError(f"state {end} must be one of {len(values)} states")
