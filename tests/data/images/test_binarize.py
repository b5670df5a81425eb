"""Black and white pictures: a function of seed, epoch and number alone, right in the mean, and the same when scored."""

import pytest
import torch

from danlu.data import Binarized, Part, Shuffled, TrainingData
from danlu.data.images.binarize import binary, binary_part
from danlu.errors import UsageError

N = 7


def part_of(n=N, shape=(1, 5, 4)):
    gray = torch.rand(n, *shape, generator=torch.Generator().manual_seed(n))
    return Part({"image": gray, "label": torch.arange(n) % 3})


def seen(batch_size, epochs=3, seed=0):
    """Every picture of every epoch, by (epoch, number)."""
    stream, found, times = Binarized(Shuffled(part_of(), batch_size, seed), seed), {}, {}
    for position in range(-(-epochs * N // batch_size)):
        batch = stream.batch(position, slice(0, batch_size))
        for row, number in enumerate(batch.numbers.tolist()):
            epoch = times[number] = times.get(number, -1) + 1
            found[epoch, number] = batch["image"][row]
    return {place: image for place, image in found.items() if place[0] < epochs}


@pytest.mark.parametrize("batch_size", [1, 3, 7])
def test_an_example_is_drawn_alike_in_batches_of_every_size(batch_size):
    expected, found = seen(5), seen(batch_size)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[place], image) for place, image in expected.items())


def test_rows_of_a_batch_are_the_batchs_rows_also_where_an_epoch_ends_in_it():
    stream = Binarized(Shuffled(part_of(), 5), 0)
    for position in range(6):
        whole = stream.batch(position, slice(0, 5))
        pieces = [stream.batch(position, rows)["image"] for rows in (slice(0, 1), slice(1, 4), slice(4, 5))]
        assert torch.equal(torch.cat(pieces), whole["image"])


def test_a_position_asked_for_alone_is_the_same_as_in_a_run_that_goes_on():
    going_on = [Binarized(Shuffled(part_of(), 5), 3).batch(p, slice(0, 5))["image"] for p in range(8)]
    for position in (7, 2):
        fresh = Binarized(Shuffled(part_of(), 5), 3)
        assert torch.equal(fresh.batch(position, slice(0, 5))["image"], going_on[position])


def test_every_epoch_number_and_seed_draws_anew():
    gray = torch.full((2, 1000), 0.5)
    draws = [
        binary(gray, torch.tensor([1, 2]), 0, seed=0)[0],
        binary(gray, torch.tensor([1, 2]), 0, seed=0)[1],
        binary(gray, torch.tensor([1, 2]), 1, seed=0)[0],
        binary(gray, torch.tensor([1, 2]), 0, seed=1)[0],
    ]
    for first in range(4):
        for second in range(first):
            alike = (draws[first] == draws[second]).float().mean()
            assert abs(alike - 0.5) < 5 * 0.5 / 1000**0.5


def test_the_mean_over_epochs_is_the_pixel():
    """Each of the pixels within five standard errors of its value, which is exact for black and white."""
    gray = torch.cat([torch.tensor([[0.0, 1.0]]), torch.rand(1, 98, generator=torch.Generator().manual_seed(0))], dim=1)
    epochs = 4000
    many = binary(gray.expand(epochs, 100), torch.full((epochs,), 3), torch.arange(epochs), seed=0)
    assert set(many.unique().tolist()) == {0.0, 1.0}
    error = (gray * (1 - gray) / epochs).sqrt()[0]
    assert ((many.mean(0) - gray[0]).abs() <= 5 * error).all()
    assert many[:, 0].sum() == 0
    assert many[:, 1].sum() == epochs


@pytest.mark.parametrize("how", ["threshold", "static"])
def test_a_part_stays_as_it_was_drawn(how):
    part = part_of(50)
    once, again = (binary_part(part, how, seed=2).rows(slice(0, 50))["image"] for _ in range(2))
    assert torch.equal(once, again)
    assert set(once.unique().tolist()) == {0.0, 1.0}
    if how == "threshold":
        assert torch.equal(once, (part["image"] >= 0.5).float())
    else:
        assert not torch.equal(once, binary_part(part, how, seed=3).rows(slice(0, 50))["image"])
    assert torch.equal(binary_part(part, how, seed=2)["label"], part["label"])


def test_a_part_of_many_pictures_is_drawn_as_in_one_go(monkeypatch):
    whole = binary_part(part_of(50), "static", 0)["image"]
    monkeypatch.setattr("danlu.data.images.binarize._ROWS", 7)
    assert torch.equal(binary_part(part_of(50), "static", 0)["image"], whole)


@pytest.mark.parametrize("how", ["threshold", "static", "dynamic"])
def test_evaluation_parts_are_black_and_white_for_good(how):
    first, second = TrainingData(binarize=how).load(), TrainingData(binarize=how).load()
    for name in ("validation", "test"):
        images = [data.part(name).rows(slice(0, 20))["image"] for data in (first, second)]
        assert torch.equal(*images)
        assert set(images[0].unique().tolist()) == {0.0, 1.0}
    assert (first.train.rows(slice(0, 20))["image"].unique().numel() == 2) == (how != "dynamic")


def test_training_pictures_change_by_epoch_only_where_they_are_dynamic():
    for how, differs in (("dynamic", True), ("static", False), ("threshold", False)):
        examples = TrainingData(binarize=how)
        part = examples.load().train.take(torch.arange(9))
        stream = examples.transform(Shuffled(part, "full"), seed=0)
        epochs = []
        for position in range(2):
            batch = stream.batch(position, slice(0, 9))
            epochs.append(batch["image"][batch.numbers.argsort()])
        assert torch.equal(*epochs) != differs
        assert set(epochs[0].unique().tolist()) == {0.0, 1.0}


def test_the_fingerprint_of_what_is_drawn_differs():
    marks = {how: TrainingData(binarize=how).load().fingerprint() for how in ("none", "threshold", "static")}
    assert len(set(marks.values())) == 3


@pytest.mark.unchecked
def test_tables_are_refused():
    with pytest.raises(
        UsageError, match="binarize applies to images, and the examples have the fields x, label; leave it out"
    ):
        Binarized(Shuffled(Part({"x": torch.zeros(4, 2), "label": torch.zeros(4)}), 2))
    with pytest.raises(UsageError, match="binarize has no effect on moons: it applies to images; leave it out"):
        TrainingData(data="moons", binarize="static").load()
    with pytest.raises(UsageError, match="binarize has no effect on moons: it applies to images; leave it out"):
        TrainingData(data="moons", binarize="dynamic").load()


def test_none_changes_nothing():
    part = part_of()
    assert binary_part(part, "none", 0) is part
    assert torch.equal(TrainingData().load().test["image"], TrainingData(binarize="none").load().test["image"])
