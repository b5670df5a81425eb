"""The figure of waveforms: small curves of the amplitude in rows and columns."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from danlu.app.console.formatting import short
from danlu.app.report.figures.image_page import image_page
from danlu.app.report.figures.style import BLUE, INK, RULE, WIDTH, styled

HEIGHT, GAP = 0.55, 0.08
"""height of a row, and space between curves, in inches"""


@styled
def waveforms(
    groups: Sequence[Float[Tensor, "n length"]],
    names: Sequence[str] = (),
    value_range: tuple[float, float] = (-1.0, 1.0),
) -> Figure:
    """Curves of waveforms, one row for each group. Amplitudes outside of the range are cut off.

    Args:
        groups: the waveforms of each row.
        names: names of the rows; empty for none.
        value_range: smallest and largest amplitude.

    >>> figure = waveforms([torch.zeros(3, 8), torch.ones(2, 8)], ("low", "high"))
    >>> len(figure.axes[0].lines)
    10
    """
    columns = max(1, *(len(group) for group in groups))
    beside = 0.9 if any(names) else 0.0
    step = (WIDTH - beside) / columns
    figure, axes = image_page(WIDTH, HEIGHT * len(groups))
    low, high = value_range
    for row, group in enumerate(groups):
        top = row * HEIGHT
        if row < len(names):
            axes.text(beside - 0.08, top + HEIGHT / 2, short(names[row], 12), ha="right", va="center", color=INK)
        for column, waveform in enumerate(group.cpu().double().nan_to_num(0).clamp(low, high).numpy()):
            left, right = beside + column * step, beside + (column + 1) * step - GAP
            across = [left + (right - left) * (k + 0.5) / len(waveform) for k in range(len(waveform))]
            middle = top + GAP / 2 + (HEIGHT - GAP) * high / (high - low)
            axes.plot([left, right], [middle, middle], color=RULE, linewidth=0.5)
            axes.plot(across, middle - waveform * (HEIGHT - GAP) / (high - low), color=BLUE, linewidth=0.6)
    return figure
