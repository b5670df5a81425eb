"""Receptive fields against the models' own formula and by hand, and verdicts with likelihoods that are made up."""

import functools
import math

import pytest
import torch
from scipy import stats

from danlu.data.datasets.digits import digits
from danlu.experiments.likelihood import blind_spot
from danlu.experiments.likelihood.blind_spot import ARMS, BLINDED, GATED, STACKED

LOG_2 = math.log(2)


@pytest.mark.parametrize("arm", [STACKED, GATED])
@pytest.mark.parametrize("layers", [2, 3, 16])
def test_the_geometry_is_that_of_the_models(arm, layers):
    """``visible_pixels`` adds up the steps of the layers; here the field has a closed form."""
    model = blind_spot.network(arm, (1, 15, 15), layers, 2, 2, 0)
    row, column = blind_spot.ROW, blind_spot.COLUMN
    expected = {(row + up, column + right) for up, right in model.visible_pixels()}
    field = blind_spot.predicted_field(arm, layers)
    assert {(i, j) for i in range(15) for j in range(15) if field[i][j]} == {
        (i, j) for i, j in expected if 0 <= i < 15 and 0 <= j < 15
    }


def test_the_number_of_blind_pixels_by_hand():
    """From the middle of the last row of 15: 7 pixels to the right, of which the first r are seen in row r above."""
    blind = blind_spot.unseen(blind_spot.predicted_field(STACKED, 20))
    assert blind == sum(7 - r for r in range(1, 8)) == 21
    assert blind_spot.unseen(blind_spot.predicted_field(GATED, 20)) == 0
    assert blind_spot.unseen(blind_spot.predicted_field(GATED, 1)) == 14 * 15 + 7 - 4


@pytest.mark.parametrize("arm", ARMS)
def test_the_field_from_gradients_is_that_of_the_geometry(arm):
    model = blind_spot.network(arm, (1, 15, 15), 4, blind_spot.CHANNELS, 2, 0)
    assert blind_spot.receptive_field(model, 0) == blind_spot.predicted_field(arm, 4)


def test_only_the_weights_of_the_right_part_of_a_row_differ():
    """The network with a blind spot has the same weights otherwise, and training does not change those that are 0."""
    shape = blind_spot.COPY_SHAPE
    plain, blinded = (blind_spot.network(arm, shape, 3, 2, 2, 0) for arm in (GATED, BLINDED))
    part = blind_spot.Part({"image": blind_spot.shifted_rows(0)})
    for updates in (0, 2):
        if updates:
            blind_spot.train(blinded, part, blind_spot.ImageInfo(shape, levels=2), updates, 0)
        first, *later = (layer.vertical for layer in blinded.layers)
        assert first.weight.count_nonzero() == first.weight.numel()
        for layer in later:
            assert layer.weight[:, :, -1, 2].count_nonzero() == 0
            assert layer.weight[:, :, -1, :2].count_nonzero() == layer.weight[:, :, -1, :2].numel()
        assert torch.equal(plain.layers[1].vertical.weight[..., :2], later[0].weight[..., :2]) == (not updates)


def test_copied_pixels_are_in_the_blind_spot_and_others_are_random():
    images = blind_spot.shifted_rows(0)[:, 0]
    assert images[:, 1:, :-2].equal(images[:, :-1, 2:])
    assert images[:, 0].mean() == pytest.approx(0.5, abs=0.05)
    assert images[:, 1:, -2:].mean() == pytest.approx(0.5, abs=0.05)
    for up in (1, 2, 3):  # the source, and its own sources
        assert not blind_spot.predicted_field(STACKED, 9, 15)[blind_spot.ROW - up][blind_spot.COLUMN + 2 * up]
        assert blind_spot.predicted_field(GATED, 9, 15)[blind_spot.ROW - up][blind_spot.COLUMN + 2 * up]


def test_nats_per_copy_by_hand():
    """32 pixels, of which 8 + 3 * 2 are random and 3 * 6 are copies."""
    assert blind_spot.nats_per_copy(14 * LOG_2) == pytest.approx(0.0)
    assert blind_spot.nats_per_copy(32 * LOG_2) == pytest.approx(LOG_2)


def test_independent_pixels_are_categorical_distributions():
    data = digits()
    train, test = ((16 * part["image"]).round().flatten(1).numpy() for part in (data.train, data.test))
    expected = 0.0
    for pixel in range(64):
        counts = [(train[:, pixel] == level).sum() + 0.1 for level in range(17)]
        expected -= stats.rv_discrete(values=(range(17), [c / sum(counts) for c in counts])).logpmf(test[:, pixel])
    found = blind_spot.independent_pixels(data.train["image"], data.test["image"], 17)
    assert found == pytest.approx(expected.mean(), rel=1e-5)


FIELDS = functools.cache(blind_spot.measure_fields)


def verdict(monkeypatch, nats, copy, fields=FIELDS):
    """The verdict with made-up likelihoods of each arm, up to differences between seeds of a thousandth."""
    monkeypatch.setattr(blind_spot, "measure_fields", fields)
    monkeypatch.setattr(
        blind_spot,
        "measure_likelihoods",
        lambda arm, seed, *_: {"nats": nats[arm] * (1 + seed % 7 * 1e-4), "copy": copy[arm]},
    )
    monkeypatch.setattr(blind_spot, "DEPTHS", (2, 3, 14))
    return blind_spot.EXPERIMENT.run(quick=True).verdict


EQUAL = dict.fromkeys(ARMS, 85.0)
LEARNED = {STACKED: LOG_2, GATED: 0.001, BLINDED: LOG_2}


def test_the_verdict_with_a_small_cost_and_without_any_cost(monkeypatch):
    found = verdict(monkeypatch, {**EQUAL, BLINDED: 86.0}, LEARNED)
    assert found.word == "holds with limits"
    assert "21 of the 217 pixels" in found.reason
    assert "is not learned" in found.reason
    assert verdict(monkeypatch, EQUAL, dict.fromkeys(ARMS, 0.001)).word == "holds"


def test_a_large_cost_is_no_small_one(monkeypatch):
    found = verdict(monkeypatch, {**EQUAL, BLINDED: 95.0}, LEARNED).judgment
    assert found.refuted(blind_spot.SMALL.clause)


def test_networks_that_learn_nothing_decide_nothing(monkeypatch):
    assert verdict(monkeypatch, dict.fromkeys(ARMS, 107.0), LEARNED).word == "not decided"
    assert verdict(monkeypatch, EQUAL, dict.fromkeys(ARMS, LOG_2)).word == "not decided"


def test_exchanged_networks_decide_nothing(monkeypatch):
    """The receptive fields are not those of the geometry."""
    right = blind_spot.network
    names = {STACKED: GATED, GATED: STACKED, BLINDED: BLINDED}
    monkeypatch.setattr(blind_spot, "network", lambda arm, *args: right(names[arm], *args))
    found = verdict(monkeypatch, EQUAL, LEARNED, blind_spot.measure_fields)
    assert found.word == "not decided"
    wrong = [found.judgment.finding(gate.clause).state for gate in blind_spot.CRITERIA.gates[:3]]
    assert wrong == ["refuted", "refuted", "supported"]
    assert found.judgment.refuted(blind_spot.BLIND.clause)
    assert found.judgment.refuted(blind_spot.NONE.clause)


def test_a_spot_that_is_not_blind_is_noticed(monkeypatch):
    monkeypatch.setattr(blind_spot, "with_blind_spot", lambda model: model)
    found = verdict(monkeypatch, EQUAL, LEARNED, blind_spot.measure_fields)
    assert (found.word, f"at every depth: {BLINDED}" in found.reason) == ("not decided", True)
