"""Figures of a model that predicts a number: predicted against true numbers, residuals."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from danlu.app.console.formatting import short
from danlu.app.report.figures.style import BLUE, QUIET, WIDTH, styled
from danlu.metrics.regression import regression_scores

MOST_POINTS = 2000


@styled
def residuals(predicted: Float[Tensor, "n"], target: Float[Tensor, "n"], target_name: str) -> Figure:
    """Predicted against true numbers, residuals against predicted numbers, and a histogram of the residuals.

    At most 2000 points are drawn, evenly spread over the examples; the histogram has all.

    Args:
        predicted: the predictions.
        target: the true numbers.
        target_name: name of the target.

    >>> figure = residuals(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 3.0]), "price")
    >>> [axes.get_xlabel() for axes in figure.axes]
    ['true price', 'predicted price', 'examples']
    """
    guess, true = predicted.cpu().double().numpy(), target.cpu().double().numpy()
    some = np.arange(min(len(true), MOST_POINTS)) * len(true) // max(1, min(len(true), MOST_POINTS))
    residual, label = true - guess, short(target_name, 24)
    dashed = {"color": QUIET, "linewidth": 0.9, "linestyle": (0, (4, 3))}
    figure = Figure(figsize=(WIDTH, 5.6), layout="constrained")
    grid = figure.add_gridspec(2, 2, height_ratios=[3, 2], width_ratios=[3, 1])
    upper = figure.add_subplot(grid[0, :])
    lower = figure.add_subplot(grid[1, 0])
    side = figure.add_subplot(grid[1, 1], sharey=lower)
    points = {"color": BLUE, "markersize": 3.5, "alpha": 0.6, "markeredgewidth": 0}
    upper.axline((float(true[0]), float(true[0])), slope=1, **dashed)  # type: ignore[arg-type]
    upper.plot(true[some], guess[some], "o", **points)  # type: ignore[arg-type]
    upper.set(xlabel=f"true {label}", ylabel=f"predicted {label}")
    upper.set_title(f"R² {regression_scores(predicted, target)['r2']:.4g}")
    lower.axhline(0, **dashed)  # type: ignore[arg-type]
    lower.plot(guess[some], residual[some], "o", **points)  # type: ignore[arg-type]
    lower.set(xlabel=f"predicted {label}", ylabel="true − predicted")
    side.hist(residual, bins=min(40, max(5, int(len(residual) ** 0.5))), orientation="horizontal", color=BLUE)
    side.set_xlabel("examples")
    side.tick_params(labelleft=False)
    for axes in (upper, lower, side):
        axes.grid(axis="y")
    return figure
