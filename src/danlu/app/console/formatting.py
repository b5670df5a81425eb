"""Numbers, durations, sizes and paths as text."""

from __future__ import annotations

import math
import shlex
from pathlib import Path

from danlu.app.console.scores import find_score


def quoted(path: Path) -> str:
    """A path, quoted for a shell if necessary.

    >>> quoted(Path("my run"))
    "'my run'"
    """
    return shlex.quote(str(path))


def in_short(entry: dict[str, float]) -> str:
    """The terms of the players and the validation scores, without learning rates and norms.

    >>> in_short({"round": 3, "net/loss": 0.25, "net/lr": 0.1, "validation/accuracy": 0.9})
    'loss 0.2500  validation accuracy 0.9000'
    """
    players = {name.split("/")[0] for name in entry if name.endswith("/lr")}
    words = []
    for name, value in entry.items():
        owner, _, term = name.partition("/")
        if owner == "validation":
            words.append(f"validation {score_name(term)} {number(value)}")
        elif owner == "generated":
            words.append(f"{score_name(term)} {score_value(term, value)}")
        elif owner in players and term not in ("lr", "gradient_norm"):
            words.append(f"{owner + ' ' if len(players) > 1 else ''}{score_name(term)} {number(value)}")
    return "  ".join(words)


def number(value: float) -> str:
    """A number with four decimals, or in scientific notation if it is very small or large.

    >>> number(0.98321), number(0.0000213)
    ('0.9832', '2.13e-05')
    """
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e5 else f"{value:.2e}"


def score_name(name: str) -> str:
    """The name of a score or of a term in text.

    >>> score_name("top_5"), score_name("teacher_log_prob"), score_name("fool")
    ('top-5 accuracy', 'log-likelihood of the teacher', 'fool')
    """
    found = find_score(name)
    return found.label if found is not None else name.replace("_", " ")


def score_value(name: str, value: float) -> str:
    """The value of a score with about four significant digits; counts are shown as integers.

    >>> score_value("modes_covered", 8.0), score_value("accuracy", 1.0), score_value("perplexity", 12.58012)
    ('8', '1.0000', '12.58')
    """
    found = find_score(name)
    if found is not None and found.whole and math.isfinite(value):
        return f"{value:.1f}".removesuffix(".0")
    if 2 <= abs(value) < 1e5:
        return f"{value:.{max(1, 3 - int(math.log10(abs(value))))}f}"
    return number(value)


def duration(seconds: float) -> str:
    """A duration in hours, minutes and seconds.

    >>> duration(7), duration(754), duration(8000)
    ('7s', '12m34s', '2h13m')
    """
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds}s"
    if seconds < 3600:
        return f"{seconds // 60}m{seconds % 60:02d}s"
    return f"{seconds // 3600}h{seconds % 3600 // 60:02d}m"


def human(size: float) -> str:
    """A number of bytes with a unit.

    >>> human(3_250_000)
    '3.2 MB'
    """
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def short(text: str, length: int) -> str:
    """A name on one line, shortened to a number of letters.

    >>> short("a very long name", 7)
    'a very…'
    """
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"
