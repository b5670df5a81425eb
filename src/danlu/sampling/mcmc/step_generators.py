"""The generator of random numbers for each step of chains."""

from __future__ import annotations

import torch

from danlu.rng.keys import key


class StepGenerators:
    """A generator for each step: one that is seeded with the number of the step, or always the given one.

    Args:
        name: what the numbers are used for, the first part of the key.
        seed: random seed, or a generator.
        step: number of the first step.
        device: device of the numbers, for an integer seed.

    >>> first, later = StepGenerators("chains", 0), StepGenerators("chains", 0, step=1)
    >>> numbers = [torch.rand(1, generator=first()) for _ in range(2)]
    >>> numbers[1].equal(torch.rand(1, generator=later())), first.step
    (True, 2)
    """

    def __init__(self, name: str, seed: int | torch.Generator, step: int = 0, device: torch.device | str = "cpu"):
        self.name, self.seed, self.step = name, seed, step
        self.generator = seed if isinstance(seed, torch.Generator) else torch.Generator(device)

    def __call__(self) -> torch.Generator:
        """The generator of the next step."""
        if not isinstance(self.seed, torch.Generator):
            self.generator.manual_seed(key(self.name, self.seed, self.step))
        self.step += 1
        return self.generator
