"""Schedules against torch's and against the papers' formulas; and what a descent refuses."""

import math
from fractions import Fraction

import pytest
import torch
from pydantic import ValidationError
from torch.optim import lr_scheduler

from danlu.training import OptimizerSettings
from danlu.training.optimization import schedules

PEAK = 0.2


def torchs(make, rounds):
    """The learning rates that a scheduler of torch sets in each round."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=PEAK)
    scheduler, rates = make(optimizer), []
    for _ in range(rounds):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step() if len(rates) < rounds else None
    return rates


def ours(descent, rounds):
    return [PEAK * descent.factor(round, rounds) for round in range(rounds)]


def same(a, b):
    assert a == pytest.approx(b, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("rounds", [4, 10, 37, 100])
def test_one_cycle_is_torchs(rounds):
    expected = torchs(
        lambda o: lr_scheduler.OneCycleLR(o, PEAK, total_steps=rounds, anneal_strategy="cos", cycle_momentum=False),
        rounds,
    )
    same(ours(OptimizerSettings(schedule="one_cycle"), rounds), expected)


@pytest.mark.parametrize("rounds", [2, 10, 37])
@pytest.mark.parametrize("floor", [0.0, 0.1])
def test_cosine_is_torchs(rounds, floor):
    """torch counts steps between rates, of which there is one less than rounds."""
    expected = torchs(lambda o: lr_scheduler.CosineAnnealingLR(o, rounds - 1, eta_min=floor * PEAK), rounds)
    same(ours(OptimizerSettings(schedule="cosine", floor=floor), rounds), expected)


@pytest.mark.parametrize("milestones", [(0.5, 0.75), (0.3,), (0.0, 0.33, 0.34)])
@pytest.mark.parametrize("gamma", [0.1, 0.5])
def test_step_is_torchs(milestones, gamma):
    rounds = 40
    at = [math.ceil(Fraction(str(fraction)) * rounds) for fraction in milestones]
    expected = torchs(lambda o: lr_scheduler.MultiStepLR(o, [m for m in at if m > 0], gamma), rounds)
    late = gamma ** at.count(0)  # torch's first milestone comes after the first step
    same(
        ours(OptimizerSettings(schedule="step", milestones=milestones, gamma=gamma), rounds),
        [late * e for e in expected],
    )


@pytest.mark.parametrize("rounds", [2, 10])
@pytest.mark.parametrize("floor", [0.0, 0.25])
def test_linear_is_torchs(rounds, floor):
    expected = torchs(lambda o: lr_scheduler.LinearLR(o, 1.0, max(floor, 0.0), total_iters=rounds - 1), rounds)
    same(ours(OptimizerSettings(schedule="linear", floor=floor), rounds), expected)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
@pytest.mark.parametrize("floor", [None, 0.0, 0.1])
@pytest.mark.parametrize("rounds", [1, 2, 3, 10, 1000])
@pytest.mark.parametrize("warmup", [0, 1, 2, 9])
def test_the_last_round_has_the_floor_and_the_round_after_the_warm_up_the_peak(schedule, floor, rounds, warmup):
    settings = OptimizerSettings(schedule=schedule, floor=floor, warmup=warmup)
    last = settings.factor(rounds - 1, rounds)
    if warmup >= rounds:  # no round is left for the decay
        assert last == rounds / warmup
        return
    assert last == (floor or 0.0)
    if warmup < rounds - 1:
        assert settings.factor(warmup, rounds) == pytest.approx(1)
    if warmup:
        assert settings.factor(warmup - 1, rounds) == pytest.approx(1)


@pytest.mark.parametrize("rounds", [1, 2, 10])
def test_the_last_round_of_the_other_schedules(rounds):
    assert OptimizerSettings().factor(rounds - 1, rounds) == 1
    assert OptimizerSettings(schedule="one_cycle").factor(rounds - 1, rounds) == pytest.approx(1e-4 / 25)
    after = {1: 1, 2: 0.1, 10: 0.01}  # the milestones 0.5 and 0.75 that are behind rounds 0, 1 and 9
    assert OptimizerSettings(schedule="step").factor(rounds - 1, rounds) == pytest.approx(after[rounds])
    after_warm_up = OptimizerSettings(schedule="inverse_sqrt", warmup=1).factor(rounds - 1, rounds)
    assert after_warm_up == pytest.approx(rounds**-0.5)


def test_no_milestones_are_no_steps():
    settings = OptimizerSettings(schedule="step", milestones=())
    assert [settings.factor(t, 100) for t in (0, 50, 75, 99)] == [1] * 4


def test_a_milestone_is_an_exact_fraction_of_the_training():
    """In doubles 0.7 · 10 exceeds 7, for one of many."""
    for rounds in (3, 10, 30, 70, 1000):
        for percent in range(1, 100):
            settings = OptimizerSettings(schedule="step", milestones=(percent / 100,))
            first = math.ceil(Fraction(percent, 100) * rounds)
            assert settings.factor(first - 1, rounds) == 1
            assert first == rounds or settings.factor(first, rounds) == 0.1


@pytest.mark.parametrize(("width", "warmup"), [(512, 4000), (64, 10), (16, 1)])
def test_inverse_sqrt_is_equation_3_of_attention_is_all_you_need(width, warmup):
    """d^(-1/2) · min(t^(-1/2), t · w^(-3/2)), with the peak (d·w)^(-1/2); the step number t counts from 1."""
    descent = OptimizerSettings(schedule="inverse_sqrt", warmup=warmup, lr=(width * warmup) ** -0.5)
    for t in (1, 2, 5, warmup - 1, warmup, warmup + 1, 10 * warmup):
        if t >= 1:
            expected = width**-0.5 * min(t**-0.5, t * warmup**-1.5)
            assert descent.lr * descent.factor(t - 1, 100_000) == pytest.approx(expected, rel=1e-12)


def test_warm_up_rises_in_equal_steps_to_the_peak_and_stays():
    assert [schedules.warm_up(t, 5) for t in range(7)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1, 1])
    assert [schedules.warm_up(t, 0) for t in range(3)] == [1, 1, 1]


@pytest.mark.parametrize("floor", [0.0, 0.1])
def test_a_warm_up_comes_before_a_course_that_takes_the_rounds_that_are_left(floor):
    warmup, rounds = 4, 20
    left = rounds - warmup
    rise = [(t + 1) / warmup for t in range(warmup)]
    fall = [t / (left - 1) for t in range(left)]
    linear = rise + [1 - (1 - floor) * fraction for fraction in fall]
    cosine = rise + [floor + (1 - floor) * (1 + math.cos(math.pi * fraction)) / 2 for fraction in fall]
    for name, expected in (("linear", linear), ("cosine", cosine), ("constant", rise + [1.0] * left)):
        descent = OptimizerSettings(schedule=name, warmup=warmup, floor=None if name == "constant" else floor)
        assert [descent.factor(t, rounds) for t in range(rounds)] == pytest.approx(expected)


def test_a_warm_up_and_steps_multiply():
    descent = OptimizerSettings(schedule="step", warmup=4, milestones=(0.2,), gamma=0.5)
    assert [descent.factor(t, 10) for t in range(5)] == pytest.approx([0.25, 0.5, 0.75 * 0.5, 0.5, 0.5])


WARMUPS = {
    "one_cycle": [0],  # it has a warm-up of its own
    "inverse_sqrt": [1, 5, 30],  # it needs one
    **{name: [0, 1, 5, 30] for name in ("constant", "linear", "cosine", "step")},
}


@pytest.mark.parametrize(("schedule", "warmup"), [(name, warmup) for name in WARMUPS for warmup in WARMUPS[name]])
@pytest.mark.parametrize("rounds", [1, 2, 3, 11])
def test_no_course_leaves_the_range_from_0_to_1_also_in_very_short_runs(schedule, rounds, warmup):
    factors = [OptimizerSettings(schedule=schedule, warmup=warmup).factor(t, rounds) for t in range(rounds)]
    assert all(0 <= factor <= 1 for factor in factors)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizer": "sgd", "momentum": 0.9}, "'sgd' has no momentum; supported by: momentum, nesterov"),
        ({"optimizer": "adam", "momentum": 0.9}, "'adam' has no momentum"),
        ({"optimizer": "rmsprop", "betas": (0.9, 0.99)}, "'rmsprop' has no betas; supported by: adam, adamw"),
        ({"optimizer": "momentum", "eps": 1e-8}, "'momentum' has no eps"),
        ({"optimizer": "muon", "eps_inside": True}, "eps_inside is for adam and adamw, not for 'muon'"),
        ({"optimizer": "nesterov", "momentum": 0.0}, "momentum"),
        ({"schedule": "inverse_sqrt"}, "'inverse_sqrt' needs warmup"),
        ({"schedule": "one_cycle", "warmup": 5}, "'one_cycle' has its own warm-up"),
        ({"optimizer": "adamm"}, "optimizer"),
        ({"schedule": "cosin"}, "schedule"),
        ({"learning_rate": 0.1}, "learning_rate"),
        ({"lr": 0.0}, "lr"),
        ({"lr": math.inf}, "lr"),
        ({"weight_decay": -0.1}, "weight_decay"),
        ({"grad_clip": 0.0}, "clip"),
        ({"ema": 1.0}, "ema"),
        ({"milestones": (0.5, 1.0)}, "milestones"),
        ({"warmup": -1}, "warmup"),
    ],
)
def test_what_a_descent_refuses(settings, message):
    with pytest.raises(ValidationError, match=message):
        OptimizerSettings(**settings)


def test_a_descent_does_not_change():
    with pytest.raises(ValidationError):
        OptimizerSettings().lr = 0.1
