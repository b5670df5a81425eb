"""The structure of an experiment: a measurement, the criteria of its verdict, and functions that show its numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from danlu.experiments.harness.criteria import Criteria, Judgment, Word
from danlu.experiments.harness.wording import undecided_reason
from danlu.storage.access import no_progress

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # the import takes half a second and is needed only for figures

Numbers = dict[str, Any]
"""The measurements, as values that JSON can represent; None stands for a value that cannot be measured. With criteria,
``numbers["arms"]`` has the values of each arm and measure, one for each seed."""
Table = list[tuple[str, ...]]
"""Rows of equal length. The first row holds the column names, the first column the row names."""
ProgressCallback = Callable[[str, int, int], None]
"""A progress callback: a description, the number of steps done, and the total number of steps."""


class Verdict(NamedTuple):
    """The result of comparing the numbers with the claim.

    Attributes:
        word: whether the claim holds.
        reason: the conclusion, in one or more sentences.
        judgment: the results of the comparisons, if the experiment has criteria.
    """

    word: Word
    reason: str
    judgment: Judgment | None = None


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


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A claim as code. Its name and its wording are in ``danlu.catalogue.experiments``.

    All fields except ``measure`` are functions of the numbers alone. A verdict can therefore be tested on made-up
    numbers.

    Attributes:
        measure: runs the measurement with a seed, a progress callback and the flag ``quick`` for a small version.
        criteria: the comparisons that decide about the claim.
        conclude: the conclusion from numbers and comparisons: one plain sentence with at most three numbers, and what
            limits the claim. It is not called if the claim is not decided.
        table: formats the numbers for display.
        plot: creates the figure.
        method: what is done, in two sentences.
        caption: what the figure shows.
        demonstration: whether mathematics or a hand-made case decides, so that the numbers can only confirm it.

    >>> from danlu.experiments.harness.criteria import Comparison
    >>> coin = Experiment(
    ...     measure=lambda seed, progress, quick: {"arms": {"heads": {"times": [7.0]}}},
    ...     criteria=Criteria((Comparison("heads are more frequent than 5 of 10", "heads", 5.0, "times", 1.0),)),
    ...     conclude=lambda numbers, judgment: "Heads came 7 times.",
    ...     table=lambda numbers: [("side", "times"), ("heads", "7")],
    ...     plot=lambda numbers: None,
    ... )
    >>> coin.run().verdict.word
    'holds'
    """

    measure: Callable[[int, ProgressCallback, bool], Numbers]
    criteria: Criteria
    conclude: Callable[[Numbers, Judgment], str]
    table: Callable[[Numbers], Table]
    plot: Callable[[Numbers], Figure]
    method: str = ""
    caption: str = ""
    demonstration: bool = False

    def verdict(self, numbers: Numbers) -> Verdict:
        """Whether the claim holds, by the criteria, and the conclusion."""
        judgment = self.criteria.judge(numbers["arms"])
        if judgment.word == "not decided":
            return Verdict(judgment.word, undecided_reason(judgment), judgment)
        return Verdict(judgment.word, self.conclude(numbers, judgment), judgment)

    def run(self, seed: int = 0, progress: ProgressCallback = no_progress, quick: bool = False) -> Outcome:
        """Run the measurement and evaluate the claim.

        Args:
            seed: the random seed; the same seed gives the same numbers.
            progress: the progress callback.
            quick: run a small version. It tests the code; its verdict is not meaningful.
        """
        numbers = self.measure(seed, progress, quick)
        return Outcome(numbers, self.verdict(numbers), self.table(numbers), partial(self.plot, numbers))
