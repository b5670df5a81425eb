"""Parts, fingerprints and what the data says about itself."""

import json

import pytest
import torch

from danlu.data import DataSet, Part
from danlu.data.images.info import ImageInfo
from danlu.data.kinds import info_from_json


def data_set(**changes):
    """A small set of which parts can be replaced."""
    parts = {
        name: Part({"image": torch.arange(n * 6, dtype=torch.float32).view(n, 1, 2, 3), "label": torch.arange(n)})
        for name, n in (("train", 4), ("validation", 2), ("test", 3))
    }
    return DataSet("small", ImageInfo((1, 2, 3), 4), **{**parts, **changes})


def changed(part, field, byte):
    """The same part with one bit of one byte flipped."""
    values = part[field].clone()
    values.view(-1).view(torch.uint8)[byte] ^= 1
    return Part({**part.fields, field: values})


@pytest.mark.parametrize("name", ["train", "validation", "test"])
@pytest.mark.parametrize("field", ["image", "label"])
def test_the_fingerprint_changes_with_any_byte(name, field):
    before = data_set()
    part = before.part(name)
    prints = [data_set(**{name: changed(part, field, byte)}).fingerprint() for byte in range(part[field].nbytes)]
    assert len({before.fingerprint(), *prints}) == part[field].nbytes + 1


@pytest.mark.parametrize(
    "other",
    [
        lambda part: Part({**part.fields, "image": part["image"].view(4, 1, 3, 2)}),  # another shape
        lambda part: Part({**part.fields, "label": part["label"].view(torch.float64)}),  # another type
        lambda part: Part({"picture": part["image"], "label": part["label"]}),  # another name
        lambda part: part.take(torch.tensor([1, 0, 2, 3])),  # another order
        lambda part: part.take(torch.tensor([0, 1, 2])),  # fewer
    ],
)
def test_the_fingerprint_changes_with_shape_type_name_order_and_number(other):
    assert data_set(train=other(data_set().train)).fingerprint() != data_set().fingerprint()


def test_the_fingerprint_is_that_of_the_values_and_not_of_their_place_in_memory():
    train = data_set().train
    scattered = Part({**train.fields, "image": train["image"].transpose(2, 3).contiguous().transpose(2, 3)})
    assert not scattered["image"].is_contiguous()
    reordered = Part(dict(reversed(train.fields.items())))
    assert data_set(train=scattered).fingerprint() == data_set().fingerprint()
    assert data_set(train=reordered).fingerprint() == data_set().fingerprint()


@pytest.mark.unchecked
def test_fields_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match=r"the same length, got \{'x': 3, 'y': 2\}"):
        Part({"x": torch.zeros(3), "y": torch.zeros(2)})


def test_take_picks_the_same_examples_of_every_field():
    part = data_set().train.take(torch.tensor([2, 0, 2]))
    assert part["label"].tolist() == [2, 0, 2]
    assert part["image"][:, 0, 0, 0].tolist() == [12, 0, 12]


def test_moving_to_a_dtype_changes_fractions_only():
    part = data_set().train.to("cpu", torch.float64)
    assert (part["image"].dtype, part["label"].dtype) == (torch.float64, torch.int64)


def test_info_survives_json():
    info = ImageInfo((1, 2, 3), 2, ("cat", "dog"), (-1.0, 1.0))
    assert info_from_json(json.loads(json.dumps(info.to_json()))) == info
