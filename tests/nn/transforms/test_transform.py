"""Chains of transforms, permutations, activation normalization and the logit."""

import math

import pytest
import torch
from torch import distributions

from danlu.nn import ActNorm, Chain, Inverse, Logit, Permutation, Reverse, Transform
from transform_laws import check, jacobian, randomized


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def affine_chain():
    return randomized(Chain([ActNorm(3), Permutation(3), ActNorm(3), Reverse(), Inverse(ActNorm(3))]))


@pytest.mark.parametrize(
    "transform", [ActNorm(3), Permutation(3), Reverse(), affine_chain(), Inverse(affine_chain()), Chain([])]
)
def test_laws(transform):
    check(randomized(transform), normal(5, 3))


def test_actnorm_of_channels_has_a_log_determinant_of_all_positions():
    check(randomized(ActNorm(2)), normal(3, 2, 2, 3))


def test_a_chain_is_its_transforms_in_order():
    first, second = randomized(ActNorm(3)), Reverse()
    x = normal(4, 3)
    expected, log_det = first(x)
    z, total = Chain([first, second])(x)
    assert z.equal(expected.flip(1))
    assert total.equal(log_det)
    assert Chain([first, second]).inverse(z)[0].allclose(x)


def test_the_context_reaches_every_transform_in_both_directions():
    class Shift(Transform):
        def forward(self, x, context=None):
            return x + context, x.new_zeros(len(x))

        def inverse(self, z, context=None):
            return z - context, z.new_zeros(len(z))

    x, context = normal(4, 2), normal(4, 2, seed=1)
    chain = Chain([Shift(), Inverse(Inverse(Shift()))])
    torch.testing.assert_close(chain(x, context)[0], x + 2 * context)
    torch.testing.assert_close(chain.inverse(x, context)[0], x - 2 * context)


def test_an_empty_batch():
    for transform in (affine_chain(), Logit(0.0, 1.0)):
        z, log_det = transform(torch.zeros(0, 3, dtype=torch.float64))
        assert z.shape == (0, 3)
        assert log_det.shape == transform.inverse(z)[1].shape == (0,)


def test_initialized_actnorms_of_a_chain_each_normalize_their_input():
    chain = Chain([ActNorm(3), Reverse(), ActNorm(3)]).double()
    x = 3 + 2 * normal(500, 3)
    z = chain.initialize(x)
    torch.testing.assert_close(z.mean(0), torch.zeros(3, dtype=torch.float64), atol=1e-12, rtol=0)
    torch.testing.assert_close(z.std(0, correction=0), torch.ones(3, dtype=torch.float64))
    assert z.equal(chain(x)[0])
    torch.testing.assert_close(chain.transforms[0].shift, x.mean(0))
    torch.testing.assert_close(chain.transforms[0].log_scale, -x.std(0, correction=0).log())
    torch.testing.assert_close(chain.transforms[2].log_scale, torch.zeros(3, dtype=torch.float64), atol=1e-12, rtol=0)


def test_initialization_of_images_is_per_channel():
    norm, x = ActNorm(2).double(), 5 + 3 * normal(20, 2, 4, 4)
    z = norm.initialize(x)
    torch.testing.assert_close(z.std((0, 2, 3), correction=0), torch.ones(2, dtype=torch.float64))


def test_a_constant_channel_keeps_its_scale():
    norm = ActNorm(2)
    z = norm.initialize(torch.tensor([[1.0, 7.0], [3.0, 7.0]]))
    assert norm.log_scale[1] == 0
    assert z.equal(torch.tensor([[-1.0, 0.0], [1.0, 0.0]]))


def test_a_permutation_is_saved_with_the_weights():
    a, b = Permutation(9), Permutation(9)
    b.load_state_dict(a.state_dict())
    x = normal(2, 9)
    assert b(x)[0].equal(a(x)[0])
    assert sorted(a.order.tolist()) == list(range(9))


@pytest.mark.parametrize("alpha", [1e-6, 0.05])
def test_logit_laws(alpha):
    x = torch.rand(5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3 - 1
    check(Logit(-1.0, 2.0, alpha), x)


def test_the_density_under_a_logit_is_that_of_the_logit_normal_distribution():
    """With α towards 0; the interval changes the density by its length."""
    x = torch.tensor([[0.1], [0.5], [0.97]], dtype=torch.float64)
    base = distributions.Normal(torch.zeros((), dtype=torch.float64), 1.0)
    exact = distributions.TransformedDistribution(base, [distributions.SigmoidTransform()]).log_prob(x)[:, 0]
    z, log_det = Logit(-1.0, 3.0, 1e-12)(4 * x - 1)
    torch.testing.assert_close(base.log_prob(z)[:, 0] + log_det, exact - math.log(4), rtol=1e-9, atol=1e-9)


def test_the_logit_near_the_upper_end_keeps_its_digits_in_float32():
    """At α = 10⁻⁶ the difference of y from 1 is only eight units in the last place of 1."""
    x = torch.tensor([[1 - 2**-22]])
    z = Logit(0.0, 1.0, 1e-6)(x)[0]
    torch.testing.assert_close(z.double(), Logit(0.0, 1.0, 1e-6)(x.double())[0], rtol=1e-5, atol=0)


def test_outside_the_interval_and_its_margin_the_density_is_zero():
    logit = Logit(0.0, 1.0, 0.05)  # the margin is 0.0556
    z, log_det = logit(torch.tensor([[0.5, 1.06], [0.5, 1.05], [-0.06, 0.5], [-0.05, 0.5]]))
    assert z.isfinite().all()
    assert log_det.isinf().tolist() == [True, False, True, False]
    assert (log_det[::2] < 0).all()


@pytest.mark.parametrize(
    ("arguments", "message"), [((0.0, 1.0, 0.5), "alpha=0.5 must"), ((1.0, 1.0), "from 1.0 to 1.0 must")]
)
def test_impossible_intervals_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Logit(*arguments)


@pytest.mark.parametrize("method", ["forward", "inverse"])
def test_a_transform_without_a_direction_says_so(method):
    with pytest.raises(NotImplementedError, match=f"Transform must define {method}"):
        getattr(Transform(), method)(torch.zeros(1, 1))


def test_a_jacobian_that_is_not_the_identity_is_seen_by_the_laws():
    """The check itself: a wrong log-determinant fails it."""

    class Wrong(ActNorm):
        def forward(self, x, context=None):
            z, log_det = super().forward(x, context)
            return z, log_det + 1e-6

    with pytest.raises(AssertionError):
        check(randomized(Wrong(2)), normal(3, 2))
    assert jacobian(randomized(ActNorm(2)), normal(3, 2)).shape == (3, 2, 2)


@pytest.mark.unchecked
@pytest.mark.parametrize("parts", [[torch.nn.Linear(3, 3)], [Reverse(), torch.nn.Linear(3, 3)]])
def test_a_part_of_a_chain_that_is_no_transform_is_an_error(parts):
    message = rf"transforms\[{len(parts) - 1}\] is a Linear, which is not a danlu\.nn\.Transform"
    with pytest.raises(TypeError, match=message):
        Chain(iter(parts))


@pytest.mark.unchecked
def test_the_inverse_of_what_is_no_transform_is_an_error():
    with pytest.raises(TypeError, match=r"^transform is a Linear, which is not a danlu\.nn\.Transform"):
        Inverse(torch.nn.Linear(3, 3))
