"""Learning rates of a player that is trained in a part of the rounds."""

import pytest

from danlu.training import OptimizerSettings, PhaseSettings

SETTINGS = OptimizerSettings(lr=0.1, schedule="cosine", warmup=3, grad_clip=5.0)


@pytest.mark.parametrize(("start", "stop", "rounds"), [(0, 20, 50), (20, None, 50), (5, 9, 10), (0, None, 50)])
def test_the_factors_in_a_phase_are_those_of_a_training_of_its_length(start, stop, rounds):
    phase, length = PhaseSettings.of(SETTINGS, start, stop), (stop or rounds) - start
    found = [phase.factor(start + number, rounds) for number in range(length)]
    assert found == [SETTINGS.factor(number, length) for number in range(length)]


def test_outside_of_the_phase_the_factors_are_those_of_its_ends():
    phase = PhaseSettings.of(SETTINGS, 10, 20)
    assert [phase.factor(number, 50) for number in (0, 20, 49)] == [phase.factor(number, 50) for number in (10, 19, 19)]


def test_the_other_settings_are_kept():
    phase = PhaseSettings.of(SETTINGS, 10, 20)
    assert {name: getattr(phase, name) for name in OptimizerSettings.model_fields} == dict(SETTINGS)
