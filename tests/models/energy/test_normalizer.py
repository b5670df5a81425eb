"""The kinds of a normalizer and its cache; moments of data that arrive in batches; states in their order."""

import copy
from dataclasses import replace

import pytest
import torch

from danlu.models import RBM
from danlu.models.energy.data_moments import DataMoments
from danlu.models.energy.enumeration import ROWS, all_states, log_sum_over_states
from danlu.models.energy.normalizer import estimated
from danlu.sampling import AnnealedEstimate


def estimate(error):
    return AnnealedEstimate(2.5, error, 7.0, torch.zeros(100), torch.zeros(100, 1))


def test_an_estimate_tells_its_error_or_that_it_is_unreliable():
    reliable, unreliable = estimated(estimate(0.25)), estimated(estimate(None))
    assert (reliable.kind, reliable.standard_error) == ("estimate", 0.25)
    assert str(reliable) == "log Z = 2.5, ± 0.25 (annealed importance sampling, effective sample size 7 of 100)"
    assert (unreliable.kind, unreliable.standard_error) == ("unreliable", None)
    assert "unreliable" in str(unreliable)
    assert "±" not in str(unreliable)


def test_a_copy_of_a_model_computes_its_own_normalizer():
    torch.manual_seed(0)
    model = RBM((3,), 2, weight_std=1.0)
    before = model.log_normalizer().value
    for other in (copy.deepcopy(model), RBM((3,), 2)):
        other.load_state_dict(model.state_dict())
        assert other.log_normalizer().value == before
        with torch.no_grad():
            other.weight += 1
        assert other.log_normalizer().value != before
    assert model.log_normalizer().value == before


def test_the_cache_keeps_each_set_of_arguments():
    model = RBM((20,), 20)
    few, more = model.log_normalizer(10, 5), model.log_normalizer(10, 6)
    assert model.log_normalizer(10, 5) is few
    assert model.log_normalizer(10, 6) is more
    model.double()
    assert model.log_normalizer(10, 5) is not few


def test_moments_of_batches_are_those_of_all_examples():
    x = torch.randn(100, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 3 + 100
    moments = DataMoments((3,)).double()
    assert moments.variance().tolist() == [1.0] * 3  # no examples
    for batch in x.split([1, 50, 49]):
        moments.add(batch)
    assert int(moments.count) == 100
    assert torch.allclose(moments.mean, x.mean(0), rtol=0, atol=1e-12)
    assert torch.allclose(moments.variance(), x.var(0, correction=0), rtol=0, atol=1e-10)


def test_all_states_are_there_once_also_in_several_passes():
    units = ROWS.bit_length()  # twice as many states as in a pass
    states = torch.cat(list(all_states(units, (-1.0, 1.0))))
    assert states.shape == (2 * ROWS, units)
    assert len(states.unique(dim=0)) == 2 * ROWS
    assert set(states.unique().tolist()) == {-1.0, 1.0}
    weights = torch.randn(units, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    total = log_sum_over_states(lambda s: s.double() @ weights, units, (-1.0, 1.0))
    assert float(total) == pytest.approx(float((2 * weights.cosh()).log().sum()), abs=1e-10)


def test_more_temperatures_are_used_until_the_estimate_is_reliable():
    class Counted(RBM):
        betas = (2, 3, 4)
        kinds = ()
        tried: list[int]

        def compute_log_normalizer(self, chains, betas, seed):
            self.tried.append(betas)
            kind = self.kinds[len(self.tried) - 1]
            size = {"unreliable": 3.0, "few": 20.0, "estimate": 40.0}[kind]
            found = estimated(estimate(None if kind == "unreliable" else 0.5))
            return replace(found, chains=chains, effective_sample_size=size)

    for kinds, tried in (
        (("estimate",), [2]),
        (("unreliable", "estimate"), [2, 3]),
        (("few", "estimate"), [2, 3]),
        (("unreliable", "unreliable", "unreliable"), [2, 3, 4]),
    ):
        model = Counted((2,), 2)
        model.kinds, model.tried = kinds, []
        assert model.log_normalizer().kind == kinds[-1]
        assert model.tried == tried
    model = Counted((2,), 2)
    model.kinds, model.tried = ("unreliable",), []
    assert model.log_normalizer(betas=7).kind == "unreliable"
    assert model.tried == [7]


def test_an_estimate_tells_its_temperatures():
    assert RBM((20,), 20).log_normalizer(10, 5).betas == 5
    assert RBM((2,), 2).log_normalizer(10, 5).betas == 0
