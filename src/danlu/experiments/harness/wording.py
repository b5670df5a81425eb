"""Numbers and findings as text, for tables, conclusions and pages."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, isinf
from statistics import fmean

from danlu.experiments.harness.criteria import Finding, Judgment

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
FINDINGS_HEAD = ("clause", "difference", "95 % interval", "needed", "result", "rate without effect")


def number(value: float, digits: int = 3) -> str:
    """A number with a few significant digits, and with a power of ten where it is very large or small.

    >>> [number(value) for value in (0.12345, -2, 1234.5, 1e7, 3.21e-6, 0.0)]
    ['0.123', '−2', '1230', '10⁷', '3.21·10⁻⁶', '0']
    """
    if isinf(value):
        return "−∞" if value < 0 else "∞"
    sign, rounded = "−" if value < 0 else "", f"{abs(value):.{digits - 1}e}"
    size, (factor, power) = float(rounded), rounded.split("e")
    if size and not 1e-3 <= size < 1e5:
        tens = power_of_ten(int(power))
        factor = f"{float(factor):g}"
        return sign + (tens if factor == "1" else f"{factor}·{tens}")
    return sign + (f"{size:.0f}" if size == int(size) else f"{size:g}")


def percent(fraction: float, digits: int = 0) -> str:
    """A fraction in percent.

    Args:
        fraction: the fraction, 1 for the whole.
        digits: number of decimal places.

    >>> percent(0.66), percent(0.9954, 1)
    ('66 %', '99.5 %')
    """
    return f"{100 * fraction:.{digits}f} %"


def power_of_ten(power: int) -> str:
    """A power of ten.

    >>> power_of_ten(-12)
    '10⁻¹²'
    """
    return f"10{str(power).translate(_SUPERSCRIPTS)}"


def mean_and_range(values: Sequence[float | None], digits: int = 3) -> str:
    """The mean over seeds with the smallest and the largest value; runs that failed are counted.

    >>> mean_and_range([0.1, 0.2, 0.6]), mean_and_range([1.0, None]), mean_and_range([None])
    ('0.3 (0.1 to 0.6)', '1, 1 failed', 'failed')
    """
    known = [value for value in values if value is not None]
    if not known:
        return "failed"
    text = number(fmean(known), digits)
    if len(known) > 1 and number(min(known), digits) != number(max(known), digits):
        text += f" ({number(min(known), digits)} to {number(max(known), digits)})"
    failed = len(values) - len(known)
    return text + (f", {failed} failed" if failed else "")


def findings_table(judgment: Judgment) -> list[tuple[str, ...]]:
    """The comparisons of an experiment as a table, below a row of column names."""
    return [FINDINGS_HEAD, *(_row(found) for found in judgment.findings)]


def _row(found: Finding) -> tuple[str, ...]:
    comparison, interval = found.comparison, found.interval
    show = (lambda x: f"× {number(exp(x) if x < 700 else x)}") if comparison.ratio else number
    needed = f"at least {show(comparison.least)}"
    between = "exact" if found.null_rate is None else f"{show(interval.low)} to {show(interval.high)}"
    rate = "–" if found.null_rate is None else percent(found.null_rate, 1)
    words = {"gate": "gate: ", "clause": "", "limit": "limit: "}
    return words[found.role] + comparison.clause, show(interval.mean), between, needed, found.state, rate


def undecided_reason(judgment: Judgment) -> str:
    """Why a claim is not decided: the gate that is not passed, or the clauses whose intervals contain the margin."""
    failed = [f.comparison.clause for f in judgment.findings if f.role == "gate" and f.state != "supported"]
    if failed:
        return f"The claim cannot be tested here, because it is not shown that {' and that '.join(failed)}."
    open_ = [f.comparison.clause for f in judgment.findings if f.role == "clause" and f.state == "undecided"]
    return f"The seeds do not decide whether {' and whether '.join(open_)}."
