"""Contrastive learning: chains of each row, replay, restarts, statistics of the data, scores and their names."""

import pytest
import torch

from danlu.data.base.batch_stream import Batch
from danlu.data.base.dataset import Part
from danlu.data.images.info import ImageInfo
from danlu.data.tables.info import TableInfo
from danlu.models import RBM, LogNormalizer
from danlu.rng import generator
from danlu.tasks.contrastive import OBSERVED, PERSISTENT, Chains, Contrastive, normalizer_scores
from danlu.tasks.task import Place

ROWS, WIDTH, HIDDEN = 6, 4, 3


def batch(rows=slice(0, ROWS)):
    x = (torch.rand(ROWS, WIDTH, generator=generator("batch")) < 0.4).double()
    return Batch({"x": x[rows]}, rows, ROWS, torch.arange(ROWS)[rows])


def place(round, rows=slice(0, ROWS)):
    return Place(0, round, 0, rows, ROWS, torch.device("cpu"), torch.float64)


def task(chains=PERSISTENT, model=None):
    torch.manual_seed(0)
    return Contrastive(model or RBM((WIDTH,), HIDDEN, weight_std=0.5).double(), TableInfo((WIDTH,)), ROWS, chains)


def begun(chains=PERSISTENT):
    """A task whose chains have started."""
    one = task(chains)
    one.enter(place(0))
    one.observe(batch(), 0)
    return one


def fit(one, round=1, rows=slice(0, ROWS)):
    one.enter(place(round, rows))
    return one.fit(batch(rows))["contrast"]


def test_persistent_chains_go_on_and_a_single_slot_moves():
    one = begun(Chains(slots=4))
    before = one.chains.clone()
    assert set(before.unique().tolist()) == {0.0, 1.0}
    changed = torch.zeros(ROWS, 4, dtype=torch.bool)
    for round in range(1, 40):
        fit(one, round)
        moved = (one.chains != before).any(2)
        assert int(moved.sum(1).max()) <= 1
        changed |= moved
        before = one.chains.clone()
    assert bool(changed.all())


@pytest.mark.parametrize("chains", [Chains(), Chains(slots=3, restart=0.5, steps=2), Chains(start="data", steps=2)])
def test_parts_of_a_batch_move_their_chains_as_the_whole(chains):
    whole, parts = begun(chains), begun(chains)
    terms = fit(whole)
    halves = [fit(parts, rows=rows) for rows in (slice(0, 2), slice(2, ROWS))]
    assert torch.allclose(torch.cat(halves), terms, rtol=0, atol=1e-12)
    if chains.start == "persistent":
        assert torch.equal(whole.chains, parts.chains)


def test_restarted_chains_come_from_the_initial_state():
    """With probability 1 the previous state has no influence."""
    one, other = begun(Chains(restart=1.0)), begun(Chains(restart=1.0))
    other.chains.zero_()
    assert torch.equal(fit(one), fit(other))
    again, zeroed = begun(), begun()
    zeroed.chains.zero_()
    assert not torch.equal(fit(again), fit(zeroed))


def test_contrastive_divergence_starts_at_the_examples_and_keeps_no_chains():
    one = begun(Chains(start="data"))
    assert "chains" not in dict(one.named_buffers())
    with torch.no_grad():  # a machine whose chains cannot leave their examples
        one.energy_model.weight.copy_(100 * torch.eye(WIDTH, HIDDEN))
        one.energy_model.units.bias.fill_(-50.0)
        one.energy_model.units.bias[HIDDEN:] = torch.tensor([100.0])
        one.energy_model.bias.fill_(-50.0)
    x = batch()["x"].clone()
    x[:, HIDDEN:] = 1.0
    one.enter(place(1))
    terms = one.fit(Batch({"x": x}, slice(0, ROWS), ROWS, torch.arange(ROWS)))["contrast"]
    assert torch.allclose(terms, torch.zeros_like(terms), rtol=0, atol=1e-9)


def test_the_first_rounds_collect_the_statistics_of_the_data():
    one = task()
    assert [len(one.turns(round)) for round in (0, OBSERVED - 1, OBSERVED)] == [2, 2, 1]
    assert [one.draws(round) for round in (0, OBSERVED)] == [1, 1]
    one.enter(place(0))
    one.observe(batch(), 0)
    one.observe(batch(), 1)
    assert int(one.energy_model.units.moments.count) == 2 * ROWS
    assert torch.allclose(one.energy_model.units.moments.mean, batch()["x"].mean(0))


def test_the_names_of_scores_tell_how_the_normalizer_is_known():
    exact = LogNormalizer(1.0, "exact", 0.0, None, 0)
    estimate = LogNormalizer(1.0, "estimate", 0.5, 60.0, 100)
    unreliable = LogNormalizer(1.0, "unreliable", None, 3.0, 100)
    assert normalizer_scores("log_prob", -2.0, exact) == {"log_prob": -2.0}
    known = {"log_prob_estimate": -2.0, "log_prob_error": 0.5, "effective_chains": 60.0}
    assert normalizer_scores("log_prob", -2.0, estimate) == known
    scores = normalizer_scores("log_prob", -2.0, unreliable)
    assert scores == {"log_prob_unreliable": -2.0, "effective_chains": 3.0}


def test_the_log_likelihood_of_a_part_is_the_mean():
    one = begun()
    part = Part({"x": batch()["x"]})
    one.model.requires_grad_(False)
    assert one.scores_of_part(part) == {"log_prob": pytest.approx(float(one.model.log_prob(part["x"]).mean()))}
    one.likelihood = False
    assert one.scores_of_part(part) == {}


def test_discrete_values_get_noise_if_the_model_has_a_density():
    info = ImageInfo((1, 2, 2), levels=17)
    model = RBM((1, 2, 2), HIDDEN, visible="gaussian").double()
    one = Contrastive(model, info, ROWS)
    images = torch.randint(0, 17, (ROWS, 1, 2, 2), generator=generator("images")).double() / 16
    whole = Batch({"image": images}, slice(0, ROWS), ROWS, torch.arange(ROWS))
    one.enter(place(0))
    one.observe(whole, 0)
    mean = images.flatten(1).mean(0)  # the noise is centered
    assert 0 < float((model.units.moments.mean - mean).abs().max()) < 1 / 32
    scores = one.scores_of_part(Part({"image": images}))
    nats = float(model.log_prob(images).mean().detach())  # of the values without noise, per volume of a step
    assert scores["dequantized_log_prob"] == pytest.approx(nats + 4 * torch.tensor(1 / 16).log().item(), abs=2.0)


@pytest.mark.unchecked
def test_settings_without_an_effect_are_refused():
    for chains, message in (
        (Chains(steps=0), "steps=0 must be at least 1"),
        (Chains(slots=0), "slots=0 must be at least 1"),
        (Chains(restart=1.5), "restart=1.5 must be from 0 to 1"),
        (Chains(start="data", slots=2), "apply to persistent chains"),
        (Chains(start="data", restart=0.1), "apply to persistent chains"),
    ):
        with pytest.raises(ValueError, match=message):
            task(chains)
