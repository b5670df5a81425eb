"""The verbs of a flow, checked on an affine transform, whose density is a normal distribution in closed form."""

import math

import pytest
import torch
from torch import Tensor, distributions, nn

from danlu.data import digits
from danlu.models import IAF, MAF, Flow, PlanarFlow, RealNVP
from danlu.nn import ActNorm, Transform
from danlu.sampling import four_anchor_walk
from danlu.verbs import verbs_of


class Affine(Transform):
    """z = A⁻¹(x − m − y M) with a full matrix A, so that x is normal with mean m + y M and covariance A Aᵀ."""

    def __init__(self, size: int, classes: int = 0):
        super().__init__()
        source = torch.Generator().manual_seed(3)
        draw = lambda *shape: torch.randn(shape, generator=source, dtype=torch.float64)  # noqa: E731
        self.matrix = nn.Parameter(torch.eye(size, dtype=torch.float64) + 0.3 * draw(size, size))
        self.mean = nn.Parameter(draw(size))
        self.means = nn.Parameter(2 * draw(classes, size))

    def center(self, context: Tensor | None) -> Tensor:
        return self.mean if context is None else self.mean + context @ self.means

    def forward(self, x, context=None):
        z = torch.linalg.solve(self.matrix, (x - self.center(context)).T).T
        return z, -torch.linalg.slogdet(self.matrix).logabsdet.expand(len(x))

    def inverse(self, z, context=None):
        return z @ self.matrix.T + self.center(context), torch.linalg.slogdet(self.matrix).logabsdet.expand(len(z))


def flow_of(shape=(3,), classes=0, **images) -> Flow:
    return Flow(shape, Affine(math.prod(shape), classes), classes, **images).double().eval()


def normal_of(flow: Flow, label: int | None = None) -> distributions.Distribution:
    context = None if label is None else torch.eye(flow.classes, dtype=torch.float64)[label]
    matrix = flow.transform.matrix
    return distributions.MultivariateNormal(flow.transform.center(context), matrix @ matrix.T)


def points(n, *shape, seed=0):
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_density_is_the_normal_distribution():
    flow, x = flow_of(), points(6, 3)
    exact = normal_of(flow).log_prob(x)
    torch.testing.assert_close(flow.log_prob(x), exact, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(flow.energy(x), -exact, rtol=1e-12, atol=1e-12)


def test_verbs_and_capabilities():
    assert verbs_of(flow_of()) == [
        "log_prob",
        "energy",
        "sample",
        "prior",
        "encode",
        "decode",
        "interpolate",
        "latent_walk",
    ]
    assert flow_of().capabilities == {"generator", "density", "data_initialization"}
    assert flow_of(classes=2).capabilities == {"generator", "density", "data_initialization", "class_conditional"}


def test_samples_have_the_moments_of_the_distribution():
    flow = flow_of()
    x = flow.sample(100_000, generator=torch.Generator().manual_seed(0))
    exact, n = normal_of(flow), len(x)
    assert ((x.mean(0) - exact.mean).abs() < 5 * (exact.variance / n).sqrt()).all()
    assert ((x.var(0) / exact.variance - 1).abs() < 5 * (2 / n) ** 0.5).all()


def test_codes_and_examples_are_inverse():
    flow, x = flow_of((2, 2)), points(4, 2, 2)
    z = flow.encode(x)
    assert z.shape == (4, 4)
    torch.testing.assert_close(flow.decode(z), x)
    assert flow.prior(5, generator=torch.Generator().manual_seed(0)).shape == (5, 4)


@pytest.mark.parametrize("images", [{}, {"levels": 5}], ids=["values", "levels"])
def test_decoding_knows_the_density_of_what_it_decodes(images):
    flow, z = flow_of((3, 1, 1), **images), points(4, 3)
    x, log_prob = flow.decode_with_log_prob(z)
    torch.testing.assert_close(flow._rounded(x), flow.decode(z))
    torch.testing.assert_close(log_prob, flow.log_prob(x), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(flow.inverse(z)[1], -flow(x)[1], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda flow: flow.decode(points(3, 2)), r"takes codes of shape \(3,\), got \(2,\)"),
        (lambda flow: flow.latent_walk(points(3, 3)), "needs 4 anchors, got 3"),
        (lambda flow: flow.latent_walk(points(4, 3), 0), "steps=0 must be at least 1"),
        (lambda flow: flow.interpolate(points(2, 3), points(2, 3), 0), "steps=0 must be at least 1"),
    ],
)
def test_wrong_codes_anchors_and_steps_are_an_error(call, message):
    with pytest.raises(ValueError, match=message):
        call(flow_of())


def test_interpolation_has_both_ends():
    flow, a, b = flow_of(), points(4, 3), points(4, 3, seed=1)
    path = flow.interpolate(a, b, 5)
    assert path.shape == (4, 5, 3)
    torch.testing.assert_close(path[:, 0], a)
    torch.testing.assert_close(path[:, -1], b)


def test_the_walk_passes_the_four_anchors():
    flow, anchors = flow_of(), points(4, 3)
    walk = flow.latent_walk(anchors, 8)  # steps of 45 degrees: a quarter of a turn is step 2
    assert walk.shape == (8, 8, 3)
    for number, (alpha, beta) in enumerate([(0, 0), (0, 2), (2, 0), (2, 2)]):
        torch.testing.assert_close(walk[alpha, beta], anchors[number])
    z = flow.encode(anchors)
    middle = (z[0] + z[1] + z[2] + z[3]) / 2  # cos and sin of 45 degrees, twice
    torch.testing.assert_close(walk[1, 1], flow.decode(middle[None])[0])


def test_the_walk_is_the_formula_at_any_angle():
    z, steps = points(4, 5), 7
    walk = four_anchor_walk(z, steps)
    for i in range(steps):
        for j in range(steps):
            a, b = 2 * math.pi * i / steps, 2 * math.pi * j / steps
            expected = math.cos(a) * (math.cos(b) * z[0] + math.sin(b) * z[1]) + math.sin(a) * (
                math.cos(b) * z[2] + math.sin(b) * z[3]
            )
            torch.testing.assert_close(walk[i, j], expected)


def test_a_conditional_flow_has_a_density_for_each_class_and_their_mixture():
    flow, x, labels = flow_of(classes=3), points(6, 3), torch.tensor([0, 1, 2, 2, 1, 0])
    each = torch.stack([normal_of(flow, label).log_prob(x) for label in range(3)], 1)
    torch.testing.assert_close(flow.log_prob(x, labels), each[torch.arange(6), labels])
    torch.testing.assert_close(flow.log_prob(x), each.exp().mean(1).log())
    torch.testing.assert_close(flow.encode(x), flow.encode(x, each.argmax(1)))


def test_a_conditional_flow_decodes_with_labels_or_the_classes_in_turn():
    flow, z = flow_of(classes=2), points(4, 3)
    assert flow.decode(z).equal(flow.decode(z, torch.tensor([0, 1, 0, 1])))
    assert not flow.decode(z).allclose(flow.decode(z, torch.tensor([1, 0, 1, 0])))
    source = lambda: torch.Generator().manual_seed(0)  # noqa: E731
    labels = torch.tensor([1, 1])
    assert flow.sample(2, labels=labels, generator=source()).equal(
        flow.decode(flow.prior(2, generator=source()), labels)
    )


def test_a_conditional_flow_interpolates_within_the_class_of_the_first():
    flow, a, b = flow_of(classes=2), points(4, 3), points(4, 3, seed=1)
    path = flow.interpolate(a, b, 3)
    torch.testing.assert_close(path[:, 0], a)
    torch.testing.assert_close(path[:, -1], b)
    torch.testing.assert_close(flow.latent_walk(a, 4)[1, 1], a[3])


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("classes", "labels", "message"),
    [(2, None, "Flow needs the label of each example, one of 2"), (0, torch.tensor([0, 0]), "Flow takes no labels")],
)
def test_labels_must_fit(classes, labels, message):
    with pytest.raises(ValueError, match=message):
        flow_of(classes=classes)(points(2, 3), labels)


@pytest.mark.unchecked
def test_the_wrong_shape_is_refused():
    with pytest.raises(ValueError, match=r"Flow takes examples of shape \(3,\), got \(4,\)"):
        flow_of().log_prob(points(2, 4))


@pytest.mark.parametrize("arguments", [{"levels": 1}, {"levels": -2}, {"classes": -1}, {"levels": 4, "alpha": 0.5}])
def test_impossible_arguments_are_refused(arguments):
    with pytest.raises(ValueError, match="must be"):
        Flow((3,), Affine(3), **arguments)


@pytest.mark.unchecked
@pytest.mark.parametrize("model", [MAF, IAF, PlanarFlow, RealNVP])
@pytest.mark.parametrize("shape", [(2,), (1, 8, 8)])
def test_a_negative_number_of_classes_is_refused_by_its_name(model, shape):
    with pytest.raises(ValueError, match="classes=-1 must be at least 0"):
        model(shape, classes=-1)


# images


def image_flow(levels=5, range=(0.0, 1.0), **more) -> Flow:
    flow = flow_of((1, 2, 1), levels=levels, range=range, **more)
    with torch.no_grad():
        flow.transform.mean.mul_(0.3)
    return flow


def noisy(flow, indices, seed=0):
    """Images at these levels, with noise."""
    uniform = torch.rand(indices.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return flow.range[0] + flow.spacing * (indices + uniform)


@pytest.mark.parametrize("range", [(0.0, 1.0), (-1.0, 3.0)])
def test_the_density_of_images_integrates_to_one(range):
    """Over the interval of all values with noise and its margin, by the trapezoidal rule for the logits of each pixel.

    On a grid in x the logit would be too steep at the ends.
    """
    flow = image_flow(range=range)
    margin = flow.logit.alpha / flow.logit.slope
    axis = torch.linspace(-12, 12, 600, dtype=torch.float64)
    logits = torch.cartesian_prod(axis, axis)
    x, log_det = flow.logit.inverse(logits)
    assert x.min() > range[0] - margin
    assert x.max() < range[1] + flow.spacing + margin
    total = (flow.log_prob(x.view(-1, 1, 2, 1)) + log_det).exp().sum() * (axis[1] - axis[0]) ** 2
    assert total.item() == pytest.approx(1, abs=1e-6)


def test_a_change_of_the_range_changes_the_density_by_its_volume_only():
    """Bits per dimension do not depend on the scale of the input."""
    a, b = image_flow(), image_flow(range=(-1.0, 3.0))
    indices = torch.tensor([0, 4, 2, 1]).view(2, 1, 2, 1)
    per_level = [flow.log_prob(noisy(flow, indices)) + 2 * math.log(flow.spacing) for flow in (a, b)]
    torch.testing.assert_close(*per_level, rtol=1e-12, atol=1e-12)


def test_samples_are_levels_of_the_data_to_the_last_bit():
    data = digits()
    flow = Flow(data.info.shape, ActNorm(64), levels=data.info.levels, range=data.info.range)
    nn.init.constant_(flow.transform.log_scale, -1.0)
    x = flow.sample(50, generator=torch.Generator().manual_seed(0))
    assert x.shape == (50, *data.info.shape)
    assert torch.isin(x, data.train["image"].unique()).all()
    assert len(x.unique()) == data.info.levels


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_level_survives_encoding_and_decoding_with_and_without_noise(dtype):
    flow = image_flow(levels=256).to(dtype)
    indices = torch.arange(256).view(128, 1, 2, 1)
    levels = indices.to(dtype) / 255
    assert flow.decode(flow.encode(levels)).equal(levels)
    dequantized = noisy(flow, indices).to(dtype)
    assert flow.encode(dequantized).equal(flow.encode(levels))
    path = flow.interpolate(levels[:4], levels[4:8], 3)
    assert path[:, 0].equal(levels[:4])
    assert path[:, -1].equal(levels[4:8])


def test_images_outside_all_levels_have_density_zero():
    flow = image_flow()
    assert flow.log_prob(torch.full((1, 1, 2, 1), 2.0, dtype=torch.float64)).item() == -math.inf


def test_initialization_sees_what_the_transform_sees():
    """The logits of images, and for other data the examples."""
    flow = Flow((1, 2, 1), ActNorm(2), levels=5).double()
    x = noisy(flow, torch.arange(10).view(5, 1, 2, 1) % 5)
    flow.initialize(x)
    z = flow(x)[0]
    torch.testing.assert_close(z.mean(0), torch.zeros(2, dtype=torch.float64), atol=1e-12, rtol=0)
    torch.testing.assert_close(z.std(0, correction=0), torch.ones(2, dtype=torch.float64))
    rows = Flow((2,), ActNorm(2)).double()
    rows.initialize(points(9, 2))
    torch.testing.assert_close(rows.transform.shift, points(9, 2).mean(0))
