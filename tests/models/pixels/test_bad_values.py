"""Values that a pixel model refuses, and wrong sizes of its network, each named as its user named them."""

import math

import pytest
import torch

from danlu.models import GatedPixelCNN, PixelCNN

every_model = pytest.mark.parametrize("cls", [PixelCNN, GatedPixelCNN])
every_output = pytest.mark.parametrize(
    ("output", "levels"), [("binary", 2), ("categorical", 5), ("logistic", 9), ("affine", 5)]
)
with_classes = pytest.mark.parametrize("classes", [0, 2])
NOT_FINITE = r"example 1 of 3, counted from 0, has a value that is NaN or infinite; all values must be finite"


def model_of(cls, output="categorical", levels=5, classes=0, **changes):
    torch.manual_seed(0)
    values = {"layers": 2, "channels": 4, "first_kernel": 3, **changes}
    return cls((1, 3, 4), classes, levels, output=output, **values)


def images(value, model):
    """Three images on the lowest level, and in the second one a value."""
    x = torch.full((3, *model.shape), model.output.scale.low)
    x[1, 0, 1, 2] = value
    return x


@every_model
@every_output
@with_classes
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_are_refused_with_their_image(cls, output, levels, classes, value):
    model = model_of(cls, output, levels, classes)
    x, upper, lower = images(value, model), torch.ones(1, 1, 3, 4), torch.ones(1, 1, 3, 4)
    upper[:, :, 1:], lower[:, :, 2:] = 0, 0  # the value is in the second row: missing, and given
    labels = torch.zeros(3, dtype=torch.long) if classes else None
    for call in (model.log_prob, model.energy, lambda x: model(x, labels), lambda x: model.inpaint(x, lower)):
        with pytest.raises(ValueError, match=NOT_FINITE):
            call(x)
    assert model.inpaint(x, upper).isfinite().all()


@every_model
@every_output
@pytest.mark.parametrize("range", [(0.0, 1.0), (-1.0, 3.0), (2.0, 5.0)])
def test_values_far_from_every_level_are_refused_with_the_range(cls, output, levels, range):
    """More than half the spacing outside of the range; a density is defined there."""
    model = model_of(cls, output, levels, range=range).eval()
    low, high = range
    gap, mask = (high - low) / (levels - 1), torch.ones(1, 1, 3, 4)
    mask[..., 2, :] = 0
    for value in (low - 0.6 * gap, high + 0.6 * gap, 255.0):
        found = rf"images have values from .* to .*; this model needs values from {low:g} to {high:g}: scale them"
        for verb in ("log_prob", "inpaint"):
            arguments = (images(value, model),) if verb == "log_prob" else (images(value, model), mask)
            if output == "affine" and verb == "log_prob":
                assert model.log_prob(*arguments).isfinite().all()
                continue
            with pytest.raises(ValueError, match=found):
                getattr(model, verb)(*arguments)
    for value, level in ((low - 0.4 * gap, low), (high + 0.4 * gap, high)):
        if output != "affine":
            torch.testing.assert_close(model.log_prob(images(value, model)), model.log_prob(images(level, model)))
        assert model.inpaint(images(value, model), mask).isfinite().all()


@pytest.mark.unchecked
@every_model
@pytest.mark.parametrize("name", ["kernel", "first_kernel", "layers", "channels"])
@pytest.mark.parametrize("value", [0, -1, 4, 2.5])
def test_a_wrong_size_is_named(cls, name, value):
    if value == 4 and not name.endswith("kernel"):
        return
    rule = "must be an odd number of at least" if name.endswith("kernel") else "must be an integer >= 1"
    with pytest.raises(ValueError, match=rf"^{name}={value} {rule}"):
        model_of(cls, **{name: value})


@every_model
def test_channels_for_each_color(cls):
    with pytest.raises(ValueError, match=r"^channels=2 must be at least 3, one for each color"):
        cls((3, 4, 4), layers=2, channels=2)
    assert cls((3, 4, 4), layers=2, channels=3).log_prob(torch.zeros(1, 3, 4, 4)).shape == (1,)


@every_model
@pytest.mark.parametrize("range", [(1.0, 0.0), (0.5, 0.5)])
def test_an_empty_range_is_named(cls, range):
    with pytest.raises(ValueError, match=r"^range=.* must be two numbers, the lower one first"):
        model_of(cls, range=range)
