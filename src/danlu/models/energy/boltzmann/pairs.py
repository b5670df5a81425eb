"""The couplings of a Boltzmann machine: one parameter for each pair of units, and a mask."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from danlu.models.energy.boltzmann.masks import check_mask
from danlu.models.energy.boltzmann.structure import Structure


class PairCouplings(nn.Module):
    """Symmetric couplings with zero diagonal. The parameters are the upper triangle, so each pair has one.

    Couplings of pairs that the mask excludes are 0 and stay 0.

    Args:
        mask: which units are coupled; visible units come first.
        visible: number of visible units.
        std: standard deviation of the initial couplings.

    >>> pairs = PairCouplings(torch.tensor([[0, 1, 0], [1, 0, 1], [0, 1, 0]]).bool(), visible=2, std=1.0)
    >>> pairs.weight.shape, (pairs.matrix() != 0).int().tolist()
    (torch.Size([3]), [[0, 1, 0], [1, 0, 1], [0, 1, 0]])
    """

    allowed: Tensor

    def __init__(self, mask: Bool[Tensor, "units units"], visible: int, std: float):
        super().__init__()
        self.units, self.visible, self.std = len(mask), visible, std
        self.register_buffer("allowed", mask[*_upper_pairs(mask)])
        self.weight = nn.Parameter(torch.randn(len(self.allowed)) * std * self.allowed)
        self._structure: tuple[Tensor, Structure] | None = None

    @property
    def mask(self) -> Bool[Tensor, "units units"]:
        """Which units are coupled."""
        return _symmetric(self._scattered(self.allowed))

    @property
    def structure(self) -> Structure:
        """What follows from the mask; computed again if the mask has changed, for example by loading a model."""
        if self._structure is None or not _same(self._structure[0], self.allowed):
            self._structure = self.allowed.clone(), Structure(self.mask, self.visible)
        return self._structure[1]

    def upper(self) -> Float[Tensor, "units units"]:
        """The upper triangle of the couplings; below, there are zeros."""
        return self._scattered(self.weight * self.allowed)

    def matrix(self) -> Float[Tensor, "units units"]:
        """The couplings W, symmetric."""
        return _symmetric(self.upper())

    @torch.no_grad()
    def set_mask(self, mask: Bool[Tensor, "units units"]) -> None:
        """Choose the pairs that are coupled. Couplings that are new get random initial values.

        Args:
            mask: True for each coupled pair, symmetric, with False on the diagonal.

        Raises:
            ValueError: if it is not such a tensor.
        """
        check_mask(mask, self.units)
        allowed = mask[*_upper_pairs(mask)].to(self.allowed.device)
        self.weight.copy_(torch.where(self.allowed, self.weight, torch.randn_like(self.weight) * self.std) * allowed)
        self.allowed.copy_(allowed)

    @torch.no_grad()
    def set_matrix(self, couplings: Float[Tensor, "units units"]) -> None:
        """Use given couplings.

        Args:
            couplings: W, symmetric, with zeros on the diagonal and for pairs that the mask excludes.

        Raises:
            ValueError: if they are not such a matrix.
        """
        if couplings.shape != (self.units, self.units) or not _is_symmetric(couplings):
            raise ValueError(
                f"couplings must be symmetric with the shape ({self.units}, {self.units}), got {tuple(couplings.shape)}"
                f"{'' if couplings.shape != (self.units, self.units) else ', which is not symmetric'}"
            )
        if not couplings.isfinite().all():
            raise ValueError("couplings must be finite; use large numbers for units that should be equal")
        wrong = (couplings != 0) & ~self.mask.to(couplings.device)
        if wrong.any():
            first, second = wrong.nonzero()[0].tolist()
            raise ValueError(f"units {first} and {second} are not coupled, so their coupling must be 0; see set_mask")
        self.weight.copy_(couplings[*_upper_pairs(couplings)])

    def _scattered(self, values: Tensor) -> Tensor:
        pairs = torch.ones(self.units, self.units, dtype=torch.bool, device=values.device).triu(1)
        return values.new_zeros(pairs.shape).masked_scatter(pairs, values)


def _upper_pairs(like: Tensor) -> Int[Tensor, "2 pairs"]:
    """The rows and columns of the upper triangle of a matrix."""
    return torch.triu_indices(len(like), len(like), 1, device=like.device)


def _symmetric(upper: Tensor) -> Tensor:
    return upper | upper.T if upper.dtype == torch.bool else upper + upper.T


def _is_symmetric(matrix: Tensor) -> bool:
    return bool(torch.isclose(matrix, matrix.T, rtol=0, atol=0, equal_nan=True).all())


def _same(one: Tensor, other: Tensor) -> bool:
    return one.device == other.device and torch.equal(one, other)
