"""The stream: every example exactly once an epoch, and a pure function of a position."""

from dataclasses import replace
from itertools import pairwise, product

import pytest
import torch

from danlu.data import Part, Shuffled, in_order, join_streams
from danlu.errors import UsageError


def part_of(n):
    return Part({"x": torch.arange(n) * 10, "y": torch.randn(n, 2, 3)})


def whole(stream, position):
    return stream.batch(position, slice(0, stream.size))


SIZES = [(n, size) for n in (1, 5, 12) for size in (1, 3, 4, 5, 7, 12, "full") if size == "full" or size <= n]


@pytest.mark.parametrize(("n", "batch_size"), SIZES)
def test_every_example_comes_exactly_once_an_epoch(n, batch_size):
    """Also when the batch does not divide the set and when it lies across the end of an epoch."""
    part, epochs = part_of(n), 6
    stream = Shuffled(part, batch_size, seed=3)
    positions = -(-epochs * n // stream.size)
    seen = torch.cat([whole(stream, p).numbers for p in range(positions)])[: epochs * n]
    for epoch in seen.view(epochs, n):
        assert epoch.sort().values.tolist() == list(range(n))
    assert stream.epoch_rounds == n / stream.size


def test_each_permutation_is_drawn_once_and_two_are_kept(monkeypatch):
    """A batch across the end of an epoch needs two; a permutation of a large part takes as long as many batches."""
    drawn, original = [], torch.randperm
    monkeypatch.setattr(torch, "randperm", lambda n, **options: drawn.append(n) or original(n, **options))
    stream = Shuffled(part_of(10), 4)
    for position in range(25):  # ten epochs
        stream.batch(position, slice(0, 2))
        stream.batch(position, slice(2, 4))
        assert len(stream._permutations) <= 2
    assert len(drawn) == 10


def test_the_order_differs_between_epochs_and_seeds():
    part = part_of(50)
    orders = [whole(Shuffled(part, "full", seed), epoch).numbers for seed, epoch in product(range(3), range(3))]
    assert len({tuple(order.tolist()) for order in orders}) == 9


def test_the_order_is_uniform():
    """Each of the 6 orders of three examples comes with probability 1/6: within five standard errors of 6000 draws."""
    stream = Shuffled(part_of(3), "full")
    counts = {}
    for position in range(6000):
        order = tuple(whole(stream, position).numbers.tolist())
        counts[order] = counts.get(order, 0) + 1
    error = (1 / 6 * 5 / 6 / 6000) ** 0.5
    assert len(counts) == 6
    assert all(abs(count / 6000 - 1 / 6) < 5 * error for count in counts.values())


@pytest.mark.parametrize("batch_size", [4, 5, 11])
def test_a_stream_that_starts_anew_at_any_position_is_the_same(batch_size):
    part = part_of(11)
    one = Shuffled(part, batch_size, seed=1)
    going_on = [whole(one, position) for position in range(12)]
    for position in (11, 0, 7, 8, 3):
        anew = whole(Shuffled(part, batch_size, seed=1), position)
        assert torch.equal(anew.numbers, going_on[position].numbers)
        assert torch.equal(whole(one, position).numbers, going_on[position].numbers)  # the old one may also go back


@pytest.mark.parametrize("cuts", [(0, 5), (0, 2, 5), (0, 1, 2, 3, 4, 5)])
def test_slices_of_a_batch_are_its_rows(cuts):
    """At every position of several epochs, so also where a batch, or a slice of it, lies across an end."""
    part = part_of(7)
    for position in range(14):
        stream = Shuffled(part, 5)
        batch = whole(stream, position)
        pieces = [stream.batch(position, slice(a, b)) for a, b in pairwise(cuts)]
        assert torch.equal(torch.cat([piece["y"] for piece in pieces]), batch["y"])
        assert torch.equal(torch.cat([piece.numbers for piece in pieces]), batch.numbers)
        assert [len(piece) for piece in pieces] == [b - a for a, b in pairwise(cuts)]
        assert all(piece.size == 5 for piece in pieces)


def test_fields_belong_to_the_numbers():
    part = part_of(7)
    for position in range(5):
        batch = whole(Shuffled(part, 3), position)
        assert torch.equal(batch["x"], batch.numbers * 10)
        assert torch.equal(batch["y"], part["y"][batch.numbers])
        assert (batch.rows, batch.size, len(batch)) == (slice(0, 3), 3, 3)


def test_full_is_all_examples():
    stream = Shuffled(part_of(9), "full")
    assert (stream.size, stream.epoch_rounds) == (9, 1.0)
    assert whole(stream, 4).numbers.sort().values.tolist() == list(range(9))


@pytest.mark.unchecked
def test_a_batch_larger_than_the_set_is_refused():
    with pytest.raises(UsageError, match="batch_size=8 is larger than the training part of 7 examples; use at most 7"):
        Shuffled(part_of(7), 8)


@pytest.mark.parametrize("batch_size", [1, 2, 7, 100])
def test_in_order_gives_all_examples_once_in_their_own_order(batch_size):
    part = part_of(7)
    batches = list(in_order(part, batch_size))
    assert torch.equal(torch.cat([batch["y"] for batch in batches]), part["y"])
    assert torch.equal(torch.cat([batch.numbers for batch in batches]), torch.arange(7))
    assert all(len(batch) == batch.size == min(batch_size, 7) for batch in batches[:-1])
    assert all(batch.rows == slice(0, batch.size) for batch in batches)


def test_a_batch_can_be_changed_as_other_dataclasses_can():
    batch = whole(Shuffled(part_of(7), 3), 0)
    assert replace(batch, fields={"x": batch["x"] + 1})["x"].tolist() == (batch["x"] + 1).tolist()


@pytest.mark.unchecked
@pytest.mark.parametrize(("n", "batch_size"), [(7, 0), (7, -3), (0, "full")])
def test_an_empty_batch_is_refused(n, batch_size):
    with pytest.raises(
        UsageError, match=rf"batch_size must be at least 1, got -?[03] \({n} training examples\)"
    ) as error:
        Shuffled(part_of(n), batch_size)
    assert error.value.settings == ("batch_size",)


def test_no_streams_cannot_be_joined():
    with pytest.raises(UsageError, match="at least one named stream"):
        join_streams()
