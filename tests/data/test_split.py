"""A split is disjoint and complete, and shares every class out alike."""

import pytest
import torch

from danlu.data.split import stratified_split

LABELS = torch.cat([torch.full((size,), label) for label, size in enumerate((1, 2, 9, 10, 57))])
LABELS = LABELS[torch.randperm(len(LABELS), generator=torch.Generator().manual_seed(0))]
SHARES = [(0.7, 0.1, 0.2), (0.5, 0.5), (1.0,), (0.0, 1.0), (1 / 3, 1 / 3, 1 / 3), (0.1,) * 10]


@pytest.mark.parametrize("shares", SHARES)
def test_parts_are_disjoint_complete_and_ascending(shares):
    parts = stratified_split(LABELS, shares, seed=4)
    assert len(parts) == len(shares)
    assert torch.cat(parts).sort().values.tolist() == list(range(len(LABELS)))
    for part in parts:
        assert part.tolist() == sorted(part.tolist())


@pytest.mark.parametrize("shares", SHARES)
def test_every_class_is_shared_out_within_one_example(shares):
    for part, share in zip(stratified_split(LABELS, shares), shares, strict=True):
        for label in LABELS.unique():
            members, found = (int(labels.eq(label).sum()) for labels in (LABELS, LABELS[part]))
            assert abs(found - share * members) <= 1


def test_a_seed_gives_one_split_and_another_seed_another():
    first, again, other = (stratified_split(LABELS, (0.7, 0.1, 0.2), seed) for seed in (0, 0, 1))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_classes_do_not_share_their_order():
    """Two classes of one size get different members, or a class's place in the set would decide its part."""
    labels = torch.tensor([0, 1]).repeat(40)
    first, _ = stratified_split(labels, (0.5, 0.5))
    zeros, ones = (first[labels[first] == label] // 2 for label in (0, 1))
    assert not torch.equal(zeros, ones)


@pytest.mark.parametrize("shares", [(0.5, 0.4), (0.7, 0.7), (1.5, -0.5)])
def test_shares_that_do_not_make_a_whole_are_refused(shares):
    with pytest.raises(ValueError, match="must be at least 0 and sum to 1"):
        stratified_split(LABELS, shares)
