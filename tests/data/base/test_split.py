"""A split is disjoint and complete, shares every class out alike, and gives each part its size."""

from fractions import Fraction
from itertools import combinations_with_replacement, product

import pytest
import torch

from danlu.data import stratified_split
from danlu.data.base.split import check_parts
from danlu.data.base.split_settings import Split
from danlu.errors import UsageError

FRACTIONS = [
    *(("7/10", "1/10", "2/10"), ("1/2", "1/2"), ("1",), ("0", "1"), ("1/3",) * 3, ("1/10",) * 10),
    *(("9/10", "0", "1/10"), ("2/3", "0", "0", "1/3"), ("98/100", "1/100", "1/100")),
]
SIZES = [(1, 2, 9, 10, 57), (3,) * 10, (4,) * 7, (5,) * 10, (1,) * 40, (174, 183, 178), (1000,)]


def labels_of(sizes):
    labels = torch.cat([torch.full((size,), label) for label, size in enumerate(sizes)])
    return labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))]


def split(sizes, fractions, seed=0):
    return stratified_split(labels_of(sizes), tuple(float(Fraction(fraction)) for fraction in fractions), seed)


LABELS = labels_of(SIZES[0])


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("fractions", FRACTIONS)
def test_parts_are_disjoint_complete_and_ascending(sizes, fractions):
    parts = split(sizes, fractions, seed=4)
    assert len(parts) == len(fractions)
    assert torch.cat(parts).sort().values.tolist() == list(range(sum(sizes)))
    for part in parts:
        assert part.tolist() == sorted(part.tolist())


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("fractions", FRACTIONS)
def test_every_class_is_shared_out_within_one_example(sizes, fractions):
    """Against exact fractions; a share of nothing is nothing."""
    labels = labels_of(sizes)
    for part, fraction in zip(split(sizes, fractions), fractions, strict=True):
        for label, size in enumerate(sizes):
            found = int(labels[part].eq(label).sum())
            assert abs(found - Fraction(fraction) * size) <= 1
            assert found == 0 or Fraction(fraction) > 0


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("fractions", FRACTIONS)
def test_the_sizes_of_the_parts_are_their_fractions_by_largest_remainders(sizes, fractions):
    """Rounded down or up, and up where most would be cut off."""
    exact = [Fraction(fraction) * sum(sizes) for fraction in fractions]
    found = [len(part) for part in split(sizes, fractions)]
    assert sum(found) == sum(sizes)
    assert all(size in (fraction // 1, -(-fraction // 1)) for size, fraction in zip(found, exact, strict=True))
    down = [fraction % 1 for size, fraction in zip(found, exact, strict=True) if size <= fraction]
    up = [fraction % 1 for size, fraction in zip(found, exact, strict=True) if size > fraction]
    assert max(down, default=0) <= min(up, default=1)


def test_many_small_classes_do_not_each_round_a_part_to_nothing():
    """A tenth of three is 0.3, and ten times 0.3 is 3."""
    train, validation, test = split((3,) * 10, FRACTIONS[0])
    assert (len(train), len(validation), len(test)) == (21, 3, 6)
    assert labels_of((3,) * 10)[validation].bincount().max() == 1


def tables(sizes, fractions, totals):
    """All tables of counts with these sums in which every entry is an exact share, rounded down or up."""
    exact = [[Fraction(fraction) * size for fraction in fractions] for size in sizes]
    rows = [
        [row for row in product(*({part // 1, -(-part // 1)} for part in parts)) if sum(row) == size]
        for size, parts in zip(sizes, exact, strict=True)
    ]
    return [table for table in product(*rows) if [sum(column) for column in zip(*table, strict=True)] == totals]


@pytest.mark.parametrize("tenths", [(7, 1, 2), (7, 2, 1), (8, 1, 1), (5, 1, 4), (9, 0, 1)])
def test_every_class_is_in_the_first_part_if_a_split_of_these_sizes_has_it(tenths):
    """All class counts up to 7 of up to three classes, against all tables that keep the rules."""
    fractions, searched = [f"{tenth}/10" for tenth in tenths], 0
    for sizes in (sizes for k in (1, 2, 3) for sizes in combinations_with_replacement(range(1, 8), k)):
        labels, parts = labels_of(sizes), split(sizes, fractions)
        found = tuple(tuple(int(labels[part].eq(label).sum()) for part in parts) for label in range(len(sizes)))
        possible = tables(sizes, fractions, [len(part) for part in parts])
        assert found in possible or not possible, (sizes, found)
        if any(all(row[0] for row in table) for table in possible):
            assert all(row[0] for row in found), (sizes, found)
            searched += len(possible) > 1
    assert searched


@pytest.mark.parametrize("sizes", [(150, 149, 1), (1, 150, 149), (149, 1, 1, 149)])
def test_a_class_of_one_example_is_in_the_first_part(sizes):
    labels, parts = labels_of(sizes), split(sizes, FRACTIONS[0])
    assert [len(part) for part in parts] == [sum(sizes) * fraction // 10 for fraction in (7, 1, 2)]
    assert labels[parts[0]].bincount(minlength=len(sizes)).min() >= 1


def test_sizes_and_fractions_at_random():
    """Three parts and any sizes: the sums come out, and no class is further than one from its share."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        sizes = torch.randint(1, 12, (int(torch.randint(1, 12, (), generator=generator)),), generator=generator)
        weights = torch.randint(0, 8, (3,), generator=generator) + torch.tensor([1, 0, 0])
        exact = sizes[:, None].double() * weights / weights.sum()
        parts = stratified_split(labels_of(sizes.tolist()), tuple((weights.double() / weights.sum()).tolist()))
        counts = torch.stack([labels_of(sizes.tolist())[part].bincount(minlength=len(sizes)) for part in parts], dim=1)
        assert counts.sum(1).equal(sizes)
        assert (counts - exact).abs().max() <= 1 + 1e-9
        assert (counts.sum(0) - exact.sum(0)).abs().max() < 1


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


@pytest.mark.unchecked
@pytest.mark.parametrize("fractions", [(0.5, 0.4), (0.7, 0.7), (1.5, -0.5)])
def test_fractions_that_do_not_make_a_whole_are_refused(fractions):
    with pytest.raises(ValueError, match="must be at least 0 and sum to 1"):
        stratified_split(LABELS, fractions)


def test_a_part_with_a_fraction_may_not_be_empty():
    check_parts("it", (3, 0, 1), (0.9, 0.0, 0.1))
    with pytest.raises(
        UsageError, match=r"it: the test part would be empty \(a fraction of 0.1 of 4 examples\); add .*"
    ):
        check_parts("it", (4, 0, 0), (0.9, 0.0, 0.1))
    with pytest.raises(UsageError, match=r"the train part would be empty .* split.validation and split.test$"):
        check_parts("it", (0, 0, 1), (0.1, 0.0, 0.9))


@pytest.mark.unchecked
def test_a_copy_with_an_unknown_setting_is_refused():
    """A copy in pydantic would accept it without a word."""
    assert Split().model_copy(update={"test": 0.5}).test == 0.5
    with pytest.raises(TypeError, match="Split has no setting 'tset'"):
        Split().model_copy(update={"tset": 0.5})


@pytest.mark.unchecked
@pytest.mark.parametrize(("validation", "test"), [(0.5, 0.5), (0.9, 0.2)])
def test_a_split_without_training_examples_is_refused(validation, test):
    with pytest.raises(ValueError, match=rf"validation \+ test must be less than 1, got {validation + test:g}"):
        Split(validation=validation, test=test)
