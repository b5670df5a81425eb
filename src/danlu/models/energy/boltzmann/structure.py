"""What follows from a mask of couplings: blocks of sweeps, and units that can be summed out."""

from __future__ import annotations

from functools import cached_property

from jaxtyping import Bool
from torch import Tensor

from danlu.models.energy.boltzmann.blocks import Block, blocks_of
from danlu.models.energy.boltzmann.sums import Summed, summed


class Structure:
    """Blocks and sums of a machine, computed when they are needed.

    Args:
        mask: which units are coupled; visible units come first.
        visible: number of visible units.

    >>> from danlu.models.energy.boltzmann.masks import coupling_mask
    >>> structure = Structure(coupling_mask("restricted", (2,), 3), 2)
    >>> structure.hidden_independent, len(structure.blocks), len(structure.over_all.enumerated)
    (True, 2, 2)
    """

    def __init__(self, mask: Bool[Tensor, "units units"], visible: int):
        self.mask, self.visible = mask, visible

    @cached_property
    def blocks(self) -> list[Block]:
        """The blocks of a sweep over all units; the last one is independent."""
        return blocks_of(self.mask)

    @cached_property
    def hidden_blocks(self) -> list[Block]:
        """The blocks of a sweep over the hidden units, numbered from 0."""
        return blocks_of(self.mask[self.visible :, self.visible :])

    @cached_property
    def hidden_independent(self) -> bool:
        """Whether there are no couplings between hidden units."""
        return not self.mask[self.visible :, self.visible :].any()

    @cached_property
    def over_hidden(self) -> Summed:
        """How to sum out the hidden units."""
        return summed(self.mask, self.visible)

    @cached_property
    def over_all(self) -> Summed:
        """How to sum out all units."""
        return summed(self.mask)
