"""Figures of a classifier: confusion matrix, calibration, errors, robustness."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize, PowerNorm, to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from torch import Tensor

from danlu.app.console.formatting import short
from danlu.app.report.figures.image_page import image_page, show_image
from danlu.app.report.figures.style import BLANK, BLUE, INK, QUIET, VERMILION, WIDTH, styled, tick
from danlu.metrics.classification import Calibration
from danlu.metrics.robustness import Robustness

MOST_IMAGES = 24


@styled
def confusion(matrix: Int[Tensor, "k k"], class_names: Sequence[str]) -> Figure:
    """The confusion matrix: rows are true classes, columns are predicted classes.

    Colors show the fraction of the row: blue on the diagonal and vermilion elsewhere, on a scale on which single errors
    are visible. With up to 20 classes, the cells contain the counts.

    Args:
        matrix: the counts.
        class_names: names of the classes.

    >>> len(confusion(torch.eye(3).long(), ("a", "b", "c")).axes)
    1
    """
    counts = matrix.cpu().numpy()
    classes = len(counts)
    fractions = counts / counts.sum(axis=1, keepdims=True).clip(min=1)
    written = classes <= 20
    side = min(4.6, 1.7 + 0.3 * classes)
    figure = Figure(figsize=(side + (0 if written else 0.7), side), layout="constrained")
    axes = figure.add_subplot()
    scales = {"right": (Normalize(0, 1), BLUE), "wrong": (PowerNorm(0.5, 0, 1), VERMILION)}
    right, wrong = (_colors(color)(norm(fractions)) for norm, color in scales.values())
    pixels = np.where(np.eye(classes, dtype=bool)[..., None], right, wrong)
    axes.imshow(pixels, interpolation="none", aspect="equal")
    _name_axes(axes, class_names)
    if written:
        _write_counts(axes, counts, pixels, cell=72 * (side - 0.8) / classes)
    else:
        _add_scales(figure, axes, scales)
    return figure


def _colors(color: str) -> LinearSegmentedColormap:
    return LinearSegmentedColormap.from_list(color, [BLANK, color])


def _name_axes(axes: Axes, class_names: Sequence[str]) -> None:
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.spines[:].set_visible(False)
    if len(class_names) > 40:
        return
    names = [short(name, 14) for name in class_names]
    upright = max(map(len, names)) <= 3
    size = 7.5 if len(names) <= 20 else 5
    turned: dict[str, Any] = {} if upright else {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    axes.set_xticks(range(len(names)), names, fontsize=size, parse_math=False, **turned)
    axes.set_yticks(range(len(names)), names, fontsize=size, parse_math=False)
    axes.tick_params(length=0)


def _write_counts(axes: Axes, counts: np.ndarray, pixels: np.ndarray, cell: float) -> None:
    """Write the counts above 0, in white or dark for contrast, with lines between the cells of ``cell`` points."""
    classes = len(counts)
    lines = np.arange(classes + 1) - 0.5
    axes.hlines(lines, -0.5, classes - 0.5, color="white", linewidth=1.2)
    axes.vlines(lines, -0.5, classes - 0.5, color="white", linewidth=1.2)
    size = min(9.0, 0.75 * cell / (0.65 * max(2, len(str(counts.max())))))
    for (row, column), count in np.ndenumerate(counts):
        if count:
            ink = max("white", INK, key=lambda ink: _contrast(ink, pixels[row, column]))
            axes.text(column, row, f"{count}", ha="center", va="center_baseline", fontsize=size, color=ink)


def _contrast(a: Any, b: Any) -> float:
    """Contrast ratio of two colors (WCAG 2.1)."""
    dark, light = sorted(_luminance(to_rgb(color)) for color in (a, b))
    return (light + 0.05) / (dark + 0.05)


def _luminance(color: tuple[float, float, float]) -> float:
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _add_scales(figure: Figure, axes: Axes, scales: Mapping[str, tuple[Normalize, str]]) -> None:
    """Color scales, for matrices without counts."""
    for bottom, (name, (norm, color)) in zip((0.58, 0.06), scales.items(), strict=True):
        place = axes.inset_axes((1.05, bottom, 0.035, 0.34))
        figure.colorbar(ScalarMappable(norm, _colors(color)), cax=place, format=FuncFormatter(tick))
        place.set_yticks([0, 0.5, 1] if name == "right" else [0, 0.01, 0.1, 0.5, 1])
        place.set_title(name, fontsize=7.5, fontweight="normal")
        place.spines[:].set_visible(False)


@styled
def reliability(calibration: Calibration, after: Calibration | None = None) -> Figure:
    """Reliability diagram: accuracy against predicted probability, above a histogram of the predicted probabilities.

    A bin whose accuracy equals its mean probability is on the dashed line. Bars are 95 % confidence intervals of the
    accuracy (Wilson 1927).

    Args:
        calibration: the bins.
        after: the bins after temperature scaling; drawn as rings.

    >>> from danlu.metrics import calibration
    >>> reliability(calibration(torch.tensor([[0.9, 0.1]]), torch.tensor([0]))).axes[0].get_title(loc="left")
    'expected calibration error 0.1000'
    """
    confidence, accuracy, counts = (values.cpu().double().numpy() for values in calibration[:3])
    filled = counts > 0
    figure = Figure(figsize=(4.6, 4.3), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    upper.plot([0, 1], [0, 1], color=QUIET, linewidth=0.9, linestyle=(0, (4, 3)))
    low, high = _wilson(accuracy[filled], counts[filled])
    upper.vlines(confidence[filled], low, high, color=BLUE, alpha=0.35, linewidth=3)
    upper.plot(confidence[filled], accuracy[filled], "o", color=BLUE, markersize=4.5)
    title = f"expected calibration error {calibration.error:.4f}"
    if after is not None:
        upper.plot(after.confidence.cpu(), after.accuracy.cpu(), "o", color=VERMILION, markersize=5.5, fillstyle="none")
        title += f", {after.error:.4f} with temperature"
    upper.set(xlim=(0, 1), ylim=(-0.03, 1.03), ylabel="accuracy")
    upper.set_title(title)
    width = 1 / len(counts)
    bars = lower.bar((np.arange(len(counts)) + 0.5) * width, counts, width * 0.86, color=BLUE)
    lower.bar_label(bars, [f"{int(count)}" if count else "" for count in counts], fontsize=6.5, color=QUIET, padding=1)
    lower.set(ylabel="examples", xlabel="predicted probability")
    lower.margins(y=0.25)
    for axes in (upper, lower):
        axes.grid(axis="y")
        axes.xaxis.set_major_formatter(FuncFormatter(tick))
        axes.yaxis.set_major_formatter(FuncFormatter(tick))
    lower.yaxis.set_major_locator(MaxNLocator(2, integer=True))
    return figure


def _wilson(fraction: np.ndarray, n: np.ndarray, z: float = 1.96) -> tuple[np.ndarray, np.ndarray]:
    """The Wilson score interval of a probability, from the fraction of hits in n draws."""
    center = (fraction + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(fraction * (1 - fraction) / n + z**2 / (4 * n**2))
    return center - half, center + half


@styled
def robustness(shifted: Robustness, noisy: Robustness) -> Figure:
    """Accuracy against shift, and against noise, side by side on one scale.

    Args:
        shifted: strengths in pixels.
        noisy: strengths as fractions of the range of values.

    >>> figure = robustness(Robustness((0, 1), (0.9, 0.8)), Robustness((0, 0.1), (0.9, 0.7)))
    >>> [axes.get_xlabel() for axes in figure.axes]
    ['shift in pixels', 'standard deviation of the noise / range']
    """
    figure = Figure(figsize=(WIDTH, 2.3), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, measured, label in (
        (left, shifted, "shift in pixels"),
        (right, noisy, "standard deviation of the noise / range"),
    ):
        axes.plot(measured.strengths, measured.accuracy, "o-", color=BLUE, markersize=4)
        axes.set_xlabel(label)
        axes.set_xticks(measured.strengths)
        axes.grid(axis="y")
        axes.xaxis.set_major_formatter(FuncFormatter(tick))
        axes.yaxis.set_major_formatter(FuncFormatter(tick))
    left.set(ylabel="accuracy", ylim=(-0.03, 1.03))
    return figure


@styled
def most_wrong(
    images: Float[Tensor, "n c h w"],
    labels: Int[Tensor, "n"],
    guesses: Int[Tensor, "n"],
    probabilities_of_guess: Float[Tensor, "n"],
    class_names: Sequence[str],
    value_range: tuple[float, float] = (0.0, 1.0),
) -> Figure:
    """The first 24 images, each with its true class, the predicted class and the probability of the prediction.

    Args:
        images: with one channel (gray) or three (red, green, blue).
        labels: the true classes.
        guesses: the predicted classes; wrong ones are shown in vermilion.
        probabilities_of_guess: probabilities of the predicted classes.
        class_names: names of the classes.
        value_range: the values that are shown black and white.

    Raises:
        ValueError: if the images do not have 1 or 3 channels.

    >>> one = torch.tensor([0])
    >>> figure = most_wrong(torch.rand(1, 1, 8, 8), one, one + 1, torch.tensor([0.98]), ("cat", "dog"))
    >>> figure.axes[0].texts[0].get_text()
    'cat → dog 0.98'
    """
    titles = [
        _from_to(class_names[int(label)], class_names[int(guess)], float(probability))
        for label, guess, probability in zip(labels, guesses, probabilities_of_guess, strict=True)
    ][:MOST_IMAGES]
    columns, rows = 6, max(1, math.ceil(len(titles) / 6))
    above = 0.42 if any("\n" in title for title in titles) else 0.3
    step, gap = WIDTH / columns, 0.07
    width, height = step - gap, (step - gap) * images.shape[2] / images.shape[3]
    figure, axes = image_page(WIDTH, rows * (above + height))
    for place, (title, image) in enumerate(zip(titles, images, strict=False)):
        left, top = place % columns * step, place // columns * (above + height) + above
        show_image(axes, image, value_range, left, top, width, height)
        color = INK if labels[place] == guesses[place] else VERMILION
        axes.text(left, top - 0.04, title, fontsize=7.5, color=color, va="bottom", linespacing=1.25)
    return figure


def _from_to(true: str, guess: str, probability: float) -> str:
    """In one line if it is short, otherwise in two: an image is an inch wide."""
    if len(true) + len(guess) <= 8:
        return f"{true} → {guess} {probability:.2f}"
    return f"{short(true, 14)}\n→ {short(guess, 7)} {probability:.2f}"
