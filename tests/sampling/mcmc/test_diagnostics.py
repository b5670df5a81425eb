"""R-hat, effective sample size and Pareto k: those of arviz-stats, and known values."""

import math
import runpy
import sys
from pathlib import Path

import pytest
import torch
from arviz_stats.base import array_stats
from scipy.stats import genpareto

from danlu.sampling import MetropolisHastings, NormalWalk, effective_sample_size, pareto_k, rhat, run_chains
from danlu.sampling.mcmc import chains

FOLDER = Path(chains.__file__).parent


def autoregressive(coefficient, chains, draws, seed=0):
    """Stationary chains x' = c x + √(1 − c²) ξ: draws count as (1 − c) / (1 + c) independent ones."""
    noise = torch.randn(draws, chains, generator=torch.Generator().manual_seed(seed), dtype=torch.double)
    values = [noise[0]]
    for xi in noise[1:]:
        values.append(coefficient * values[-1] + math.sqrt(1 - coefficient**2) * xi)
    return torch.stack(values, 1)


def test_the_values_are_those_of_arviz_stats_for_each_coordinate():
    kernel = MetropolisHastings(lambda x: -x.square().sum((1, 2)) / 2, NormalWalk(0.8))
    run = run_chains(kernel, torch.zeros(4, 2, 3), draws=50)
    for number in range(6):
        one = run.values.flatten(2)[:, :, number].double().numpy()  # (chains, draws), as arviz-stats takes them
        position = divmod(number, 3)
        assert float(run.rhat()[position]) == array_stats.rhat(one)
        for method, prob in (("bulk", None), ("tail", (0.05, 0.95)), ("mean", None)):
            expected = array_stats.ess(one, method=method, prob=prob)
            assert float(run.effective_sample_size(method)[position]) == expected
    assert run.rhat().shape == (2, 3)
    assert run.rhat().dtype == torch.float64


@pytest.mark.parametrize("coefficient", [0.0, 0.5, 0.9, -0.4])
@pytest.mark.parametrize("method", ["bulk", "mean"])
def test_the_effective_sample_size_of_an_autoregressive_chain(coefficient, method):
    chains, draws = 8, 4000
    exact = chains * draws * (1 - coefficient) / (1 + coefficient)
    found = effective_sample_size(autoregressive(coefficient, chains, draws), method)
    assert abs(float(found) / exact - 1) < 0.1
    assert found.shape == ()


def test_rhat_is_that_of_shifted_chains():
    """Half of the chains shifted by d: between-chain variance d²/4, so R-hat is √(1 + d²/4) for the plain formula."""
    values = autoregressive(0.0, 200, 400)
    assert float(rhat(values)) < 1.01
    values[:100] += 0.3
    assert abs(float(rhat(values)) - math.sqrt(1 + 0.3**2 / 4)) < 0.003


def test_integers_and_constants():
    values = torch.randint(0, 2, (4, 100, 2), generator=torch.Generator().manual_seed(0))
    values[..., 1] = 1
    found = rhat(values)
    assert float(found[0]) < 1.1
    assert bool(found[1].isnan())


@pytest.mark.parametrize("k", [0.2, 0.5, 0.9])
def test_pareto_k_is_the_shape_of_the_tail(k):
    uniform = torch.rand(100_000, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    log_weights = -k * uniform.log() + 700  # would overflow without the logarithm
    found = pareto_k(log_weights)
    tail = int(3 * math.sqrt(len(log_weights)))
    assert abs(found - k) < 4 * (1 + k) / math.sqrt(tail)  # standard deviation of the maximum likelihood estimate
    weights = (log_weights - log_weights.max()).exp().sort().values
    exceedances = weights[-tail:] - weights[-tail - 1]
    fitted = genpareto.fit((exceedances / exceedances.mean()).numpy(), floc=0)[0]
    assert abs(found - fitted) < 0.03


def test_pareto_k_of_bounded_weights_is_small():
    uniform = torch.rand(10_000, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    assert pareto_k(uniform.log()) < 0
    assert pareto_k(torch.zeros(100)) == -math.inf
    some_zero = torch.cat([torch.full((50,), -torch.inf), torch.linspace(0, 1, 50)])
    assert math.isfinite(pareto_k(some_zero))


@pytest.mark.unchecked
def test_errors():
    with pytest.raises(ValueError, match="Pareto k needs at least 25 weights, got 24"):
        pareto_k(torch.zeros(24))
    for shape in [(1, 100), (4, 3), (100,)]:
        with pytest.raises(ValueError, match=r"R-hat needs draws \(chains, draws, ...\) with at least 2 and 4 of them"):
            rhat(torch.zeros(shape))
    with pytest.raises(ValueError, match=r"the effective sample size needs draws .* at least 1 and 4 of them"):
        effective_sample_size(torch.zeros(1, 3))
    with pytest.raises(ValueError, match="method='fast' must be 'bulk', 'tail' or 'mean'"):
        effective_sample_size(torch.zeros(4, 10), "fast")


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_modules_do_not_import_arviz_stats(path, monkeypatch):
    for name in ("arviz_stats", "arviz_stats.base", "scipy"):
        monkeypatch.setitem(sys.modules, name, None)  # importing it is an error
    module = runpy.run_path(str(path))
    if path.stem == "diagnostics":
        with pytest.raises(ImportError):
            module["rhat"](torch.zeros(4, 10))
