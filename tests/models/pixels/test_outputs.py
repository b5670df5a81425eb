"""Distributions of a pixel: probabilities that sum to 1, draws that follow them, and the density of the affine form."""

import itertools
import math

import pytest
import torch
from scipy import stats
from torch import distributions

from danlu.models import GatedPixelCNN, PixelCNN
from danlu.models.pixels.logistic import LogisticOutput
from danlu.models.pixels.outputs import (
    AffineOutput,
    BinaryOutput,
    CategoricalOutput,
    check_temperature,
    draw_category,
)

DOUBLE = torch.float64
every_model = pytest.mark.parametrize("cls", [PixelCNN, GatedPixelCNN])


def model_of(cls, shape, levels, **changes):
    torch.manual_seed(0)
    model = cls(shape, levels=levels, **{"layers": 2, "channels": 6, "first_kernel": 3, **changes}).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)  # far from a uniform distribution
    return model


def all_images(shape, levels):
    colors, height, width = shape
    values = torch.tensor(list(itertools.product(range(levels), repeat=colors * height * width)), dtype=DOUBLE)
    return (values / (levels - 1)).view(-1, *shape)


@torch.no_grad()
@every_model
@pytest.mark.parametrize("output", ["categorical", "logistic"])
def test_probabilities_of_all_images_of_two_pixels_sum_to_1(cls, output):
    model = model_of(cls, (1, 1, 2), 256, output=output, channels=3)
    steps = torch.arange(256, dtype=DOUBLE) / 255
    total = 0.0
    for first in steps.split(64):  # 256² images
        x = torch.cartesian_prod(first, steps).view(-1, 1, 1, 2)
        total += float(model.log_prob(x).exp().sum())
    assert total == pytest.approx(1, abs=1e-10)


@torch.no_grad()
@every_model
@pytest.mark.parametrize(
    ("shape", "levels", "output"),
    [((1, 3, 3), 2, "binary"), ((2, 2, 2), 2, "binary"), ((3, 1, 2), 3, "categorical"), ((3, 1, 2), 4, "logistic")],
)
@pytest.mark.parametrize("classes", [0, 2])
def test_probabilities_of_all_small_images_sum_to_1(cls, shape, levels, output, classes):
    """Also of each class, and of the mixture of classes."""
    model, x = model_of(cls, shape, levels, output=output, classes=classes), all_images(shape, levels)
    assert float(model.log_prob(x).exp().sum()) == pytest.approx(1, abs=1e-10)
    for label in range(classes):
        of_class = model.log_prob(x, torch.full((len(x),), label))
        assert float(of_class.exp().sum()) == pytest.approx(1, abs=1e-10)
    if classes:
        each = torch.stack([model.log_prob(x, torch.full((len(x),), label)) for label in range(classes)])
        torch.testing.assert_close(model.log_prob(x).exp(), each.exp().mean(0))


@torch.no_grad()
@every_model
@pytest.mark.parametrize(
    ("shape", "levels", "output"),
    [((1, 2, 2), 2, "binary"), ((3, 1, 1), 3, "categorical"), ((3, 1, 1), 3, "logistic"), ((1, 1, 2), 4, "logistic")],
)
def test_samples_follow_the_probabilities(cls, shape, levels, output):
    """Pearson's statistic over all images, at a significance of 0.001."""
    model, x = model_of(cls, shape, levels, output=output), all_images(shape, levels)
    n = 20_000
    sampled = model.sample(n, generator=torch.Generator().manual_seed(3)).flatten(1)
    powers = levels ** torch.arange(sampled.shape[1] - 1, -1, -1)
    counts = torch.bincount(((sampled * (levels - 1)).round().long() * powers).sum(1), minlength=len(x))
    expected = model.log_prob(x).exp() * n
    common = expected >= 5
    observed = torch.cat([counts[common].double(), counts[~common].sum()[None].double()])
    wanted = torch.cat([expected[common], expected[~common].sum()[None]])
    statistic = ((observed - wanted).square() / wanted.clamp(min=1e-9)).sum()
    assert float(statistic) < stats.chi2.ppf(0.999, int(common.sum()))


def test_the_mass_of_a_mixture_is_a_difference_of_distribution_functions():
    """At both edges and in the middle, with three colors whose centers depend on earlier ones."""
    torch.manual_seed(0)
    output = LogisticOutput(3, levels=17, range=(0.0, 1.0), components=2)
    raw = torch.randn(4, output.units, dtype=DOUBLE)
    y = torch.tensor([[-1, -1, -1], [1, 1, 1], [0, -1, 0.5], [0.25, 0, -0.375]], dtype=DOUBLE)
    logits, means, raw_scales, coefficients = raw.view(4, -1, 2).split([1, 3, 3, 3], 1)
    scales = (torch.nn.functional.softplus(raw_scales + 5.5) - 7).exp()
    total = logits[:, 0].softmax(1)
    for color, pairs in enumerate(((), (0,), (1, 2))):
        center = means[:, color] + torch.tensor([-0.5, 0.5], dtype=DOUBLE)
        for earlier, pair in enumerate(pairs):
            center = center + coefficients[:, pair] * y[:, earlier, None]
        value, scale = y[:, color, None], scales[:, color]
        upper, lower = ((value + side / 16 - center) / scale for side in (1, -1))
        inner = upper.sigmoid() - lower.sigmoid()
        mass = torch.where(value == -1, upper.sigmoid(), torch.where(value == 1, (-lower).sigmoid(), inner))
        total = total * mass
    got = output.log_prob(y[:, :, None, None], raw[:, None, :, None, None])[:, 0, 0]
    torch.testing.assert_close(got, total.sum(1).log(), rtol=1e-11, atol=0)


@pytest.mark.parametrize("value", [-1.0, 0.0, 0.125, 1.0])
def test_gradients_of_the_mass_of_a_mixture(value):
    torch.manual_seed(0)
    output = LogisticOutput(3, levels=17, range=(0.0, 1.0), components=2)
    raw = torch.randn(2, 1, output.units, 1, 1, dtype=DOUBLE, requires_grad=True)
    y = torch.full((2, 3, 1, 1), value, dtype=DOUBLE)
    assert torch.autograd.gradcheck(lambda r: output.log_prob(y, r), raw)


@pytest.mark.parametrize("value", [-1.0, 1 / 255, 1.0])
def test_a_very_large_scale_has_a_finite_gradient(value):
    output = LogisticOutput(1, levels=256, range=(0.0, 1.0), components=1)
    raw = torch.tensor([0.0, 0.0, 104.0]).view(1, 1, 3, 1, 1).requires_grad_()
    log_prob = output.log_prob(torch.full((1, 1, 1, 1), value), raw)
    (gradient,) = torch.autograd.grad(log_prob.sum(), raw)
    assert log_prob.isfinite().all()
    assert gradient.isfinite().all()


def test_the_mass_far_from_all_centers_has_a_finite_gradient():
    output = LogisticOutput(1, levels=256, range=(0.0, 1.0), components=1)
    raw = torch.tensor([0.0, 1.0, -50.0]).view(1, 1, 3, 1, 1).requires_grad_()  # the smallest scale, center 1
    log_prob = output.log_prob(-torch.ones(1, 1, 1, 1), raw)
    (gradient,) = torch.autograd.grad(log_prob.sum(), raw)
    assert float(log_prob.detach()) == pytest.approx(-(2 - 1 / 255) * math.exp(7), rel=1e-3)  # center 1, value -1
    assert gradient.isfinite().all()


def test_a_temperature_below_1_prefers_the_most_probable_value():
    logits = torch.tensor([[0.0, 1.0, 2.0]], dtype=DOUBLE).expand(10_000, -1)
    noise = torch.rand(1, 10_000, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)
    output, none = CategoricalOutput(1, 3, (0.0, 1.0)), torch.zeros(10_000, 0)
    for temperature in (0.5, 1.0, 2.0):
        share = (output.draw(logits, none, noise, temperature) == 1).double().mean()
        assert float(share) == pytest.approx(float((logits[0] / temperature).softmax(0)[2]), abs=0.015)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("name", ["binary", "affine", "components", "scale"])
def test_the_temperature_of_draws(name, temperature):
    """Shares and standard deviations of 40 000 draws, against their closed forms."""
    n = 40_000
    if name == "binary":
        output, raw = BinaryOutput(1, 2, (0.0, 1.0)), [0.8]
    elif name == "affine":
        output, raw = AffineOutput(1, 256, (0.0, 1.0)), [0.3, -0.7]
    elif name == "components":  # three distant centers, -0.8, 0, 0.8, with small scales
        output, raw = (
            LogisticOutput(1, 256, (0.0, 1.0), 3),
            [0.0, 1.0, 0.4, -0.8 + 2 / 3, 0.0, 0.8 - 2 / 3, *[-3.0] * 3],
        )
    else:
        output, raw = LogisticOutput(1, 4001, (0.0, 1.0), 1), [0.0, 0.0, -2.0]
    noise = output.noise((output.draws, n), torch.zeros(1, dtype=DOUBLE), torch.Generator().manual_seed(0))
    outputs = torch.tensor(raw, dtype=DOUBLE).expand(n, -1)
    drawn = output.draw(outputs, torch.zeros(n, 0, dtype=DOUBLE), noise, temperature)
    if name == "binary":
        assert float((drawn == 1).double().mean()) == pytest.approx(1 / (1 + math.exp(-0.8 / temperature)), abs=0.01)
    elif name == "affine":
        deviation = temperature * math.exp(7 * math.tanh(-0.7 / 7))
        assert float(drawn.mean()) == pytest.approx(0.3, abs=0.03 * deviation)
        assert float(drawn.std()) == pytest.approx(deviation, rel=0.02)
    elif name == "components":
        shares = torch.stack([drawn < -0.4, drawn.abs() <= 0.4, drawn > 0.4]).double().mean(1)
        weights = torch.tensor([0.0, 1.0, 0.4], dtype=DOUBLE).exp() ** (1 / temperature)
        torch.testing.assert_close(shares, weights / weights.sum(), rtol=0, atol=0.01)
    else:
        scale = temperature * math.exp(-7 + math.log1p(math.exp(3.5)))  # standard deviation of a logistic: π s / √3
        assert float(drawn.std()) == pytest.approx(math.pi / math.sqrt(3) * scale, rel=0.03)


@pytest.mark.parametrize("output", [CategoricalOutput(1, 4, (0.0, 1.0)), LogisticOutput(1, 4, (0.0, 1.0), 4)])
def test_the_smallest_temperature_draws_the_most_probable_value(output):
    least = torch.finfo(torch.float32).tiny
    check_temperature(least)
    raw = torch.zeros(8, output.units)
    raw[:, :4] = torch.tensor([100.0, 200.0, 300.0, 150.0])  # in the mixture, the centers are -3/4, -1/4, 1/4, 3/4
    noise = torch.linspace(0.1, 0.9, 8).expand(output.draws, 8)
    torch.testing.assert_close(output.draw(raw, torch.zeros(8, 0), noise, least), torch.full((8,), 1 / 3))
    with pytest.raises(ValueError, match="temperature=1e-40 is too small; the smallest allowed value is"):
        check_temperature(1e-40)


def test_a_category_of_probability_0_is_never_drawn():
    logits = torch.tensor([[-torch.inf, 0.0, -torch.inf, 0.0, -torch.inf]], dtype=DOUBLE)
    uniform = torch.tensor([0.0, 0.25, 0.5, 1 - 2**-53], dtype=DOUBLE)
    assert draw_category(logits.expand(4, -1), uniform).tolist() == [1, 1, 3, 3]


def test_a_category_of_probability_0_is_never_drawn_from_256_in_float32():
    """The cumulative sum of float32 probabilities ends below or above 1."""
    logits = torch.randn(2000, 256, generator=torch.Generator().manual_seed(0))
    logits[:, ::5] = -torch.inf  # the first and the last category among them
    for uniform in (0.0, 0.5, 1 - 2**-24):
        drawn = draw_category(logits, torch.full((2000,), uniform))
        assert logits.gather(1, drawn[:, None]).isfinite().all()


@every_model
@pytest.mark.parametrize("shape", [(1, 2, 3), (3, 2, 2)])
def test_the_affine_form_is_a_triangular_flow(cls, shape):
    """The Jacobian of x → z is triangular, its determinant is that of autograd, and the density follows from both."""
    model = model_of(cls, shape, 5, output="affine", range=(-1.0, 3.0))
    x = torch.rand(2, *shape, dtype=DOUBLE) * 5 - 1
    z, log_det = model.standardize(x)
    for i in range(2):
        jacobian = torch.autograd.functional.jacobian(lambda v: model.standardize(v[None])[0][0], x[i])
        order = jacobian.permute(1, 2, 0, 4, 5, 3).reshape(x[0].numel(), -1)  # raster order, colors last
        assert not order.triu(1).any()
        torch.testing.assert_close(log_det[i], torch.linalg.slogdet(order).logabsdet)
    normal = distributions.Normal(0.0, 1.0).log_prob(z).flatten(1).sum(1)
    torch.testing.assert_close(model.log_prob(x), normal + log_det)


@torch.no_grad()
@every_model
def test_the_affine_density_integrates_to_1(cls):
    """Over values of two pixels from -6 to 7, where all of the mass is for this seed."""
    model = model_of(cls, (1, 1, 2), 5, output="affine", channels=3)
    points = torch.linspace(-6, 7, 261, dtype=DOUBLE)
    total = sum(
        float(model.log_prob(torch.cartesian_prod(rows, points).view(-1, 1, 1, 2)).exp().sum())
        for rows in points.split(64)
    )
    assert total * float(points[1] - points[0]) ** 2 == pytest.approx(1, abs=1e-6)


@torch.no_grad()
@every_model
def test_the_affine_form_draws_by_inverting_itself(cls):
    model = model_of(cls, (3, 3, 3), 5, output="affine")
    output = model.output
    assert isinstance(output, AffineOutput)
    y = torch.zeros(4, 3, 3, 3, dtype=DOUBLE)
    noise = output.noise((3, 3, 3, 1, 4), y, torch.Generator().manual_seed(5))
    model._fill(y, None, None, torch.Generator().manual_seed(5), 1.0, True)
    z, _ = output.standardize(y, model.compute_outputs(y, None))
    torch.testing.assert_close(z, noise[:, :, :, 0].permute(3, 2, 0, 1))


@pytest.mark.unchecked
def test_binary_needs_two_levels():
    with pytest.raises(ValueError, match="output binary is for images of 2 levels, and these have 17"):
        BinaryOutput(1, 17, (0.0, 1.0))
    with pytest.raises(ValueError, match="output='normal' is unknown; choose one of auto, binary"):
        PixelCNN((1, 4, 4), output="normal")
