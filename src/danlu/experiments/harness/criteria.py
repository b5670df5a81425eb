"""The criteria of an experiment: comparisons that are declared before the measurement, and the verdict that follows.

A claim has clauses. A clause is a comparison: one arm of the experiment exceeds another arm, or a constant, by at least
a margin. The values are paired by seed. A clause is

* supported if the 95 % interval of the mean difference is above 0 and the mean is at least the margin;
* refuted if the whole interval is below the margin;
* otherwise undecided.

The margin is the smallest difference that the claim needs, so an effect that is too small for the claim refutes it.
Gates are comparisons, too: they show that the problem of the claim occurs and that the models work. Without them a
comparison of the arms says nothing about the claim.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite, log
from statistics import fmean
from typing import Any, Literal, NamedTuple

from danlu.experiments.harness.intervals import LEVEL, Interval, confidence_interval, sign_flips

Word = Literal["holds", "holds with limits", "does not hold", "not decided"]
WORDS: tuple[Word, ...] = ("holds", "holds with limits", "does not hold", "not decided")
Arms = Mapping[str, Mapping[str, Sequence[float | None]]]
"""The values of each arm and measure, one for each seed. None stands for a run that failed: it is worse than all
others."""


@dataclass(frozen=True)
class Comparison:
    """An arm beside another arm or a constant.

    Attributes:
        clause: the comparison in words, as a statement: "momentum needs fewer steps".
        arm: name of the arm that the claim favors.
        than: name of the other arm, or a constant.
        measure: name of the measure.
        margin: the smallest difference that the claim needs; with ``ratio`` the smallest factor, above 1.
        lower: whether lower values are better.
        ratio: whether values are compared by their ratio. They must be positive.
    """

    clause: str
    arm: str
    than: str | float
    measure: str
    margin: float
    lower: bool = False
    ratio: bool = False

    def __post_init__(self) -> None:
        if self.margin <= (1 if self.ratio else 0):
            least = "above 1 for a ratio" if self.ratio else "above 0"
            raise ValueError(f"the margin of {self.clause!r} is {self.margin:g} and must be {least}")

    @property
    def least(self) -> float:
        """The margin as a difference of the compared values, which are logarithms for a ratio."""
        return log(self.margin) if self.ratio else self.margin

    def differences(self, arms: Arms) -> list[float]:
        """For each seed, the advantage of the arm; infinite if one of the two runs failed."""
        values = arms[self.arm][self.measure]
        others = arms[self.than][self.measure] if isinstance(self.than, str) else [self.than] * len(values)
        return [self._difference(a, b) for a, b in zip(values, others, strict=True)]

    def _difference(self, a: float | None, b: float | None) -> float:
        if a is None or b is None:
            return 0.0 if a is b else inf if b is None else -inf
        difference = log(a) - log(b) if self.ratio else a - b
        return -difference if self.lower else difference

    def swapped(self, one: str, other: str) -> Comparison:
        """The same comparison with two arms exchanged."""
        names = {one: other, other: one}
        than = names.get(self.than, self.than) if isinstance(self.than, str) else self.than
        return replace(self, arm=names.get(self.arm, self.arm), than=than)


class Finding(NamedTuple):
    """The result of a comparison.

    Attributes:
        comparison: the comparison.
        role: gate, clause or limit.
        interval: mean difference and its 95 % interval; of the logarithms for a ratio.
        state: supported, refuted or undecided.
        null_rate: the probability of ``supported`` if there is no effect: the fraction of all changes of the signs of
            the differences that give it; None for a single value.
    """

    comparison: Comparison
    role: Literal["gate", "clause", "limit"]
    interval: Interval
    state: Literal["supported", "refuted", "undecided"]
    null_rate: float | None


class Judgment(NamedTuple):
    """The verdict of the criteria on the arms.

    Attributes:
        word: the verdict.
        findings: the results of all comparisons, gates first.
        null_rate: the probability that at least one clause is supported if there is no effect in any of them; None if
            there is one value for each arm.
    """

    word: Word
    findings: tuple[Finding, ...]
    null_rate: float | None

    def supported(self, clause: str) -> bool:
        """Whether the comparison with these words is supported."""
        return self.finding(clause).state == "supported"

    def refuted(self, clause: str) -> bool:
        """Whether the comparison with these words is refuted: the values show that it is not true by the margin."""
        return self.finding(clause).state == "refuted"

    def reversed(self, clause: str) -> bool:
        """Whether the values show the opposite of the comparison with these words: the whole interval is below 0."""
        return self.finding(clause).interval.high < 0

    def not_shown(self, *comparisons: Comparison) -> str:
        """A sentence, after a space, that names those of some comparisons that are not supported; empty if all are."""
        missing = [one.clause for one in comparisons if not self.supported(one.clause)]
        return f" It is not shown that {' and that '.join(missing)}." if missing else ""

    def finding(self, clause: str) -> Finding:
        """The result of the comparison with these words."""
        return next(found for found in self.findings if found.comparison.clause == clause)


@dataclass(frozen=True)
class Criteria:
    """The comparisons of an experiment and the rule for the verdict.

    * A gate that is not supported: not decided.
    * All clauses and all limits supported: holds.
    * All clauses supported and a limit not, or only some of the clauses: holds with limits.
    * No clause supported and all refuted: does not hold. Otherwise: not decided.

    Attributes:
        clauses: the parts of the claim.
        gates: conditions without which the clauses are not tested.
        limits: conditions under which the claim would hold without limits, for example a second measure.

    >>> faster = Comparison("momentum needs fewer steps", "momentum", "plain", "steps", 4 / 3, lower=True, ratio=True)
    >>> runs = {"momentum": {"steps": [50, 55, 52, 51, 53]}, "plain": {"steps": [100, 108, 104, 99, 105]}}
    >>> Criteria((faster,)).judge(runs).word
    'holds'
    >>> Criteria((faster,)).judge({"momentum": runs["plain"], "plain": runs["momentum"]}).word
    'does not hold'
    """

    clauses: tuple[Comparison, ...]
    gates: tuple[Comparison, ...] = ()
    limits: tuple[Comparison, ...] = ()

    @property
    def comparisons(self) -> tuple[Comparison, ...]:
        """Gates, clauses and limits."""
        return self.gates + self.clauses + self.limits

    def judge(self, arms: Arms) -> Judgment:
        """The verdict on measured values.

        Args:
            arms: the values of each arm and measure, one for each seed, in the same order of seeds.
        """
        roles = (("gate", self.gates), ("clause", self.clauses), ("limit", self.limits))
        findings = tuple(_find(comparison, role, arms) for role, group in roles for comparison in group)
        return Judgment(_word(findings), findings, self._null_rate(arms))

    def _null_rate(self, arms: Arms) -> float | None:
        """The fraction of the changes of sign, the same in all clauses, that support at least one of them."""
        differences = [comparison.differences(arms) for comparison in self.clauses]
        if len(differences[0]) < 2:
            return None
        flips = sign_flips(len(differences[0]))
        return fmean(
            any(_state([s * d for s, d in zip(signs, row, strict=True)], comparison.least)[1] == "supported"
                for comparison, row in zip(self.clauses, differences, strict=True))
            for signs in flips
        )  # fmt: skip


def _find(comparison: Comparison, role: Any, arms: Arms) -> Finding:
    differences = comparison.differences(arms)
    interval, state = _state(differences, comparison.least)
    if len(differences) < 2:
        return Finding(comparison, role, interval, state, None)
    flipped = ([s * d for s, d in zip(signs, differences, strict=True)] for signs in sign_flips(len(differences)))
    rate = fmean(_state(one, comparison.least)[1] == "supported" for one in flipped)
    return Finding(comparison, role, interval, state, rate)


def _state(differences: Sequence[float], least: float) -> tuple[Interval, Literal["supported", "refuted", "undecided"]]:
    """The interval of differences, and what it says of the margin."""
    interval = confidence_interval(differences, LEVEL)
    if interval.low > 0 and interval.mean >= least:
        return interval, "supported"
    return interval, "refuted" if interval.high < least else "undecided"


def _word(findings: Sequence[Finding]) -> Word:
    states = {role: [f.state for f in findings if f.role == role] for role in ("gate", "clause", "limit")}
    if any(state != "supported" for state in states["gate"]):
        return "not decided"
    supported = [state == "supported" for state in states["clause"]]
    if all(supported):
        return "holds" if all(state == "supported" for state in states["limit"]) else "holds with limits"
    if any(supported):
        return "holds with limits"
    return "does not hold" if all(state == "refuted" for state in states["clause"]) else "not decided"


def favorable(criteria: Criteria, seeds: int = 5) -> dict[str, dict[str, list[float]]]:
    """Made-up values with which every comparison of some criteria is far above its margin, for tests of the criteria.

    Raises:
        ValueError: if the comparisons contradict each other.

    >>> criteria = Criteria((Comparison("a is larger", "a", "b", "size", 1.0),))
    >>> criteria.judge(favorable(criteria)).word
    'holds'
    """
    values: dict[tuple[str, str], float] = {}
    for _ in range(len(criteria.comparisons) + 1):
        settled = True
        for one in criteria.comparisons:
            mine, base = (one.arm, one.measure), _base(one, values)
            wanted = base * one.margin ** (-3 if one.lower else 3) if one.ratio else base + _step(one)
            if mine not in values or (values[mine] - wanted) * (-1 if one.lower else 1) < -1e-12 * abs(wanted):
                values[mine], settled = wanted, False
        if settled:
            arms: dict[str, dict[str, list[float]]] = {}
            for (arm, measure), value in values.items():
                arms.setdefault(arm, {})[measure] = [value * (1 + 1e-3 * k) for k in range(seeds)]
            return arms
    raise ValueError("the comparisons contradict each other")


def _base(one: Comparison, values: dict[tuple[str, str], float]) -> float:
    return values.setdefault((one.than, one.measure), 1.0) if isinstance(one.than, str) else one.than


def _step(one: Comparison) -> float:
    return one.margin * (-3 if one.lower else 3)


def finite(interval: Interval) -> bool:
    """Whether no run of a comparison failed."""
    return isfinite(interval.low) and isfinite(interval.high)
