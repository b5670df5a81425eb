"""The experiment on overfitting: its parts of the digits, what is trained on them, and remedies without effect."""

import pytest

from danlu.data import digits
from danlu.experiments.networks import overfitting


def pictures(*parts):
    return sorted(tuple(image.flatten().tolist()) for part in parts for image in part["image"])


def test_all_labels_are_of_the_200_and_the_test_digits_are_all_others():
    of = overfitting.labels(3)
    assert [len(part) for part in of] == [200, 160, 40, overfitting.DIGITS - 200]
    assert pictures(of.training, of.held_out) == pictures(of.all)
    whole = digits()
    assert pictures(of.all, of.test) == pictures(whole.train, whole.validation, whole.test)


def test_networks_are_trained_on_the_200_digits_or_on_those_that_are_not_held_out(monkeypatch):
    seen = []
    real = overfitting._trainer
    monkeypatch.setattr(
        overfitting, "_trainer", lambda remedy, part, *rest: seen.append(part) or real(remedy, part, *rest)
    )
    of = overfitting.labels(5)
    for remedy, part in ((overfitting.Remedy(), of.all), (overfitting.Remedy(patience=5), of.training)):
        found = overfitting.learn(remedy, part, of, 1, 5)
        assert found["gap"] == pytest.approx(found["test loss"] - found["training loss"])
        assert (seen[-1] is part, found["test loss"] > 1) == (True, True)
    two = {name: overfitting.Remedy(l2=l2) for name, l2 in (("weak", 0.0), ("absurd", 1e4))}
    assert overfitting.strongest(two, of, 2, 5)[0] == "weak"
    assert all(part is of.training for part in seen[-2:])


def test_early_stopping_keeps_the_round_with_the_lowest_loss_on_the_held_out_digits(monkeypatch):
    monkeypatch.setattr(overfitting, "EVERY", 2)
    losses = iter([0.5, 0.3, 0.4, 0.6, 9.0])
    of = overfitting.labels(5)

    def evaluated(trainer, part):
        held_out = part is of.held_out
        return {"cross_entropy": next(losses) if held_out else 1.0, "accuracy": 0.5}

    monkeypatch.setattr(overfitting, "evaluate", evaluated)
    assert overfitting.learn(overfitting.Remedy(patience=2), of.training, of, 30, 5)["rounds"] == 4
    assert next(losses) == 9.0  # after two evaluations without a lower loss there is no other


@pytest.mark.long
def test_remedies_without_effect_are_refuted(monkeypatch):
    nothing = {name: {"none": overfitting.Remedy()} for name in overfitting.STRENGTHS}
    monkeypatch.setattr(overfitting, "STRENGTHS", nothing)
    judgment = overfitting.EXPERIMENT.run(quick=True).verdict.judgment
    for name in nothing:
        assert judgment.finding(overfitting.LESS_GAP[name].clause).state == "refuted"
