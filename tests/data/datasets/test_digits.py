"""The digits are scikit-learn's, and no example is in two parts."""

from collections import Counter

import pytest
import torch
from sklearn.datasets import load_digits

from danlu.data import Split, digits
from danlu.data.datasets import digits as digits_module
from danlu.errors import UsageError


@pytest.fixture(scope="module")
def data():
    return digits()


def numbers_of(part, raw):
    """For each example the numbers of the raw examples with these pixels and this label (images may occur twice)."""
    known = {}
    for number, (image, label) in enumerate(zip(raw.images, raw.target, strict=True)):
        known.setdefault((tuple(image.flatten()), label), []).append(number)
    pixels = (part["image"] * 16).flatten(1).tolist()
    return [known[tuple(image), label] for image, label in zip(pixels, part["label"].tolist(), strict=True)]


def test_the_values_are_sklearns_and_no_example_is_in_two_parts(data):
    """Every (image, label) comes as often in the three parts together as in the raw data, duplicates included."""
    raw = load_digits()
    found = Counter(tuple(n) for part in (data.train, data.validation, data.test) for n in numbers_of(part, raw))
    assert found == {numbers: len(numbers) for numbers in found}
    assert sorted(number for numbers in found for number in numbers) == list(range(1797))


def test_counts_shapes_and_range(data):
    assert [len(data.part(name)) for name in ("train", "validation", "test")] == [1258, 180, 359]
    for part in (data.train, data.validation, data.test):
        assert part["image"].shape[1:] == data.info.shape == (1, 8, 8)
        assert (part["image"].dtype, part["label"].dtype) == (torch.float32, torch.int64)
        assert part["image"].min() >= data.info.range[0]
        assert part["image"].max() <= data.info.range[1]
    assert torch.cat([data.part(name)["image"] for name in ("train", "test")]).aminmax() == (0.0, 1.0)


def test_every_class_is_in_every_part_with_its_fraction(data):
    everything = torch.from_numpy(load_digits().target).bincount()
    for name, fraction in (("train", 0.7), ("validation", 0.1), ("test", 0.2)):
        assert ((data.part(name)["label"].bincount(minlength=10) - fraction * everything).abs() <= 1).all()
    assert (data.info.classes, data.info.class_names) == (10, tuple("0123456789"))


def test_the_split_depends_on_its_seed_alone(data):
    torch.manual_seed(123)
    assert digits().fingerprint() == data.fingerprint()
    assert digits(split=Split(seed=1)).fingerprint() != data.fingerprint()


def test_a_seed_that_nothing_is_split_by_is_refused():
    with pytest.raises(UsageError, match=r"split.seed has no effect: no part is split off at random; leave it out"):
        digits(split=Split(seed=7, validation=0, test=0))


def test_where_the_file_lies_elsewhere_sklearn_is_asked(monkeypatch):
    images, labels = digits_module._read()
    monkeypatch.setattr(digits_module, "find_spec", lambda name: None)
    there, known = digits_module._read()
    assert (images == there).all()
    assert (labels == known).all()
