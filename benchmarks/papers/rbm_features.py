"""Logistic regression on the hidden units of an RBM, beside raw pixels, on digits of 8×8 pixels that are moved by one.

The protocol is that of an example of scikit-learn, "Restricted Boltzmann machine features for digit classification":
each of the 1797 digits and its four copies moved by one pixel, values from 0 to 1, a fifth of the 8985 images for the
test, 100 hidden units. Copies of a digit are in both parts. The regression is trained until it converges.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from benchmarks.harness import Score
from danlu.data import DataSet, Part
from danlu.data.images.info import ImageInfo
from danlu.recipes import RBMRecipe, build

HIDDEN, EPOCHS, BATCH, LR, SEEDS = 100, 30, 10, 0.06, 5
MOVES = ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0))


def run() -> Iterator[Score]:
    """One row: test accuracy with features, one for each seed of the RBM."""
    begun = time.monotonic()
    parts: Any = train_test_split(*nudged_digits(), test_size=0.2, random_state=0)
    train_x, test_x, train_y, test_y = parts
    raw = _accuracy(train_x, train_y, test_x, test_y)
    values = []
    for seed in range(SEEDS):
        model = _trained(train_x, seed)
        values.append(_accuracy(_features(model, train_x), train_y, _features(model, test_x), test_y))
    yield Score(
        name="rbm-features",
        metric="test accuracy of logistic regression on the hidden units",
        published="0.942, and 0.782 for raw pixels (BernoulliRBM by the example of scikit-learn)",
        values=values,
        protocol=f"raw pixels here {raw:.4f}; {HIDDEN} hidden units, {EPOCHS} epochs of persistent chains with batches "
        f"of {BATCH}, lr {LR:g}",
        seconds=time.monotonic() - begun,
        target="at least 0.1 above raw pixels",
        met=statistics.mean(values) >= raw + 0.1,
    )


def nudged_digits() -> tuple[np.ndarray, np.ndarray]:
    """Images (8985, 64) with values from 0 to 1, and their labels: all digits, then all of each move."""
    loaded: Any = load_digits(return_X_y=True)
    digits, labels = loaded
    images = np.pad(digits.reshape(-1, 8, 8).astype(np.float32) / 16, ((0, 0), (1, 1), (1, 1)))
    moved = [np.roll(images, move, (1, 2))[:, 1:-1, 1:-1] for move in MOVES]
    return np.concatenate(moved).reshape(-1, 64), np.tile(labels, len(MOVES))


def _trained(x: np.ndarray, seed: int) -> Any:
    part = Part({"image": torch.from_numpy(x).view(-1, 1, 8, 8)})
    data = DataSet("nudged digits", ImageInfo((1, 8, 8), levels=2), part, part.take(torch.arange(10)), part)
    recipe = RBMRecipe(
        model={"hidden": HIDDEN},  # type: ignore[arg-type]
        batch_size=BATCH,
        epochs=EPOCHS,
        lr=LR,
        schedule="constant",
        likelihood=False,
        evaluate_every=10**6,
        seed=seed,
    )
    built = build(recipe, data=data)
    for _ in built.trainer:
        pass
    return built.task.model.eval()


@torch.no_grad()
def _features(model: Any, x: np.ndarray) -> np.ndarray:
    """The probabilities of the hidden units, for gray values in place of the visible units."""
    return model.encode(torch.from_numpy(x).view(-1, 1, 8, 8)).numpy()


def _accuracy(train_x: np.ndarray, train_y: np.ndarray, test_x: np.ndarray, test_y: np.ndarray) -> float:
    regression = LogisticRegression(C=100.0, max_iter=5000).fit(train_x, train_y)
    return float(regression.score(test_x, test_y))
