"""Importance sampling: variances against theory for several proposals, normalizers, weights that would overflow."""

import math

import pytest
import torch

from danlu.sampling import Distribution, ImportanceSample, importance_sample, log_mean_exp, weights_sample_size

P = torch.tensor([0.5, 0.2, 0.15, 0.1, 0.04, 0.01], dtype=torch.double)  # crates: the fraction of fruit in each
F = torch.tensor([1.0, -2.0, 4.0, 0.5, 8.0, -30.0], dtype=torch.double)  # weight of a fruit
Z = 7.0
MEAN = float(P @ F)
OPTIMAL = P * F.abs() / (P * F.abs()).sum()
OPTIMAL_NORMALIZED = P * (F - MEAN).abs() / (P * (F - MEAN).abs()).sum()
PROPOSALS = {
    "uniform": torch.full_like(P, 1 / 6),
    "p": P,
    "p |f|": OPTIMAL,
    "p |f - E f|": OPTIMAL_NORMALIZED,
    "mixture": (P + OPTIMAL) / 2,
}
REPEATS, COUNT = 20_000, 100


def categorical(q):
    return Distribution(lambda x: q.log()[x], lambda n, g: torch.multinomial(q, n, replacement=True, generator=g))


def plain_variance(q):
    """n times the variance of the plain estimate of E f: Σ p² f² / q − (E f)²."""
    return float((P.square() * F.square() / q).sum()) - MEAN**2


def normalized_variance(q):
    """n times the asymptotic variance of the self-normalized estimate: Σ p² (f − E f)² / q."""
    return float((P.square() * (F - MEAN).square() / q).sum())


def repeated(q, count, repeats=REPEATS):
    """Weights and values of many samples at once, with the functions of the library applied to each."""
    sample = importance_sample(lambda x: (Z * P).log()[x], categorical(q), repeats * count, seed=1)
    return sample.log_weights.view(repeats, count), F[sample.x].view(repeats, count)


@pytest.mark.parametrize("name", PROPOSALS)
def test_the_variance_of_the_plain_estimate_is_that_of_theory(name):
    q = PROPOSALS[name]
    log_weights, values = repeated(q, COUNT)
    estimates = (log_weights.exp() * values).mean(1) / Z
    exact = plain_variance(q) / COUNT
    assert abs(float(estimates.mean()) - MEAN) < 4 * math.sqrt(exact / REPEATS)
    kurtosis = float((estimates - MEAN).pow(4).mean() / estimates.var().square())
    assert abs(float(estimates.var()) / exact - 1) < 4 * math.sqrt((kurtosis - 1) / REPEATS)
    one = ImportanceSample(torch.zeros(COUNT), log_weights[0]).plain(values[0])
    assert abs(one.value / Z - float(estimates[0])) < 1e-12
    assert abs(one.standard_error - Z * float((log_weights[0].exp() * values[0] / Z).std()) / math.sqrt(COUNT)) < 1e-12


@pytest.mark.parametrize("name", PROPOSALS)
def test_the_variance_of_the_normalized_estimate_is_that_of_theory(name):
    q, count = PROPOSALS[name], 1000
    log_weights, values = repeated(q, count, repeats=3000)
    weights = log_weights.softmax(1)
    estimates = (weights * values).sum(1)
    exact = normalized_variance(q) / count
    assert abs(float((estimates - MEAN).square().mean()) / exact - 1) < 0.1
    found = [
        ImportanceSample(torch.zeros(count), row).normalized(f)
        for row, f in zip(log_weights[:200], values, strict=False)
    ]
    torch.testing.assert_close(torch.tensor([one.value for one in found], dtype=torch.double), estimates[:200])
    squared = torch.tensor([one.standard_error for one in found], dtype=torch.double).square()
    assert abs(float(squared.mean()) / exact - 1) < 0.15


def test_no_proposal_is_better_than_the_optimal_one():
    plain = {name: plain_variance(q) for name, q in PROPOSALS.items()}
    normalized = {name: normalized_variance(q) for name, q in PROPOSALS.items()}
    assert min(plain, key=plain.__getitem__) == "p |f|"
    assert min(normalized, key=normalized.__getitem__) == "p |f - E f|"
    measured = {
        name: float((w.exp() * f).mean(1).var()) for name in PROPOSALS for w, f in [repeated(PROPOSALS[name], 50)]
    }
    assert min(measured, key=measured.__getitem__) == "p |f|"


def test_the_optimal_proposal_of_a_positive_function_has_no_variance():
    f = torch.arange(1.0, 7.0, dtype=torch.double)
    sample = importance_sample(lambda x: (Z * P).log()[x], categorical(P * f / (P @ f)), 10)
    estimate = sample.plain(f[sample.x])
    assert abs(estimate.value - Z * float(P @ f)) < 1e-12
    assert estimate.standard_error < 1e-12


def test_the_normalizer_within_its_error_for_most_seeds():
    inside = 0
    for seed in range(40):
        estimate = importance_sample(lambda x: (Z * P).log()[x], categorical(PROPOSALS["uniform"]), 400, seed).log_z()
        inside += abs(estimate.value - math.log(Z)) < 2 * estimate.standard_error
    assert 33 <= inside <= 40  # 95% of 40


def test_weights_that_overflow_or_vanish():
    log_weights = torch.tensor([0.0, math.log(3.0), -torch.inf], dtype=torch.double)
    values = torch.tensor([1.0, 2.0, 50.0], dtype=torch.double)
    for shift in (0.0, 5000.0, -5000.0):
        sample = ImportanceSample(torch.zeros(3), log_weights + shift)
        assert abs(sample.normalized(values).value - 7 / 4) < 1e-12
        assert abs(sample.effective_sample_size() - 16 / 10) < 1e-12
        plain = sample.plain(values).value
        if shift == 0:
            assert abs(plain - 7 / 3) < 1e-12
        else:
            assert plain == (math.inf if shift > 0 else 0)
        value, error = sample.log_z()
        assert abs(value - shift - math.log(4 / 3)) < 1e-12
        weights = torch.tensor([1.0, 3.0, 0.0], dtype=torch.double)
        assert abs(error - float(weights.std() / weights.mean()) / math.sqrt(3)) < 1e-12


def test_equal_weights():
    assert weights_sample_size(torch.full((7,), -800.0, dtype=torch.double)) == pytest.approx(7, rel=1e-12)
    value, error = log_mean_exp(torch.full((7,), -800.0, dtype=torch.double))
    assert (value, error) == pytest.approx((-800.0, 0.0), abs=1e-7)


def test_weights_are_in_float64_and_draws_are_seeded():
    normal = Distribution(
        lambda x: -x.square() / 2 - math.log(2 * math.pi) / 2, lambda n, g: torch.randn(n, generator=g)
    )
    samples = [importance_sample(lambda x: -x.square(), normal, 1000, seed) for seed in (0, 0, 1)]
    assert samples[0].x.equal(samples[1].x)
    assert not samples[0].x.equal(samples[2].x)
    assert samples[0].log_weights.dtype == torch.float64
    log_z = samples[0].log_z()
    assert abs(log_z.value - math.log(math.pi) / 2) < 4 * log_z.standard_error
    assert samples[0].pareto_k() < 0.5
    narrow = importance_sample(lambda x: -x.square() / 8, normal, 1000)  # weights exp(3 x² / 8): infinite variance
    assert narrow.pareto_k() > 0.5


@pytest.mark.unchecked
def test_errors():
    base = categorical(P)
    for density, message in [
        (lambda x: torch.zeros(3), r"the log-density has shape \(3,\), must be \(10,\)"),
        (lambda x: torch.full((len(x),), torch.nan), "the log-weight of draw 0 is nan"),
        (lambda x: torch.full((len(x),), torch.inf), "the log-weight of draw 0 is inf"),
        (lambda x: torch.full((len(x),), -torch.inf), "all weights are 0: no draw of the proposal"),
    ]:
        with pytest.raises(ValueError, match=message):
            importance_sample(density, base, 10)
    with pytest.raises(ValueError, match="count=1 must be at least 2"):
        importance_sample(lambda x: P.log()[x], base, 1)
    sample = importance_sample(lambda x: P.log()[x], base, 10)
    for estimate in (sample.plain, sample.normalized):
        with pytest.raises(ValueError, match=r"values has shape \(9,\), must be \(10,\)"):
            estimate(torch.zeros(9))
