"""RealNVP of rows and images."""

import pytest
import torch

from danlu.data.datasets.toy_2d import sample_moons
from danlu.data.tables.info import TableInfo
from danlu.models import MultiScale, RealNVP, load_model, save_model
from danlu.models.flows.multi_scale import check_image_size
from danlu.nn import ActNorm
from transform_laws import check, randomized

DOUBLE = torch.float64
KINDS = {
    "points": ((2,), {"couplings": 4, "hidden": (8,)}),
    "rows": ((5,), {"couplings": 5, "hidden": (8,)}),
    "rows of classes": ((3,), {"couplings": 4, "hidden": (8,), "classes": 3}),
    "without normalization": ((3,), {"couplings": 4, "hidden": (8, 8), "norm": None}),
    "rows with batch norm": ((3,), {"couplings": 4, "hidden": (8, 8), "norm": "batch"}),
    "images with batch norm": ((1, 4, 4), {"levels": 5, "width": 4, "blocks": 1, "norm": "batch", "couplings": 1}),
    "images": ((1, 4, 4), {"levels": 5, "width": 4, "blocks": 1}),
    "images of classes": ((1, 4, 4), {"levels": 5, "width": 4, "blocks": 1, "classes": 2}),
    "colors at one scale": ((3, 2, 2), {"levels": 256, "width": 4, "scales": 1, "couplings": 1}),
    "three scales": ((1, 8, 8), {"levels": 5, "width": 4, "scales": 3, "couplings": 1, "blocks": 1}),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def source(seed=0):
    return torch.Generator().manual_seed(seed)


def flow_of(kind, scale=0.2):
    """A flow with random parameters in float64."""
    shape, arguments = KINDS[kind]
    torch.manual_seed(0)
    return randomized(RealNVP(shape, **arguments), scale)


@every_kind
def test_laws(kind):
    """Inverse and log-determinants, which slogdet of autograd's Jacobian confirms, in float64."""
    flow = flow_of(kind)
    context = torch.eye(flow.classes, dtype=DOUBLE)[torch.arange(2) % flow.classes] if flow.classes else None
    check(flow.transform, torch.randn(2, flow.latent, generator=source(), dtype=DOUBLE), context, tolerance=1e-9)


@every_kind
def test_codes_of_examples_are_decoded_to_the_examples(kind):
    flow = flow_of(kind)
    x = torch.rand(4, *flow.shape, generator=source(), dtype=DOUBLE)
    x = (x * (flow.levels - 1)).round() / (flow.levels - 1) if flow.levels else x
    labels = torch.arange(4) % flow.classes if flow.classes else None
    torch.testing.assert_close(flow.decode(flow.encode(x, labels), labels), x, rtol=0, atol=1e-10)


@every_kind
def test_many_samples_are_finite(kind):
    flow, generator = flow_of(kind).float(), source()
    count = 2500 if flow.levels else 25_000
    for _ in range(4):
        assert flow.sample(count, generator=generator).isfinite().all()


@every_kind
def test_a_saved_flow_is_the_same(kind, tmp_path):
    flow = flow_of(kind).float()
    save_model(flow, tmp_path, TableInfo((2,)))
    x = torch.rand(3, *flow.shape, generator=source())
    assert load_model(tmp_path).eval().log_prob(x).equal(flow.log_prob(x))


def test_the_density_integrates_to_one():
    flow = flow_of("points")
    samples = flow.sample(10_000, generator=source()).detach()
    low, high = samples.amin(0) - 2, samples.amax(0) + 2
    axes = [torch.linspace(float(a), float(b), 800, dtype=DOUBLE) for a, b in zip(low, high, strict=True)]
    cell = (axes[0][1] - axes[0][0]) * (axes[1][1] - axes[1][0])
    with torch.no_grad():
        total = sum(flow.log_prob(x).exp().sum() for x in torch.cartesian_prod(*axes).split(100_000)) * cell
    assert total.item() == pytest.approx(1, abs=2e-4)


@pytest.mark.parametrize("kind", ["rows", "images"])
def test_derivatives_of_the_density(kind):
    """With respect to examples, and to all parameters in a random direction, by finite differences."""
    flow = flow_of(kind)
    x = torch.rand(2, *flow.shape, generator=source(), dtype=DOUBLE).requires_grad_()
    assert torch.autograd.gradcheck(flow.log_prob, (x,), atol=1e-4)
    gradients = torch.autograd.grad(flow.log_prob(x.detach()).sum(), list(flow.parameters()))
    directions = [torch.randn(p.shape, generator=source(2), dtype=DOUBLE) for p in flow.parameters()]
    expected = sum((g * d).sum() for g, d in zip(gradients, directions, strict=True)).item()
    values, step = [], 1e-7  # small, because ReLU has kinks
    with torch.no_grad():
        for sign in (1, -2):
            for parameter, direction in zip(flow.parameters(), directions, strict=True):
                parameter.add_(sign * step * direction)
            values.append(flow.log_prob(x.detach()).sum().item())
    assert (values[0] - values[1]) / (2 * step) == pytest.approx(expected, rel=1e-5)


def test_every_value_of_a_row_depends_on_every_other():
    flow = flow_of("rows")
    x = torch.randn(3, 5, generator=source(), dtype=DOUBLE)
    full = torch.autograd.functional.jacobian(lambda x: flow(x)[0].sum(0), x).transpose(0, 1)
    assert (full != 0).all()


def test_after_each_scale_half_of_the_values_become_code():
    """The code of the finest scale does not depend on the parameters of the coarser ones."""
    flow = flow_of("three scales")
    multi_scale = flow.transform
    assert isinstance(multi_scale, MultiScale)
    assert multi_scale.kept == [(2, 4, 4), (4, 2, 2), (4, 2, 2)]
    x = torch.rand(2, 64, generator=source(), dtype=DOUBLE)
    before = multi_scale(x)[0]
    with torch.no_grad():
        for parameter in multi_scale.stages[1].parameters():
            parameter.add_(0.1)
    after = multi_scale(x)[0]
    assert after[:, :32].equal(before[:, :32])
    assert not after[:, 32:].isclose(before[:, 32:]).any()


@pytest.mark.parametrize("kind", ["rows", "images"])
def test_initialization_normalizes_the_outputs_of_every_normalization(kind):
    """With random couplings between them, each channel has mean 0 and deviation 1 on the first batch."""
    flow = flow_of(kind)
    layers = [module for module in flow.modules() if isinstance(module, ActNorm)]
    x = torch.rand(200, *flow.shape, generator=source(), dtype=DOUBLE)
    flow.initialize(x)
    outputs = []
    for layer in layers:
        layer.register_forward_hook(lambda module, inputs, output: outputs.append(output[0].transpose(0, 1).flatten(1)))
    flow(x)
    assert len(outputs) == len(layers) > 1
    for channels in outputs:
        torch.testing.assert_close(channels.mean(1), torch.zeros(len(channels), dtype=DOUBLE), atol=1e-9, rtol=0)
        one = torch.ones(len(channels), dtype=DOUBLE)
        torch.testing.assert_close(channels.std(1, correction=0), one, atol=1e-9, rtol=0)


@pytest.mark.parametrize(
    ("height", "width", "scales", "message"),
    [
        (30, 30, 3, "multiples of 4 and at least 8; got 30×30: use 28×28 or 32×32, or scales=2"),
        (27, 28, 2, "multiples of 2 and at least 4; got 27×28: use 26×28 or 28×28, or scales=1"),
        (4, 4, 3, "multiples of 4 and at least 8; got 4×4: use 8×8, or scales=2"),
        (1, 1, 1, "multiples of 1 and at least 2; got 1×1: use 2×2"),
    ],
)
def test_sizes_that_cannot_be_halved_are_refused_with_sizes_that_can(height, width, scales, message):
    with pytest.raises(ValueError, match=message):
        RealNVP((1, height, width), scales=scales, levels=5)
    for part in message.split("use ")[1].split(", ")[0].split(" or "):
        check_image_size(*map(int, part.split("×")), scales)


@pytest.mark.unchecked
def test_an_unknown_normalization_is_refused():
    with pytest.raises(ValueError, match="norm='layer' is unknown; choose act or batch"):
        RealNVP((2,), norm="layer")


def test_batch_norm_uses_the_batch_in_training_and_running_statistics_afterwards():
    flow = flow_of("rows with batch norm").train()
    x = 3 + torch.randn(400, 3, generator=source(), dtype=DOUBLE)
    with torch.no_grad():
        in_training = [flow.log_prob(x[:50])[:5], flow.log_prob(x[:80])[:5]]
        for _ in range(200):
            flow.log_prob(x)
        whole, part = (flow.eval().log_prob(rows)[:5] for rows in (x, x[:5]))
    assert not in_training[0].allclose(in_training[1])
    torch.testing.assert_close(whole, part)  # an example does not depend on the others
    torch.testing.assert_close(whole, flow.train().log_prob(x)[:5], rtol=0.02, atol=0.02)


def test_a_single_column_is_refused():
    with pytest.raises(ValueError, match="at least 2 values"):
        RealNVP((1,))


@pytest.mark.long
def test_it_learns_a_distribution():
    """Held-out points of the moons are more likely than under a normal distribution."""
    torch.manual_seed(0)
    x, held_out = (sample_moons(n, source(n))[0] for n in (2000, 1000))
    normal = torch.distributions.MultivariateNormal(x.mean(0), x.T.cov())
    flow = RealNVP((2,), couplings=6, hidden=(32,))
    flow.initialize(x)
    optimizer = torch.optim.Adam(flow.parameters(), lr=5e-3)
    for _ in range(300):
        optimizer.zero_grad()
        (-flow.log_prob(x[torch.randint(2000, (256,))]).mean()).backward()
        optimizer.step()
    with torch.no_grad():
        assert flow.log_prob(held_out).mean() > normal.log_prob(held_out).mean() + 0.5
