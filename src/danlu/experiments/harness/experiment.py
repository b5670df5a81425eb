"""The structure of an experiment: a measurement, and functions of its numbers for verdict, table and figure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from danlu.storage.access import no_progress

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # the import takes half a second and is needed only for figures

Numbers = dict[str, Any]
"""The measurements, as values that JSON can represent; None stands for a value that cannot be measured."""
Table = list[tuple[str, ...]]
"""Rows of equal length. The first row holds the column names, the first column the row names."""
ProgressCallback = Callable[[str, int, int], None]
"""A progress callback: a description, the number of steps done, and the total number of steps."""


class Verdict(NamedTuple):
    """The result of comparing the numbers with the claim.

    Attributes:
        word: whether the claim holds.
        reason: the decisive numbers, in one or more sentences.
    """

    word: Literal["holds", "holds with limits", "does not hold"]
    reason: str


class Outcome(NamedTuple):
    """The results of an experiment.

    Attributes:
        numbers: the measurements.
        verdict: whether the claim holds, and why.
        table: the numbers, formatted for display.
        plot: creates the figure in the current matplotlib style.
    """

    numbers: Numbers
    verdict: Verdict
    table: Table
    plot: Callable[[], Figure]


@dataclass(frozen=True)
class Experiment:
    """A claim as code. Its name and its wording are in ``danlu.catalogue.experiments``.

    All fields except ``measure`` are functions of the numbers alone. A verdict can therefore be tested on made-up
    numbers.

    Attributes:
        measure: runs the measurement with a seed, a progress callback and the flag ``quick`` for a small version.
        verdict: compares the numbers with thresholds that follow from the claim.
        table: formats the numbers for display.
        plot: creates the figure.

    >>> coin = Experiment(
    ...     measure=lambda seed, progress, quick: {"heads": 7},
    ...     verdict=lambda numbers: Verdict("holds" if numbers["heads"] == 5 else "does not hold", "7 of 10"),
    ...     table=lambda numbers: [("side", "times"), ("heads", "7")],
    ...     plot=lambda numbers: None,
    ... )
    >>> coin.run().verdict.word
    'does not hold'
    """

    measure: Callable[[int, ProgressCallback, bool], Numbers]
    verdict: Callable[[Numbers], Verdict]
    table: Callable[[Numbers], Table]
    plot: Callable[[Numbers], Figure]

    def run(self, seed: int = 0, progress: ProgressCallback = no_progress, quick: bool = False) -> Outcome:
        """Run the measurement and evaluate the claim.

        Args:
            seed: the random seed; the same seed gives the same numbers.
            progress: the progress callback.
            quick: run a small version. It tests the code; its verdict is not meaningful.
        """
        numbers = self.measure(seed, progress, quick)
        return Outcome(numbers, self.verdict(numbers), self.table(numbers), partial(self.plot, numbers))
