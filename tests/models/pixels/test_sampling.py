"""Sampling and inpainting: cached and naive results are equal, given pixels stay, and completion is exact."""

import pytest
import torch

from danlu.data.images.info import ImageInfo
from danlu.models import GatedPixelCNN, PixelCNN, load_model, save_model

DOUBLE = torch.float64
every_model = pytest.mark.parametrize("cls", [PixelCNN, GatedPixelCNN])
every_output = pytest.mark.parametrize(
    ("output", "levels"), [("binary", 2), ("categorical", 5), ("logistic", 9), ("affine", 5)]
)
every_size = pytest.mark.parametrize("colors", [1, 3])
with_classes = pytest.mark.parametrize("classes", [0, 3])


def model_of(cls, colors=1, classes=0, levels=5, output="auto", size=(6, 5), **changes):
    torch.manual_seed(0)
    values = {"layers": 3, "channels": 7, "first_kernel": 5, **changes}
    model = cls((colors, *size), classes, levels, output=output, **values).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model


def source(seed=1):
    return torch.Generator().manual_seed(seed)


@torch.no_grad()
@every_model
@every_output
@every_size
@with_classes
def test_cached_outputs_are_those_of_whole_images(cls, output, levels, colors, classes):
    """Within 1e-12 at every pixel and color; one row is given as a whole."""
    model = model_of(cls, colors, classes, levels, output)
    y = torch.randn(3, *model.shape, dtype=DOUBLE)
    weights = torch.eye(3, dtype=DOUBLE) if classes else None
    expected = model.compute_outputs(y, weights)
    cached = model.cached_conditionals(3, weights)
    for row in range(6):
        cached.start_row(row)
        if row == 2:
            cached.write_row(y[:, :, row])
            continue
        for column in range(5):
            for group in range(model.output.groups):
                got = cached.outputs(column, group)
                torch.testing.assert_close(got, expected[:, group, :, row, column], rtol=0, atol=1e-12)
                for color in (group,) if model.output.groups > 1 else range(colors):
                    cached.write(column, color, y[:, color, row, column])


@every_model
@every_output
@every_size
@pytest.mark.parametrize(
    ("classes", "temperature"),
    [
        (0, 1.0),
        (3, 0.6),
        pytest.param(0, 0.6, marks=pytest.mark.long),
        pytest.param(3, 1.0, marks=pytest.mark.long),
    ],
)
def test_cached_samples_are_the_naive_ones(cls, output, levels, colors, classes, temperature):
    model = model_of(cls, colors, classes, levels, output)
    fast, slow = (
        model.sample(4, generator=source(), temperature=temperature, cached=cached) for cached in (True, False)
    )
    assert torch.equal(fast, slow)
    assert fast.std() > 0.05


@every_model
@every_output
@every_size
def test_inpainting_keeps_given_values_and_is_the_same_cached_or_not(cls, output, levels, colors):
    model = model_of(cls, colors, 0, levels, output)
    x = torch.rand(4, *model.shape, dtype=DOUBLE)  # between the levels, which must stay as they are
    mask = torch.ones(4, colors, 6, 5)
    mask[0, :, 3:], mask[1, :, 2, 1:4], mask[2, -1, 4, :3], mask[3, 0, :, 2] = 0, 0, 0, 0
    fast, slow = (model.inpaint(x, mask, generator=source(), cached=cached) for cached in (True, False))
    assert torch.equal(fast, slow)
    assert torch.equal(fast[mask > 0], x[mask > 0])
    steps = fast[mask == 0] * (levels - 1)
    torch.testing.assert_close(steps, steps.round())


@every_model
def test_inpainting_does_not_look_at_missing_values(cls):
    model, x = model_of(cls), torch.rand(2, 1, 6, 5, dtype=DOUBLE)
    mask = torch.ones(1, 1, 6, 5)
    mask[..., 2:, 1:] = 0
    hidden = torch.where(mask > 0, x, torch.nan)
    assert torch.equal(model.inpaint(x, mask, generator=source()), model.inpaint(hidden, mask, generator=source()))


@torch.no_grad()
@every_model
@pytest.mark.parametrize("classes", [0, 2])
def test_completion_follows_the_conditional_probabilities(cls, classes):
    """Of all completions of one image, also where the class must be drawn given the upper part."""
    model = model_of(cls, 1, classes, 3, size=(2, 2), channels=5)
    n, x = 20_000, torch.tensor([[0.0, 1.0], [0.5, 0.0]], dtype=DOUBLE)
    mask = torch.tensor([[1, 1], [0, 0]])
    filled = model.inpaint(x.expand(n, 1, 2, 2), mask, generator=source(4))
    pairs = torch.cartesian_prod(*[torch.arange(3)] * 2)
    every = torch.cat([x[0].expand(9, 2), pairs / 2], 1).view(9, 1, 2, 2).double()
    expected = model.log_prob(every).softmax(0)
    steps = (filled[:, 0, 1] * 2).round().long()
    counts = torch.bincount(steps[:, 0] * 3 + steps[:, 1], minlength=9).double()
    error = (expected * (1 - expected) / n).sqrt()
    assert ((counts / n - expected).abs() < 4 * error + 1e-9).all()


@every_model
def test_a_later_given_pixel_has_no_influence_on_an_earlier_missing_one(cls):
    model, mask = model_of(cls), torch.ones(1, 1, 6, 5)
    mask[..., 1, 2] = 0
    a, b = torch.zeros(3, 1, 6, 5, dtype=DOUBLE), torch.zeros(3, 1, 6, 5, dtype=DOUBLE)
    b[:, :, 2:] = 1
    filled = [model.inpaint(x, mask, generator=source())[:, 0, 1, 2] for x in (a, b)]
    assert torch.equal(*filled)


@every_model
def test_samples_are_a_function_of_the_generator(cls):
    model = model_of(cls, classes=3)
    a, b = (model.sample(3, generator=source(7)) for _ in range(2))
    assert torch.equal(a, b)
    assert not torch.equal(a, model.sample(3, generator=source(8)))
    assert torch.equal(a, model.sample(3, labels=torch.arange(3), generator=source(7)))  # the classes in turn
    assert model.sample(0).shape == (0, 1, 6, 5)


@every_model
@every_output
def test_samples_are_on_the_levels_of_the_data(cls, output, levels):
    model = model_of(cls, levels=levels, output=output, range=(-2.0, 6.0))
    steps = (model.sample(20, generator=source()) + 2) / 8 * (levels - 1)
    torch.testing.assert_close(steps, steps.round(), atol=1e-9, rtol=0)
    assert steps.min() >= 0
    assert steps.max() <= levels - 1


@every_model
@every_output
def test_a_saved_model_is_the_same(cls, output, levels, tmp_path):
    model = model_of(cls, 3, 2, levels, output).float().eval()
    save_model(model, tmp_path, ImageInfo((3, 6, 5), classes=2, class_names=("a", "b"), levels=levels))
    back, x = load_model(tmp_path), torch.rand(2, 3, 6, 5)
    assert torch.equal(back.log_prob(x), model.log_prob(x))
    assert back.capabilities == model.capabilities
    assert ("density" in back.capabilities) == (output == "affine")


@every_model
def test_wrong_inputs_are_refused_in_one_line(cls):
    model, conditional = model_of(cls), model_of(cls, classes=3)
    x = torch.rand(2, 1, 6, 5, dtype=DOUBLE)
    with pytest.raises(ValueError, match=r"images of shape \(2, 3, 6, 5\); this model needs \(n, 1, 6, 5\)"):
        model.log_prob(x.expand(2, 3, 6, 5))
    with pytest.raises(ValueError, match="this one has no classes"):
        model.log_prob(x, torch.zeros(2, dtype=torch.long))
    with pytest.raises(ValueError, match="needs labels"):
        conditional(x)
    with pytest.raises(ValueError, match="labels from 0 to 3 must be from 0 to 2"):
        conditional.log_prob(x, torch.tensor([0, 3]))
    with pytest.raises(ValueError, match=r"temperature=0\.0 must be a finite number greater than 0"):
        model.sample(2, temperature=0.0)
    with pytest.raises(ValueError, match="only a model with output affine"):
        model.standardize(x)
