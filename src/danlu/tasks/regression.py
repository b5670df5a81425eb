"""Regression: one player, one turn, a loss of numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from danlu.data.base.batch_stream import Batch, in_order
from danlu.data.base.dataset import Part
from danlu.losses.regression import gaussian_nll, huber, squared_error
from danlu.metrics.regression import regression_scores
from danlu.models.classify.regressor import Regressor
from danlu.tasks.task import Descend, Task, Terms, Turn

RegressionLoss = Literal["squared", "huber", "gaussian"]
_BATCH = 500


class Regression(Task):
    """Train a network to predict a standardized number.

    Args:
        regressor: the network, with ``deviation`` for the loss gaussian only.
        loss: squared error, Huber loss, or negative log-likelihood of a normal distribution.
        delta: where the Huber loss becomes linear, in standard deviations of the training targets.
        inputs: name of the batch field with the examples.

    Raises:
        ValueError: if delta is not above 0, or the regressor does not fit the loss.

    >>> from danlu.models import MLP
    >>> task = Regression(Regressor(MLP((4,), 1)), inputs="x")
    >>> batch = Batch({"x": torch.zeros(3, 4), "target": torch.zeros(3)}, slice(0, 3), 3, torch.arange(3))
    >>> {name: term.shape for name, term in task.fit(batch).items()}
    {'squared_error': torch.Size([3])}
    """

    replayable = True

    def __init__(
        self, regressor: Regressor, loss: RegressionLoss = "squared", delta: float = 1.0, inputs: str = "image"
    ):
        super().__init__()
        if not delta > 0:
            raise ValueError(f"delta={delta} must be above 0")
        if regressor.deviation != (loss == "gaussian"):
            raise ValueError("a regressor predicts a standard deviation exactly if the loss is gaussian")
        self.regressor, self.loss, self.delta, self.inputs = regressor, loss, delta, inputs

    @property
    def better(self) -> Mapping[str, str]:  # type: ignore[override]
        """RMSE is monitored, the MAE with the Huber loss, and the negative log-likelihood with the Gaussian one."""
        first = {"squared": "rmse", "huber": "mae", "gaussian": "nll"}[self.loss]
        return {first: "lower", "r2": "higher", "rmse": "lower", "mae": "lower"}

    @property
    def model(self) -> nn.Module:
        return self.regressor

    def players(self) -> dict[str, nn.Module]:
        return {"regressor": self.regressor}

    def turns(self, round: int) -> list[Turn]:
        return [Descend("regressor", self.fit)]

    def fit(self, batch: Batch) -> Terms:
        """The loss of each example, in standardized units."""
        outputs, target = self.regressor(batch[self.inputs]), batch["target"]
        if self.loss == "gaussian":
            return {"standardized_nll": gaussian_nll(outputs[:, 0], outputs[:, 1], target)}
        if self.loss == "huber":
            return {"huber": huber(outputs[:, 0], target, self.delta)}
        return {"squared_error": squared_error(outputs[:, 0], target)}

    def scores_of_part(self, part: Part) -> dict[str, float]:
        """R², MAE and RMSE in the units of the target; with the Gaussian loss the mean negative log-density, too."""
        weight = next(self.regressor.parameters())
        with torch.no_grad():
            outputs = torch.cat(
                [
                    self.regressor.predict(batch[self.inputs].to(weight.device, weight.dtype)).cpu()
                    for batch in in_order(part, _BATCH)
                ]
            )
        return number_scores(outputs, targets(part, self.regressor))


def targets(part: Part, regressor: Regressor) -> Tensor:
    """The true numbers of a part in the units of the target, (n,), float64 on the CPU."""
    return part["target"].cpu().double() * regressor.scale + regressor.shift


def number_scores(outputs: Tensor, target: Tensor) -> dict[str, float]:
    """Scores of predictions: R², MAE and RMSE; with standard deviations the mean negative log-density and coverage.

    Args:
        outputs: means, (n, 1), or means and standard deviations, (n, 2), in the units of the target.
        target: the true numbers, (n,).

    >>> number_scores(torch.tensor([[1.0], [3.0]]), torch.tensor([1.0, 2.0]))["mae"]
    0.5
    """
    outputs, target = outputs.double(), target.double()
    scores = regression_scores(outputs[:, 0], target)
    if outputs.shape[1] == 2:
        mean, deviation = outputs.unbind(1)
        scores["nll"] = float(gaussian_nll(mean, 2 * deviation.log(), target).mean())
        within = (target - mean).abs() <= NORMAL_95 * deviation
        scores["coverage_95"] = float(within.double().mean())
    return scores


NORMAL_95 = math.sqrt(2) * float(torch.erfinv(torch.tensor(0.95, dtype=torch.float64)))
"""half the width of the central interval with probability 0.95 of a normal distribution, in standard deviations"""
