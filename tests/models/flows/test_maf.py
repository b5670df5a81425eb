"""MAF and IAF: densities beside an independent library, closed forms and grids; samples; both directions."""

import math

import pytest
import torch
import zuko
from torch import nn

from danlu.data import DataSettings
from danlu.models import IAF, MAF, load_model, save_model
from danlu.nn import MADE, Affine, Autoregressive, Chain, Conditioner, Reverse

WAVENET = {"conditioner": "wavenet", "channels": 8, "layers": 2}
KINDS = {
    "maf": lambda **more: MAF((2,), **{"blocks": 3, "hidden": (16, 16), **more}),
    "random order": lambda **more: MAF((2,), **{"blocks": 3, "hidden": (16, 16), "order": "random", **more}),
    "residual": lambda **more: MAF((2,), **{"blocks": 2, "hidden": (16, 16), "residual": True, **more}),
    "mixture": lambda **more: MAF((2,), **{"blocks": 2, "hidden": (16,), "mixture": 4, **more}),
    "mixture alone": lambda **more: MAF((2,), **{"blocks": 0, "hidden": (16,), "mixture": 4, **more}),
    "iaf": lambda **more: IAF((2,), **{"blocks": 2, "hidden": (16,), **more}),
}
WAVENETS = {
    "wavenet": lambda **more: MAF((2,), **{"blocks": 3, **WAVENET, **more}),
    "wavenet mixture": lambda **more: MAF((2,), **{"blocks": 1, "mixture": 4, **WAVENET, **more}),
    "wavenet iaf": lambda **more: IAF((2,), **{"blocks": 2, **WAVENET, **more}),
}
every_kind = pytest.mark.parametrize("kind", KINDS)
with_every_network = pytest.mark.parametrize("kind", [*KINDS, *WAVENETS])


def moons():
    return DataSettings(data="moons").load()


def flow_of(kind, **more):
    """A flow whose batch normalization has seen data; its weights are not those of the identity."""
    torch.manual_seed(0)
    flow = {**KINDS, **WAVENETS}[kind](**more).double()
    x = torch.randn(100, 2, dtype=torch.float64)
    with torch.no_grad():
        for _ in range(5):
            flow(x, torch.arange(100) % flow.classes if flow.classes else None)
    return flow.eval()


@every_kind
@pytest.mark.parametrize("classes", [0, 3])
def test_the_density_integrates_to_one(kind, classes):
    flow = flow_of(kind, classes=classes)
    axis = torch.linspace(-20, 20, 401, dtype=torch.float64)
    points = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        given = [torch.full((len(points),), classes - 1)] if classes else []
        total = flow.log_prob(points, *given).exp().sum() * (axis[1] - axis[0]) ** 2
    assert total == pytest.approx(1, abs=1e-3)


@with_every_network
@pytest.mark.parametrize("classes", [0, 3])
def test_codes_and_examples_and_the_determinant(kind, classes):
    flow = flow_of(kind, classes=classes)
    labels = torch.tensor([0, 1, 2, 2]) if classes else None
    x = torch.randn(4, 2, dtype=torch.float64)
    z, log_det = flow(x, labels)
    again, other = flow.inverse(z, labels)
    torch.testing.assert_close(again, x, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(other, -log_det, rtol=1e-9, atol=1e-9)
    jacobian = torch.autograd.functional.jacobian(lambda x: flow(x, labels)[0].sum(0), x).transpose(0, 1)
    torch.testing.assert_close(log_det, torch.linalg.slogdet(jacobian)[1], rtol=1e-9, atol=1e-9)


@with_every_network
def test_a_class_conditional_density_depends_on_the_class(kind):
    flow, x = flow_of(kind, classes=3), torch.randn(4, 2, dtype=torch.float64)
    each = torch.stack([flow.log_prob(x, torch.full((4,), y)) for y in range(3)])
    assert (each[0] != each[1]).all()
    torch.testing.assert_close(flow.log_prob(x), each.logsumexp(0) - math.log(3))


@pytest.mark.parametrize(  # test_known_densities.py trains the others
    "kind",
    [
        "residual",
        "mixture alone",
        *(pytest.param(kind, marks=pytest.mark.long) for kind in ("maf", "random order", "mixture", "iaf")),
    ],
)
def test_after_training_densities_rise_and_many_samples_are_finite(kind):
    torch.manual_seed(0)
    flow, x = KINDS[kind](), moons().train["x"][:400]
    optimizer = torch.optim.Adam(flow.parameters(), lr=5e-3)
    losses = []
    for _ in range(150):
        loss = -flow.log_prob(x).mean()
        optimizer.zero_grad(), loss.backward(), optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.3
    with torch.no_grad():
        samples = flow.eval().sample(100_000, generator=torch.Generator().manual_seed(0))
    assert samples.isfinite().all()
    # few samples are more than twice as far away as the data
    assert ((samples.abs() > 2 * x.abs().amax(0)).any(1)).float().mean() < 0.02


@with_every_network
def test_a_model_is_the_same_after_saving_and_loading(kind, tmp_path):
    flow = flow_of(kind).float()
    save_model(flow, tmp_path, moons().info)
    x = torch.randn(3, 2)
    assert torch.equal(load_model(tmp_path).log_prob(x), flow.log_prob(x))


@pytest.mark.parametrize("network", [{"hidden": (16,)}, WAVENET], ids=["made", "wavenet"])
def test_iaf_is_the_inverse_of_maf_with_the_same_weights(network):
    torch.manual_seed(0)
    maf = MAF((3,), blocks=2, batch_norm=False, **network).double()
    iaf = IAF((3,), blocks=2, batch_norm=False, **network).double()
    with torch.no_grad():
        for p in maf.parameters():
            p.add_(0.3 * torch.randn_like(p))
    for number, other in ((0, 2), (2, 0)):  # 1 is the change of the order
        iaf.transform.transforms[number].transform.load_state_dict(maf.transform.transforms[other].state_dict())
    x = torch.randn(5, 3, dtype=torch.float64)
    for ours, theirs in ((iaf, maf.inverse), (iaf.inverse, maf)):
        torch.testing.assert_close(ours(x), theirs(x), rtol=1e-10, atol=1e-10)


def test_a_mixture_alone_has_the_density_of_its_conditionals():
    """By hand, from the outputs of the network."""
    flow, x = flow_of("mixture alone"), torch.randn(6, 2, dtype=torch.float64)
    network = flow.transform.transforms[0].conditioner
    logits, means, raw = network(x).unflatten(2, (3, 4)).unbind(2)
    deviations = (raw / (1 + raw.abs() / 7)).exp()
    normal = torch.distributions.Normal(means, deviations)
    expected = (logits.log_softmax(2) + normal.log_prob(x[:, :, None])).logsumexp(2).sum(1)
    torch.testing.assert_close(flow.log_prob(x), expected, rtol=1e-10, atol=1e-10)


class ZukoForm(Conditioner):
    """The network of a layer of zuko, z = e^s x + t, in the parameters of ours: μ = −t e^−s and a = −s."""

    def __init__(self, made: MADE):
        super().__init__(made.size, made.outputs)
        self.made = made

    def forward(self, x, context=None):
        shift, scale = self.made(x, context).unbind(2)
        log_scale = scale / (1 + scale.abs() / math.log(1000))
        return torch.stack([-shift * (-log_scale).exp(), -scale], 2)


@torch.no_grad()
def with_weights_of(theirs, size, hidden, context):
    """Layers with the weights of zuko's MAF. Its units are not sorted by degree, and it reverses the order of weights
    instead of values."""
    layers = []
    for number, layer in enumerate(theirs.transform.transforms):
        made = MADE(size, 2, hidden, context).double()
        order = torch.arange(size).flip(0) if number % 2 else torch.arange(size)
        lowest = 0 if context else 1
        columns = order
        linear = [part for part in layer.hyper if isinstance(part, nn.Linear)]
        for target, source, width in zip((*made.hidden, made.output), linear, (*hidden, None), strict=True):
            if width is None:
                rows = torch.stack([2 * order, 2 * order + 1], 1).flatten()
            else:
                rows = (torch.arange(width) % (size - lowest) + lowest).argsort(stable=True)
            if source is linear[0] and context:
                made.context.weight.copy_(source.weight[rows, size:])
            target.weight.copy_(source.weight[rows][:, columns])
            target.bias.copy_(source.bias[rows])
            torch.testing.assert_close(target.mask.bool(), source.mask[rows][:, columns].bool())
            columns = rows
        layers += [Reverse()] * bool(number) + [Autoregressive(ZukoForm(made), Affine(bound=math.log(1000)))]
    return Chain(layers)


@pytest.mark.parametrize("context", [0, 3])
@pytest.mark.parametrize("hidden", [(30,), (30, 17)])
def test_the_density_is_that_of_zuko_with_the_same_weights(hidden, context):
    torch.manual_seed(0)
    theirs = zuko.flows.MAF(5, context, transforms=3, hidden_features=hidden).double()
    ours = with_weights_of(theirs, 5, hidden, context)
    x = 2 * torch.randn(20, 5, dtype=torch.float64)
    c = torch.randn(20, context, dtype=torch.float64) if context else None
    z, log_det = ours(x, c)
    density = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(1) + log_det
    torch.testing.assert_close(density, theirs(c).log_prob(x), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(ours.inverse(z, c)[0], theirs(c).transform.inv(z), rtol=1e-8, atol=1e-8)


def test_images_are_sampled_on_their_levels():
    torch.manual_seed(0)
    flow = MAF((1, 3, 3), blocks=2, hidden=(20,), levels=17, batch_norm=False).eval()
    x = flow.sample(50, generator=torch.Generator().manual_seed(0))
    assert x.shape == (50, 1, 3, 3)
    torch.testing.assert_close((16 * x).round() / 16, x)
    assert x.unique().numel() > 2


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: MAF((2,), blocks=0), "blocks=0 and mixture=0"),
        (lambda: MAF((2,), order="sorted"), "order='sorted' is unknown; choose reversed or random"),
        (lambda: MAF((2,), bound=0.0), "bound=0.0 must be greater than 0"),
        (lambda: IAF((2,), blocks=0), "blocks=0 must be at least 1"),
        (lambda: MAF((2,), conditioner="cnn"), "conditioner='cnn' is unknown; choose made or wavenet"),
        (lambda: IAF((2,), conditioner="wavenet", kernel=1), "kernel=1 must be at least 2"),
    ],
)
def test_wrong_arguments_are_an_error(build, message):
    with pytest.raises(ValueError, match=message):
        build()
