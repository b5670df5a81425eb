"""Affine couplings of rows and images: masks, inverses, log-determinants."""

from functools import partial

import pytest
import torch
from torch.nn.utils.parametrizations import weight_norm

from danlu.nn import CheckerboardCoupling, Coupling, CouplingMLP, CouplingResNet, Squeeze, WeightNormConv2d
from transform_laws import check, jacobian, randomized

DOUBLE = torch.float64


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def rows(size=5, swap=False, context=0, hidden=(7,)):
    build = partial(CouplingMLP, hidden=hidden, context=context, activation="tanh")
    return randomized(Coupling(size, build, swap))


def resnet(context=0):
    return partial(CouplingResNet, width=4, blocks=1, context=context)


@pytest.mark.parametrize("size", [2, 3, 6])
@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("context", [0, 3])
@pytest.mark.parametrize("hidden", [(7,), ()])
def test_laws_of_rows(size, swap, context, hidden):
    check(rows(size, swap, context, hidden), normal(4, size), normal(4, context, seed=1) if context else None)


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("context", [0, 3])
def test_laws_of_images(swap, context):
    y = normal(3, context, seed=1) if context else None
    check(randomized(Coupling(4, resnet(context), swap, positions=2)), normal(3, 4, 2, 2), y)
    check(randomized(CheckerboardCoupling(2, (2, 3), resnet(context), swap)), normal(3, 2, 2, 3), y)


@pytest.mark.parametrize("swap", [False, True])
def test_half_of_the_values_stay_and_the_others_depend_on_them_and_on_themselves(swap):
    first, second = slice(0, 3), slice(3, 5)  # the first half of an odd number is the larger
    kept, changed = (second, first) if swap else (first, second)
    j = jacobian(rows(swap=swap), normal(4, 5))
    identity = torch.eye(j[0, kept, kept].shape[0], dtype=DOUBLE)
    assert j[:, kept, kept].equal(identity.expand(4, -1, -1))
    assert not j[:, kept, changed].any()
    assert (j[:, changed, kept] != 0).all()
    own = j[:, changed, changed]
    assert own.equal(torch.diag_embed(own.diagonal(dim1=1, dim2=2)))


@pytest.mark.parametrize("swap", [False, True])
def test_the_dark_pixels_of_a_checkerboard_stay(swap):
    """With a network whose receptive field is the whole image."""
    coupling = randomized(CheckerboardCoupling(1, (3, 4), resnet(), swap))
    dark = torch.tensor([[1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0]]).bool().flatten()
    dark = ~dark if swap else dark
    j = jacobian(coupling, normal(2, 1, 3, 4))
    assert j[:, dark][:, :, dark].equal(torch.eye(6, dtype=DOUBLE).expand(2, -1, -1))
    assert not j[:, dark][:, :, ~dark].any()
    assert j[:, ~dark][:, :, dark].any()
    own = j[:, ~dark][:, :, ~dark]
    assert own.equal(torch.diag_embed(own.diagonal(dim1=1, dim2=2)))


def test_the_network_distinguishes_hidden_pixels_from_zeros():
    """Black images: the shift depends on the position of the mask in the image."""
    a, b = (randomized(CheckerboardCoupling(1, (4, 4), resnet(), swap)) for swap in (False, True))
    b.load_state_dict(a.state_dict())
    x = torch.zeros(1, 1, 4, 4, dtype=DOUBLE)
    inner = (a.network(torch.cat([x, mask[None]], 1))[..., 1:3, 1:3] for mask in (a.mask, b.mask))
    assert not torch.equal(*inner)


def test_log_scales_are_bounded_by_their_factors_for_every_input():
    coupling = rows(size=4, hidden=())
    with torch.no_grad():
        coupling.limit.copy_(torch.tensor([0.5, -2.0]))
    x = 1e12 * normal(1000, 4)
    log_det = coupling(x)[1]
    assert log_det.abs().max() <= 2.5
    assert log_det.abs().max() > 2.4


@pytest.mark.parametrize(
    ("coupling", "x"),
    [
        (Coupling(3, CouplingMLP), normal(4, 3)),
        (CheckerboardCoupling(1, (2, 2), CouplingResNet), normal(4, 1, 2, 2)),
        (Coupling(2, CouplingResNet, positions=2), normal(4, 2, 2, 2)),
    ],
)
def test_it_starts_as_the_identity_and_learns_from_the_first_step(coupling, x):
    coupling = coupling.double()
    z, log_det = coupling(x)
    assert z.equal(x)
    assert not log_det.any()
    (z.square().sum() + log_det.sum()).backward()
    last = coupling.network.layers[-1] if isinstance(coupling.network, CouplingMLP) else coupling.network.last
    assert last.weight.grad.any()


def test_a_single_value_cannot_be_split():
    with pytest.raises(ValueError, match="a coupling needs at least 2 values"):
        Coupling(1, CouplingMLP)


def test_squeeze_laws_and_order():
    x = normal(2, 3, 4, 6)
    squeeze = Squeeze()
    check(squeeze, normal(2, 2, 2, 4))
    z = squeeze(x)[0]
    assert z.shape == (2, 12, 2, 3)
    assert squeeze.inverse(z)[0].equal(x)
    for number, (row, column) in enumerate([(0, 0), (1, 1), (0, 1), (1, 0)]):
        assert z[:, 3 * number : 3 * number + 3].equal(x[:, :, row::2, column::2])


def test_weight_norm_is_that_of_torch():
    torch.manual_seed(0)
    ours = WeightNormConv2d(2, 3, 3, padding=1).double()
    plain = torch.nn.Conv2d(2, 3, 3, padding=1).double()
    plain.load_state_dict({"weight": ours.weight, "bias": ours.bias})
    x = normal(2, 2, 4, 4)
    torch.testing.assert_close(ours(x), plain(x))  # the norm is at first that of the weights
    theirs = weight_norm(plain)
    with torch.no_grad():
        ours.norm.copy_(theirs.parametrizations.weight.original0)  # of double precision
        ours.norm.mul_(2.5)
        theirs.parametrizations.weight.original0.mul_(2.5)
    torch.testing.assert_close(ours(x), theirs(x))
    found = torch.autograd.grad(ours(x).square().sum(), [ours.weight, ours.norm])
    parts = theirs.parametrizations.weight
    expected = torch.autograd.grad(theirs(x).square().sum(), [parts.original1, parts.original0])
    torch.testing.assert_close(found, expected)
