"""The training curves of a report."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from danlu.app.console.formatting import score_name
from danlu.app.report.figures.style import INK, PLAYERS, QUIET, VERMILION, WIDTH, styled, tick

Line = tuple[list[float], list[float]]
SCORED = {"validation": VERMILION, "generated": "#009e73"}
"""owners of values that are scores and not terms of a player, and their colors"""
TITLE = 38
"""largest number of letters in a line of a panel's title"""


@styled
def curves(metrics: Sequence[Mapping[str, float]], best_round: int | None) -> Figure:
    """The logged values over the rounds: one panel for each name, one line for each player or part.

    ``classifier/cross_entropy`` and ``validation/cross_entropy`` share a panel; so do the learning rates of two
    players. A panel of losses or gradient norms is logarithmic when its values are positive and span more than one
    and a half decades. Values that are not finite are omitted.

    Args:
        metrics: lines of metrics.jsonl; each has ``round``, and values named ``player/name`` or ``part/name``.
        best_round: the round to mark, if there is one.

    >>> figure = curves([{"round": 1, "net/lr": 0.1, "net/loss": 3.0}, {"round": 2, "validation/loss": 2.0}], None)
    >>> [axes.get_title(loc="left") for axes in figure.axes]
    ['loss', 'learning rate']
    """
    panels = _panels(metrics)
    players = [who for who in dict.fromkeys(who for lines in panels.values() for who in lines) if who not in SCORED]
    columns = min(2, max(1, len(panels)))
    rows = max(1, math.ceil(len(panels) / columns))
    figure = Figure(figsize=(WIDTH, 0.45 + 1.55 * rows), layout="constrained")
    if not panels:
        figure.text(0.5, 0.5, "nothing was logged", ha="center", color=QUIET)
        return figure
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True).flatten()
    for axes in grid[len(panels) :]:
        axes.remove()
    for place, (name, lines) in enumerate(panels.items()):
        _draw_panel(grid[place], name, lines, players, best_round)
        if place + columns >= len(panels):
            grid[place].set_xlabel("round")
            grid[place].tick_params(labelbottom=True)
    _add_legend(figure)
    return figure


def _panels(metrics: Sequence[Mapping[str, float]]) -> dict[str, dict[str, Line]]:
    """Rounds and values by name and owner: terms first, then other scores, gradient norms, learning rates."""
    panels: dict[str, dict[str, Line]] = {}
    for entry in metrics:
        for key, value in entry.items():
            who, slash, name = key.partition("/")
            if slash and value is not None and math.isfinite(value):
                rounds, values = panels.setdefault(name, {}).setdefault(who, ([], []))
                rounds.append(entry["round"])
                values.append(value)
    last = {"gradient_norm": 2, "lr": 3}
    return dict(sorted(panels.items(), key=lambda item: last.get(item[0], int(set(item[1]) <= set(SCORED)))))


def _draw_panel(axes: Axes, name: str, lines: dict[str, Line], players: list[str], best_round: int | None) -> None:
    if best_round is not None:
        axes.axvline(best_round, color=INK, linewidth=0.9, linestyle=(0, (1.5, 1.5)), label=f"best: round {best_round}")
    for who in sorted(lines, key=lambda who: who in SCORED):  # scores are drawn last, on top
        rounds, values = lines[who]
        held_out = who in SCORED
        axes.plot(
            rounds,
            values,
            color=SCORED[who] if held_out else PLAYERS[players.index(who) % len(PLAYERS)],
            linewidth=1.4 if held_out else 0.8,
            marker="o" if len(rounds) == 1 or (held_out and len(rounds) <= 60) else None,
            markersize=2.4,
            label=who if held_out or len(players) > 1 else "training",
        )
    axes.set_title(textwrap.fill({"lr": "learning rate"}.get(name, score_name(name)), TITLE))
    axes.grid(axis="y")
    axes.margins(x=0.02)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10], integer=True, min_n_ticks=1))
    axes.xaxis.set_major_formatter(FuncFormatter(tick))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    if name != "lr" and set(lines) != {"validation"} and _spans_decades(lines):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(numticks=6))
        axes.yaxis.set_minor_formatter(NullFormatter())
    if name.endswith("_covered") or (name == "lr" and _is_constant(lines)):
        most = max(value for _, values in lines.values() for value in values)
        axes.set_ylim(0, 1.2 * most or 1)
        axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10], integer=name != "lr"))
    axes.yaxis.set_major_formatter(FuncFormatter(tick))


def _is_constant(lines: Mapping[str, Line]) -> bool:
    return len({value for _, values in lines.values() for value in values}) == 1


def _spans_decades(lines: Mapping[str, Line]) -> bool:
    values = [value for _, line in lines.values() for value in line]
    return min(values) > 0 and math.log10(max(values) / min(values)) > 1.5


def _add_legend(figure: Figure) -> None:
    """One legend for all panels; the marker of the best round is last."""
    handles: dict[str, Any] = {}
    for axes in figure.axes:
        handles.update(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    labels = sorted(handles, key=lambda label: label.startswith("best: "))
    places = {"loc": "outside upper left", "ncols": len(labels) if sum(map(len, labels)) < 60 else 4, "borderpad": 0.2}
    figure.legend([handles[label] for label in labels], labels, **places)
