"""Scores of predicted numbers."""

from __future__ import annotations

import math

from jaxtyping import Float
from torch import Tensor


def regression_scores(predicted: Float[Tensor, "n"], target: Float[Tensor, "n"]) -> dict[str, float]:
    r"""Coefficient of determination, mean absolute error, and root mean squared error.

    .. math:: R^2 = 1 - \frac{\sum_i (y_i - \hat y_i)^2}{\sum_i (y_i - \bar y)^2}

    with the mean :math:`\bar y` of these targets. R² is 1 without errors, and 0 for a model that always predicts this
    mean. It is NaN if all targets are equal.

    Args:
        predicted: the predictions, in the units of the target.
        target: the true numbers.

    >>> regression_scores(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([1.0, 2.0, 3.0]))["r2"]
    0.5
    """
    y, error = target.double(), predicted.double() - target.double()
    spread = float((y - y.mean()).square().sum())
    return {
        "r2": 1 - float(error.square().sum()) / spread if spread else math.nan,
        "mae": float(error.abs().mean()),
        "rmse": math.sqrt(float(error.square().mean())),
    }
