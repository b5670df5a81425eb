"""Costs of adversarial games against formulas in probabilities, and slopes and their penalty against differences."""

import math
from typing import get_args

import pytest
import torch
from torch.nn import functional as F

from danlu.losses import Loss, fake_cost, generator_cost, real_cost, slope_penalty, slopes
from danlu.losses.adversarial import TARGETED

LOSSES = get_args(Loss)
LOGARITHMIC = ("minimax", "non-saturating")


def numbers(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


SCORES = torch.cat([2 * numbers(20), torch.tensor([-1.0, 0.0, 1.0, -6.0, 6.0], dtype=torch.float64)])


def written(loss, s):
    """What real and generated examples cost the critic, and generated ones the generator, as the papers write it."""
    d = 1 / (1 + math.exp(-s))
    return {
        "minimax": (-math.log(d), -math.log(1 - d), math.log(1 - d)),
        "non-saturating": (-math.log(d), -math.log(1 - d), -math.log(d)),
        "least-squares": ((s - 1) ** 2 / 2, s**2 / 2, (s - 1) ** 2 / 2),
        "hinge": (max(0.0, 1 - s), max(0.0, 1 + s), -s),
        "wasserstein": (-s, s, -s),
    }[loss]


@pytest.mark.parametrize("loss", LOSSES)
def test_every_row_of_the_table(loss):
    expected = torch.tensor([written(loss, float(s)) for s in SCORES], dtype=torch.float64)
    ours = torch.stack([real_cost(SCORES, loss), fake_cost(SCORES, loss), generator_cost(SCORES, loss)], dim=1)
    torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize("loss", LOGARITHMIC)
@pytest.mark.parametrize("target", [0.0, 0.1, 0.7, 0.9, 1.0])
def test_a_smoothed_target_is_a_soft_label(loss, target):
    expected = F.binary_cross_entropy_with_logits(SCORES, torch.full_like(SCORES, target), reduction="none")
    torch.testing.assert_close(real_cost(SCORES, loss, target), expected)
    torch.testing.assert_close(fake_cost(SCORES, loss, target), expected)


@pytest.mark.parametrize("loss", TARGETED)
def test_the_smoothed_cost_is_least_at_its_target(loss):
    """At D = t, or where squares are least, s = t."""
    s = torch.tensor([0.8], dtype=torch.float64) if loss == "least-squares" else torch.tensor([0.8]).double().logit()
    for cost in (real_cost, fake_cost):
        assert cost(s, loss, 0.8) < min(cost(s + 0.01, loss, 0.8), cost(s - 0.01, loss, 0.8))


@pytest.mark.parametrize("loss", LOGARITHMIC)
def test_large_scores_keep_their_digits(loss):
    """In float32, where D is 1 to all digits, what is left is exp(−s)."""
    for cost, sign in ((real_cost, 1), (fake_cost, -1)):
        s = torch.tensor([sign * 30.0, sign * 18.0], requires_grad=True)
        costs = cost(s, loss)
        (slope,) = torch.autograd.grad(costs.sum(), s)
        expected = torch.tensor([math.exp(-30), math.exp(-18)])
        torch.testing.assert_close(costs.detach(), expected, rtol=1e-5, atol=0)
        torch.testing.assert_close(slope, -sign * expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("loss", ["minimax", "wasserstein"])
def test_the_game_is_zero_sum(loss):
    torch.testing.assert_close(fake_cost(SCORES, loss) + generator_cost(SCORES, loss), torch.zeros_like(SCORES))


def test_non_saturating_has_the_fixed_point_of_minimax_and_a_gradient_where_the_critic_is_sure():
    s = torch.tensor([-12.0], dtype=torch.float64, requires_grad=True)
    flat, steep = (torch.autograd.grad(generator_cost(s, loss).sum(), s)[0] for loss in LOGARITHMIC)
    assert -1e-5 < flat < 0
    assert -1 < steep < -0.999


@pytest.mark.parametrize(
    ("loss", "best"),
    [
        ("minimax", lambda p, q: math.log(p / q)),
        ("non-saturating", lambda p, q: math.log(p / q)),
        ("least-squares", lambda p, q: p / (p + q)),
        ("hinge", lambda p, q: 1.0 if p > q else -1.0),
    ],
)
@pytest.mark.parametrize(("p", "q"), [(0.3, 0.1), (0.2, 0.7), (0.5, 0.4)])
def test_the_best_score_where_real_has_density_p_and_generated_q(loss, best, p, q):
    """By trying all scores on a fine grid; for the first two D = p / (p + q)."""
    grid = torch.linspace(-4, 4, 80001, dtype=torch.float64)
    costs = p * real_cost(grid, loss) + q * fake_cost(grid, loss)
    assert float(grid[costs.argmin()]) == pytest.approx(best(p, q), abs=1e-3)


def network(seed=0):
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.Tanh(), torch.nn.Linear(5, 1)).double()


def test_slopes_equal_differences():
    net, x, step = network(), numbers(4, 3), 1e-6
    ours = slopes(net(x.requires_grad_())[:, 0], x)
    with torch.no_grad():
        parts = [(net(x + step * e) - net(x - step * e))[:, 0] / (2 * step) for e in torch.eye(3, dtype=torch.float64)]
    torch.testing.assert_close(ours, torch.stack(parts, 1).norm(dim=1), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("one_sided", [False, True])
def test_the_gradient_of_the_penalty_in_the_weights_equals_differences(one_sided):
    net, x, step = network(1), numbers(6, 3).requires_grad_(), 1e-6
    for parameter in net.parameters():
        parameter.data.mul_(3)  # so that some slopes are above 1

    def penalty():
        return slope_penalty(slopes(net(x)[:, 0], x), one_sided)

    found = slopes(net(x)[:, 0], x)
    assert (found > 1).any()
    assert (found < 1).any()
    penalty().sum().backward()
    for parameter in (net[0].weight, net[0].bias, net[2].weight):
        flat = parameter.data.view(-1)
        for k in range(0, len(flat), 4):
            before = flat[k].item()
            flat[k] = before + step
            above = penalty().sum().item()
            flat[k] = before - step
            below = penalty().sum().item()
            flat[k] = before
            assert parameter.grad.view(-1)[k].item() == pytest.approx((above - below) / (2 * step), rel=1e-5, abs=1e-7)


def test_the_penalty_of_a_linear_score_is_known():
    x = numbers(3, 2, 2, 1).requires_grad_()
    weight = torch.tensor([[3.0], [4.0]], dtype=torch.float64)[None]  # twice, so the slope is √50
    found = slopes((x * weight[..., None].expand(3, 2, 1, 1)).flatten(1).sum(1) + 7, x)
    torch.testing.assert_close(found, torch.full((3,), math.sqrt(50), dtype=torch.float64))
    torch.testing.assert_close(slope_penalty(found), torch.full((3,), (math.sqrt(50) - 1) ** 2, dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_flat_score_has_a_penalty_of_one_and_no_nan(dtype):
    weight = torch.zeros(2, dtype=dtype, requires_grad=True)
    x = torch.ones(3, 2, dtype=dtype, requires_grad=True)
    costs = slope_penalty(slopes(x @ weight, x))
    costs.sum().backward()
    torch.testing.assert_close(costs.detach(), torch.ones(3, dtype=dtype))
    assert weight.grad.isfinite().all()
