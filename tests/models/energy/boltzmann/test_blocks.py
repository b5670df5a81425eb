"""Colorings and blocks: every unit once, no couplings inside an independent set; masks of every name."""

import pytest
import torch

from danlu.models.energy.boltzmann.blocks import blocks_of, independent_sets
from danlu.models.energy.boltzmann.masks import check_mask, coupling_mask
from danlu.models.energy.boltzmann.sums import summed


def random_mask(units, probability, seed=0):
    upper = torch.rand(units, units, generator=torch.Generator().manual_seed(seed)).triu(1)
    mask = upper > 1 - probability
    return mask | mask.T


@pytest.mark.parametrize("probability", [0.0, 0.05, 0.3, 0.9, 1.0])
@pytest.mark.parametrize("size", [1, 4, 64])
def test_blocks_have_every_unit_once_and_independent_ones_no_couplings(probability, size):
    mask = random_mask(40, probability)
    for blocks in ([*independent_sets(mask)], [block.units for block in blocks_of(mask, size)]):
        assert torch.equal(torch.cat(blocks).sort().values, torch.arange(40))
    assert not any(mask[units][:, units].any() for units in independent_sets(mask))
    blocks = blocks_of(mask, size)
    assert all(not mask[b.units][:, b.units].any() for b in blocks if b.independent)
    assert blocks[-1].independent
    assert all(b.independent or len(b.units) <= size for b in blocks)


def test_sets_of_known_masks():
    """A grid has two colors, complete graphs one for each unit; hidden units without couplings are one set."""
    grid = coupling_mask("neighbors", (1, 6, 5), 0)
    assert [len(units) for units in independent_sets(grid)] == [15, 15]
    assert [units.tolist() for units in independent_sets(coupling_mask("all", (3,), 2))] == [[0], [1], [2], [3], [4]]
    restricted = [block.units.tolist() for block in blocks_of(coupling_mask("restricted", (3,), 2))]
    assert restricted in ([[0, 1, 2, 3, 4]], [[3, 4], [0, 1, 2]])
    semi = blocks_of(coupling_mask("semi-restricted", (3,), 70))
    assert [block.units.tolist() for block in semi] == [[0, 1, 2], [*range(3, 73)]]


def test_summed_units_split_into_enumerated_and_independent_ones():
    over = summed(coupling_mask("restricted", (30,), 4))
    assert (over.enumerated.tolist(), over.independent.tolist()) == ([30, 31, 32, 33], [*range(30)])
    over = summed(coupling_mask("semi-restricted", (3,), 4), first=3)
    assert (over.enumerated.tolist(), over.independent.tolist()) == ([], [3, 4, 5, 6])
    assert len(summed(coupling_mask("all", (3,), 4), first=3).enumerated) == 3


@pytest.mark.parametrize("shape", [(5,), (1, 3, 4), (2, 3, 3)])
@pytest.mark.parametrize("radius", [0.0, 1.0, 1.5, 2.0])
def test_neighbors_are_values_within_the_distance(shape, radius):
    grid = shape[-2:]
    places = [
        divmod(i % (grid[0] * grid[-1]), grid[1]) if len(grid) > 1 else (i, 0) for i in range(torch.Size(shape).numel())
    ]
    mask = coupling_mask("neighbors", shape, 2, radius)
    for i, a in enumerate(places):
        for j, b in enumerate(places):
            near = (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 <= radius**2
            assert bool(mask[i, j]) == (i != j and near)
    visible = len(places)
    assert mask[:visible, visible:].all()
    assert not mask[visible:, visible:].any()


@pytest.mark.parametrize("couplings", ["all", "semi-restricted", "restricted", "neighbors"])
def test_masks_of_all_names_are_masks(couplings):
    mask = coupling_mask(couplings, (1, 2, 3), 4)
    check_mask(mask, 10)
    inside = (bool(mask[:6, :6].any()), bool(mask[6:, 6:].any()))
    assert inside == {"all": (True, True), "restricted": (False, False)}.get(couplings, (True, False))
    assert mask[:6, 6:].all()


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.float(), r"must be boolean with the shape \(4, 4\).*; got float32 with the shape \(4, 4\)"),
        (lambda m: m[:3, :3], r"got bool with the shape \(3, 3\)"),
        (lambda m: m.index_put((torch.tensor(2), torch.tensor(2)), torch.tensor(True)), "couples unit 2 with itself"),
        (lambda m: m.index_put((torch.tensor(3), torch.tensor(1)), torch.tensor(False)),
         r"entries at \(1, 3\) and \(3, 1\) differ; use mask \| mask.T"),
    ],
)  # fmt: skip
def test_what_is_no_mask_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        check_mask(change(coupling_mask("all", (2,), 2)), 4)


@pytest.mark.unchecked
def test_an_unknown_name_is_refused_with_those_that_exist():
    with pytest.raises(ValueError, match="couplings='dense' must be one of all, semi-restricted, "):
        coupling_mask("dense", (2,), 2)
