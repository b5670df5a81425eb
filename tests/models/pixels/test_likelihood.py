"""The likelihood of images: in batches of limited memory, and with autocast in float32."""

import pytest
import torch

from danlu.models import GatedPixelCNN, PixelCNN
from danlu.models.pixels import likelihood

every_model = pytest.mark.parametrize("cls", [PixelCNN, GatedPixelCNN])
every_output = pytest.mark.parametrize(
    ("output", "levels"), [("binary", 2), ("categorical", 256), ("logistic", 256), ("affine", 256)]
)


def model_of(cls, output, levels, classes=0, colors=1):
    torch.manual_seed(0)
    model = cls((colors, 5, 4), classes, levels, output=output, layers=2, channels=6, first_kernel=3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def images(model, n=7):
    levels = model.output.scale.levels
    source = torch.Generator().manual_seed(1)
    return torch.randint(levels, (n, *model.shape), generator=source).double() / (levels - 1)


@every_model
@every_output
@pytest.mark.parametrize("classes", [0, 3])
def test_batches_of_limited_memory_give_the_same(cls, output, levels, classes, monkeypatch):
    """With gradients there is one batch; without them no more outputs at a time than allowed, and at least an image."""
    model = model_of(cls, output, levels, classes).double()
    x, sizes = images(model), []
    network = model.compute_outputs
    monkeypatch.setattr(model, "compute_outputs", lambda y, w: (sizes.append(len(y)), network(y, w))[1])
    each = model.output.groups * model.output.units * 20
    given = [None] if not classes else [None, torch.arange(7) % 3]
    for labels in given:
        passes = classes if classes and labels is None else 1
        sizes.clear()
        expected = model.log_prob(x, labels)
        assert sizes == [7] * passes
        for allowed, parts in ((3 * each, [3, 3, 1]), (1, [1] * 7), (10**6 * each, [7])):
            monkeypatch.setattr(likelihood, "OUTPUTS", allowed)
            sizes.clear()
            with torch.no_grad():
                torch.testing.assert_close(model.log_prob(x, labels), expected, rtol=0, atol=1e-10)
            assert sizes == parts * passes
    with torch.no_grad():
        assert model.log_prob(x[:0]).shape == (0,)


def test_the_outputs_of_a_batch_of_color_images_are_limited():
    """256 levels of 32×32 pixels in three colors: 500 images would have 393 million outputs."""
    output = PixelCNN((3, 32, 32), layers=1, channels=3).output
    assert likelihood.OUTPUTS // (output.groups * output.units * 32 * 32) in range(10, 100)


@every_model
@every_output
@pytest.mark.parametrize("colors", [1, 3])
@pytest.mark.parametrize("gradients", [False, True])
def test_the_likelihood_with_autocast_is_that_of_the_same_outputs_in_float64(cls, output, levels, colors, gradients):
    """The outputs have 8 bits; what follows them, in float32: centers, distances from levels, and sums over pixels."""
    model = model_of(cls, output, levels, colors=colors)
    x = images(model).float()
    with torch.autocast("cpu", torch.bfloat16), torch.set_grad_enabled(gradients):
        outputs = model.compute_outputs(model.output.scale.to_network(x), None)
        log_prob = model.log_prob(x)
    assert outputs.dtype == torch.bfloat16
    assert log_prob.dtype == torch.float32
    y = model.output.scale.to_network(x.double())
    exact = model.output.log_prob(y, outputs.double()).flatten(1).sum(1) + model._log_volume()
    torch.testing.assert_close(log_prob.double(), exact, rtol=1e-5, atol=1e-4)


@every_model
@every_output
def test_samples_with_autocast_are_on_levels(cls, output, levels):
    model = model_of(cls, output, levels)
    for cached in (True, False):
        with torch.autocast("cpu", torch.bfloat16):
            x = model.sample(3, generator=torch.Generator().manual_seed(0), cached=cached)
        steps = x * (levels - 1)
        torch.testing.assert_close(steps, steps.round(), atol=1e-4, rtol=0)
        assert x.std() > 0.05
