"""Verdicts on numbers made by hand, each word of them."""

import math

import pytest

from danlu.experiments.networks import batchnorm, depth, line_detector, linear_collapse, overfitting, shift_invariance
from danlu.experiments.optimization import momentum, optimizers, sgd_noise

HOLDS, LIMITS, NOT = "holds", "holds with limits", "does not hold"


def valley(plain: dict, damped: dict) -> dict:
    """Numbers of one ill-conditioned valley: steps and length of the way by rate."""
    runs = {
        who: [{"rate": rate, "steps": [s], "path": [p]} for rate, (s, p) in found.items()]
        for who, found in (("without", plain), ("with", damped))
    }
    return {"conditions": {"100": runs}}


@pytest.mark.parametrize(
    ("damped", "word"),
    [
        ({1.0: (50, 2.0)}, HOLDS),
        ({1.0: (50, 9.0)}, LIMITS),
        ({1.0: (90, 2.0)}, NOT),
    ],
)
def test_momentum(damped, word):
    assert momentum.verdict(valley({1.0: (100, 5.0)}, damped)).word == word


@pytest.mark.parametrize(
    ("noisy", "sharp", "word"),
    [
        ([0.5, 0.6], [1.0, 1.0], HOLDS),
        ([0.5, 0.6], [3.0, 1.0], LIMITS),
        ([0.99, 0.99], [1.0, 1.0], LIMITS),
        ([0.5, 1.2], [1.0, 1.0], LIMITS),
        ([0.995, 1.001], [1.0, 1.0], NOT),
        ([1.1, 1.2], [1.0, 1.0], NOT),
    ],
)
def test_sgd_noise(noisy, sharp, word):
    def of(losses, sharps):
        return [{"training loss": 0.02, "test loss": t, "sharpness": s} for t, s in zip(losses, sharps, strict=True)]

    runs = {"4": of(noisy, sharp), "400": of([1.0, 1.0], [2.0, 2.0])}
    assert sgd_noise.verdict({"batch sizes": [4, 400], "runs": runs, "stopped at": 0.02}).word == word


def test_sgd_noise_shows_nothing_where_a_network_has_not_learnt():
    runs = {
        size: [{"training loss": loss, "test loss": 0.5, "sharpness": 1.0}] for size, loss in (("4", 0.02), ("400", 2))
    }
    found = sgd_noise.verdict({"batch sizes": [4, 400], "runs": runs, "stopped at": 0.02})
    assert (found.word, "1 networks never" in found.reason) == (NOT, True)


def optimized(good: dict, bad: dict) -> dict:
    problems = {
        problem: {
            name: {"curves": [[9.0, loss], [9.0, loss]] if loss < math.inf else [None, None]}
            for name, loss in losses.items()
        }
        for problem, losses in (("well scaled", good), ("badly scaled", bad))
    }
    return {"problems": problems}


@pytest.mark.parametrize(
    ("bad", "word"),
    [
        ({"sgd": 1.0, "momentum": 1.0, "rmsprop": 1.0, "adam": 0.1}, HOLDS),
        ({"sgd": math.inf, "momentum": 1.0, "rmsprop": 1.0, "adam": 0.1}, HOLDS),
        ({"sgd": 1.0, "momentum": 1.0, "rmsprop": 0.1, "adam": 0.1}, LIMITS),
        ({"sgd": 1.0, "momentum": 0.1, "rmsprop": 1.0, "adam": 0.1}, LIMITS),
        ({"sgd": 0.15, "momentum": 1.0, "rmsprop": 1.0, "adam": 0.1}, NOT),
    ],
)
def test_optimizers(bad, word):
    assert optimizers.verdict(optimized(dict.fromkeys(optimizers.OPTIMIZERS, 0.1), bad)).word == word


def test_optimizers_that_lag_as_far_behind_well_scaled_do_not_show_that_scales_are_the_cause():
    losses = {"sgd": 0.3, "momentum": 0.3, "rmsprop": 0.3, "adam": 0.1}
    found = optimizers.verdict(optimized(losses, losses))
    assert (found.word, "the scales alone are not the cause" in found.reason) == (LIMITS, True)


def test_optimizers_says_where_adam_is_slower():
    bad = {"sgd": 1.0, "momentum": 1.0, "rmsprop": 1.0, "adam": 0.1}
    good = {"sgd": 0.01, "momentum": 0.01, "rmsprop": 0.1, "adam": 0.1}
    assert "slower" in optimizers.verdict(optimized(good, bad)).reason


@pytest.mark.parametrize(
    ("rank", "distance", "deep", "bent", "word"),
    [
        (2, 1e-7, 0.14, 0.01, HOLDS),
        (3, 1e-7, 0.14, 0.01, NOT),
        (2, 1e-2, 0.14, 0.01, NOT),
        (2, 1e-7, 0.05, 0.01, LIMITS),
        (2, 1e-7, 0.14, 0.13, LIMITS),
    ],
)
def test_linear_collapse(rank, distance, deep, bent, word):
    numbers = {
        "depths": [0, 4],
        "error": {"identity": [[0.14, deep]], "relu": [[0.14, bent]]},
        "rank": {"identity": [[2, rank]]},
        "distance": {"identity": [[0.0, distance]]},
    }
    assert linear_collapse.verdict(numbers).word == word


@pytest.mark.parametrize(
    ("line", "other", "gray", "right", "word"),
    [
        (3.0, 2.0, 1.5, 10, HOLDS),
        (3.0, 2.0, 1.5, 9, LIMITS),
        (3.0, 3.0, 1.5, 10, NOT),
        (3.0, 2.0, 3.5, 10, NOT),
        (2.0, 1.0, 1.5, 10, NOT),
    ],
)
def test_line_detector(line, other, gray, right, word):
    numbers = {
        "patches": {"line": [line], "others": [0.0, other]},
        "largest on gray patches": gray,
        "pictures": 10,
        "with a line": 5,
        "right after pooling the whole map": right,
    }
    assert line_detector.verdict(numbers).word == word


@pytest.mark.parametrize(
    ("usual", "pooled", "word"),
    [
        ([0.95, 0.94], [0.95, 0.94], HOLDS),
        ([0.95, 0.2], [0.95, 0.94], LIMITS),
        ([0.95, 0.05], [0.95, 0.94], LIMITS),
        ([0.95, 0.05], [0.95, 0.05], NOT),
    ],
)
def test_shift_invariance(usual, pooled, word):
    accuracy = {"fully connected": [[0.95, 0.1]] * 2, "usual": [usual] * 2, "pooled": [pooled] * 2}
    found = shift_invariance.verdict({"shifts": [0, 1], "accuracy": accuracy})
    assert found.word == word
    assert ("in every seed: usual" in found.reason) == (word == LIMITS and usual[1] < 0.1)
    assert ("falls with usual" in found.reason) == (word == LIMITS)


@pytest.mark.parametrize(
    ("kept", "gradients", "bare", "word"),
    [
        ([1.0, 1.2], [1.0, 2.0], [1.0, 1e-6], HOLDS),
        ([1.0, 1.2], [1.0, 20.0], [1.0, 1e-6], LIMITS),
        ([1.0, 5.0], [1.0, 2.0], [1.0, 1e-6], LIMITS),
        ([1.0, 50.0], [1.0, 2.0], [1.0, 1e-6], NOT),
        ([1.0, 1.2], [1.0, 2.0], [1.0, 0.5], NOT),
    ],
)
@pytest.mark.parametrize("begun_well", [False, True])
def test_batchnorm(kept, gradients, bare, word, begun_well):
    """A network that keeps the scale without norm, if it is begun well, makes a limit of what would hold."""

    def runs(activations, gradients, others):
        def found(activations):
            seen = {"activations": activations, "root mean squares": activations, "gradients": gradients}
            return [{"start": seen, "end": seen, "accuracy": 0.9}]

        return {"1": found(activations), "2.45": found(others)}

    word = LIMITS if begun_well and word == HOLDS else word
    numbers = {
        "runs": {
            "with": runs(kept, gradients, kept),
            "without": runs(bare, bare, [1.0, 1.0] if begun_well else bare),
        },
        "trained parameters of a norm": 128,
        "width": 64,
    }
    assert batchnorm.verdict(numbers).word == word


def remedies(**gaps: tuple[float, float]) -> dict:
    """Numbers with training and test loss of each remedy, equal in two seeds."""
    losses = {"nothing": (0.0, 1.0), "mirrored": (0.0, 2.0), **gaps}
    runs = {
        name.replace("_", " "): [{"train": {"cross_entropy": train}, "test": {"cross_entropy": test, "accuracy": 0.9}}]
        * 2
        for name, (train, test) in losses.items()
    }
    return {"remedies": runs}


@pytest.mark.parametrize(
    ("rest", "l2", "word"),
    [
        ((0.45, 0.5), (0.45, 0.5), HOLDS),
        ((0.1, 0.5), (0.1, 0.5), LIMITS),
        ((0.45, 0.5), (1.45, 1.5), LIMITS),  # no gap, because it is bad at both
        ((0.45, 0.5), (0.0, 1.1), LIMITS),
        ((0.0, 1.1), (0.45, 0.5), NOT),
    ],
)
def test_overfitting(rest, l2, word):
    numbers = remedies(L2=l2, augmentation=rest, dropout=rest, early_stopping=rest)
    assert overfitting.verdict(numbers).word == word


@pytest.mark.parametrize(
    ("plain", "normed", "residual", "dense", "word"),
    [
        (2.3, 2.2, 0.1, 0.1, HOLDS),
        (2.3, 0.1, 0.1, 0.1, LIMITS),
        (2.3, 2.2, 0.8, 0.1, LIMITS),
        (0.1, 0.1, 0.1, 0.1, NOT),
        (2.3, 2.2, 2.2, 0.1, NOT),
    ],
)
def test_depth(plain, normed, residual, dense, word):
    deep = {"plain": plain, "plain, batch norm": normed, "residual": residual, "dense": dense}
    networks = {name: {"loss": [[0.1, loss]], "gradient": [[1.0, 1.0]]} for name, loss in deep.items()}
    assert depth.verdict({"depths": [4, 64], "networks": networks}).word == word


def test_plain_networks_that_never_train_do_not_show_that_depth_stops_them():
    networks = {name: {"loss": [[2.3, 2.3]], "gradient": [[1.0, 1.0]]} for name in depth.PLAIN}
    networks |= {name: {"loss": [[0.1, 0.1]], "gradient": [[1.0, 1.0]]} for name in depth.WITH_SKIPS}
    assert depth.verdict({"depths": [4, 64], "networks": networks}).word == NOT
