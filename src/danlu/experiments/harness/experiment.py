"""What an experiment is: it measures, and from the numbers alone come a verdict, a table and a figure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from danlu.storage.access import no_progress

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # half a second to import, and only who draws needs it

Numbers = dict[str, Any]
"""What was measured, in plain values that JSON knows; what cannot be measured is None."""
Table = list[tuple[str, ...]]
"""Rows of one length; the first holds the names of the columns, the first column the names of the rows."""
Tell = Callable[[str, int, int], None]
"""Is told of progress: what, how much is done, of how much."""


class Verdict(NamedTuple):
    """What the numbers say of a claim.

    Attributes:
        word: whether it holds.
        reason: the numbers that decide, in a sentence or two.
    """

    word: Literal["holds", "holds with limits", "does not hold"]
    reason: str


class Outcome(NamedTuple):
    """An experiment that was run.

    Attributes:
        numbers: what was measured.
        verdict: what it says of the claim.
        table: the numbers for people.
        draw: makes the figure, in the style of matplotlib that is in force then.
    """

    numbers: Numbers
    verdict: Verdict
    table: Table
    draw: Callable[[], Figure]


@dataclass(frozen=True)
class Experiment:
    """A claim as code; its name and its words are in the catalogue.

    All but ``measure`` are functions of the numbers, so that a verdict can be checked on numbers made by hand.

    Attributes:
        measure: runs what the claim is about, from a seed; ``quick`` asks for a small version, to see that it works.
        judge: compares the numbers with thresholds that follow from the claim.
        table: the numbers for people.
        draw: the figure.

    >>> coin = Experiment(
    ...     measure=lambda seed, tell, quick: {"heads": 7},
    ...     judge=lambda numbers: Verdict("holds" if numbers["heads"] == 5 else "does not hold", "7 of 10"),
    ...     table=lambda numbers: [("side", "times"), ("heads", "7")],
    ...     draw=lambda numbers: None,
    ... )
    >>> coin.run().verdict.word
    'does not hold'
    """

    measure: Callable[[int, Tell, bool], Numbers]
    judge: Callable[[Numbers], Verdict]
    table: Callable[[Numbers], Table]
    draw: Callable[[Numbers], Figure]

    def run(self, seed: int = 0, tell: Tell = no_progress, quick: bool = False) -> Outcome:
        """Measure and judge.

        Args:
            seed: of every random number; the same seed gives the same numbers.
            tell: is told of progress.
            quick: a small version of it, whose verdict says little.
        """
        numbers = self.measure(seed, tell, quick)
        return Outcome(numbers, self.judge(numbers), self.table(numbers), partial(self.draw, numbers))
