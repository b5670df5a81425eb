"""Lanes and windows: every token once, in any number of slices, and a state can be carried from batch to batch."""

import pytest
import torch

from danlu.data import Lanes, Part, Stream, Windows, lanes_in_order, windows_in_order
from danlu.errors import UsageError


def numbered(count, dtype=torch.int16):
    return Part({"token": torch.arange(count, dtype=dtype)})


def whole(stream, position):
    return stream.batch(position, slice(0, stream.size))


@pytest.mark.parametrize(("count", "lanes", "length"), [(13, 2, 3), (100, 3, 4), (1000, 7, 10), (29, 4, 7), (8, 1, 7)])
def test_lanes_are_contiguous_stretches_that_share_nothing(count, lanes, length):
    stream = Lanes(numbered(count), lanes, length, seed=3)
    assert isinstance(stream, Stream)
    steps = (count - 1) // (lanes * length)
    assert stream.epoch_rounds == steps
    begins = set()
    for epoch in range(30):
        batches = [whole(stream, epoch * steps + step) for step in range(steps)]
        tokens = torch.cat([batch["token"] for batch in batches], 1)
        assert tokens.dtype == torch.long
        assert tokens.shape == (lanes, steps * length)
        assert torch.equal(tokens.flatten(), torch.arange(tokens.numel()) + tokens[0, 0])
        assert torch.equal(torch.cat([batch["target"] for batch in batches], 1), tokens + 1)
        assert torch.equal(torch.stack([batch.numbers for batch in batches], 1), tokens[:, ::length])
        assert [bool(batch["fresh"].all()) for batch in batches] == [step == 0 for step in range(steps)]
        assert not any(batch["fresh"].any() for batch in batches[1:])
        begins.add(int(tokens[0, 0]))
    left_out = count - 1 - steps * lanes * length
    assert begins <= set(range(left_out + 1))
    assert len(begins) > min(left_out, 8)  # so that none is always left out


@pytest.mark.parametrize("kind", [Lanes, Windows])
def test_rows_of_any_position_are_those_of_the_whole_batch(kind):
    part = numbered(500)
    for position in (0, 1, 5, 17, 40, 3):
        batch = whole(kind(part, 6, 7, seed=1), position)
        assert torch.equal(whole(kind(part, 6, 7, seed=1), position)["token"], batch["token"])
        stream = kind(part, 6, 7, seed=1)
        for rows in (slice(0, 2), slice(2, 3), slice(3, 6)):
            some = stream.batch(position, rows)
            assert (some.rows, some.size, len(some)) == (rows, 6, rows.stop - rows.start)
            for name in ("token", "target", "fresh"):
                assert torch.equal(some[name], batch[name][rows])
            assert torch.equal(some.numbers, batch.numbers[rows])


def test_another_seed_begins_elsewhere():
    begins = {tuple(Lanes(numbered(1000), 10, 30, seed).numbers(0, slice(0, 2)).tolist()) for seed in range(20)}
    assert len(begins) > 5
    orders = {tuple(Windows(numbered(1000), 10, 30, seed).numbers(0, slice(0, 10)).tolist()) for seed in range(20)}
    assert len(orders) == 20


@pytest.mark.parametrize(("count", "size", "length"), [(100, 4, 5), (1000, 7, 10), (41, 5, 8), (27, 2, 3)])
def test_every_window_comes_once_an_epoch_and_none_overlaps(count, size, length):
    stream = Windows(numbered(count), size, length, seed=2)
    assert isinstance(stream, Stream)
    windows = round(stream.epoch_rounds * size)
    batches = [whole(stream, position) for position in range(5 * windows)]  # of each epoch size · windows in all
    tokens = torch.cat([batch["token"] for batch in batches])
    assert torch.equal(torch.cat([batch["target"] for batch in batches]), tokens + 1)
    assert all(batch["fresh"].all() for batch in batches)
    begins = set()
    for epoch in range(5 * size):
        seen = tokens[epoch * windows : (epoch + 1) * windows].flatten().sort().values
        assert torch.equal(seen, torch.arange(len(seen)) + seen[0])
        begins.add(int(seen[0]))
        assert 0 <= seen[0] < length
        assert count - 1 - len(seen) < 2 * length
    assert len(begins) > 1 or count - 1 == windows * length


def test_windows_are_shuffled():
    stream = Windows(numbered(1001), 20, 10)
    order = whole(stream, 0).numbers
    assert not torch.equal(order, order.sort().values)
    later = torch.cat([whole(stream, p).numbers for p in range(stream.windows // 20, 2 * stream.windows // 20)])
    assert not torch.equal(later[:20] - later.min(), order - order.min())


def test_each_epoch_and_seed_has_an_order_of_its_own():
    """As ranks of the windows: offsets, which differ too, do not count. Two of 50! orders are not equal by chance."""
    orders = []
    for seed in (0, 1, 2):
        stream = Windows(numbered(511), 10, 10, seed=seed)
        batches = stream.windows // 10
        for epoch in range(3):
            starts = [whole(stream, epoch * batches + p).numbers[:10] for p in range(batches)]
            orders.append(tuple(torch.cat(starts).argsort().tolist()))
    assert stream.windows % 10 == 0, "a batch would hold the end of an epoch"
    assert len(set(orders)) == 9


@pytest.mark.parametrize("count", [2, 3, 7, 12, 50, 101])
@pytest.mark.parametrize(("lanes", "length"), [(1, 3), (2, 3), (4, 5), (8, 100)])
def test_in_order_every_token_but_the_first_is_predicted_once(count, lanes, length):
    part = numbered(count)
    for batches in (lanes_in_order(part, lanes, length), windows_in_order(part, lanes, length)):
        batches = list(batches)
        targets = torch.cat([batch["target"].flatten() for batch in batches])
        assert torch.equal(targets.sort().values, torch.arange(1, count))
        for batch in batches:
            assert torch.equal(batch["target"], batch["token"] + 1)
            assert batch["token"].shape[1] <= length
            assert len(batch["token"]) == len(batch) == len(batch["fresh"]) == len(batch.numbers)


@pytest.mark.parametrize(("count", "lanes", "length"), [(50, 4, 5), (33, 3, 100), (12, 5, 1), (3, 8, 2)])
def test_in_order_each_row_goes_on_where_it_ended(count, lanes, length):
    ends = {}
    for batch in lanes_in_order(numbered(count), lanes, length):
        for row, (tokens, fresh) in enumerate(zip(batch["token"], batch["fresh"], strict=True), start=batch.rows.start):
            assert bool(fresh) == (row not in ends)
            assert int(tokens[0]) == ends.get(row, int(tokens[0]))
            ends[row] = int(tokens[-1]) + 1


def test_a_text_without_a_second_token_has_nothing_to_predict():
    for count in (0, 1):
        assert list(lanes_in_order(numbered(count), 2, 3)) == list(windows_in_order(numbered(count), 2, 3)) == []


@pytest.mark.unchecked
@pytest.mark.parametrize("kind", [Lanes, Windows])
@pytest.mark.parametrize(
    ("count", "rows", "length", "said"),
    [
        (10, 4, 3, r"4 \w+ of 3 tokens need a text of at least 13 tokens; the training part has 10; use at most 3"),
        (3, 1, 3, r"need a text of at least 4 tokens; the training part has 3; use fewer tokens in each, or more text"),
        (0, 1, 1, "training part has 0"),
        (9, 0, 3, "both numbers must be at least 1"),
        (9, 3, 0, "both numbers must be at least 1"),
    ],
)
def test_a_text_that_is_too_short_is_refused(kind, count, rows, length, said):
    with pytest.raises(UsageError, match=said):
        kind(numbered(count), rows, length)


@pytest.mark.parametrize("kind", [Lanes, Windows])
def test_the_shortest_text_is_enough(kind):
    batch = whole(kind(numbered(13), 4, 3), 0)
    assert torch.equal(batch["target"].flatten().sort().values, torch.arange(1, 13))
