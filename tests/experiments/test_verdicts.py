"""Verdicts on numbers made by hand, each word of them."""

import pytest

from danlu.experiments.networks import depth, overfitting

HOLDS, LIMITS, NOT = "holds", "holds with limits", "does not hold"


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
