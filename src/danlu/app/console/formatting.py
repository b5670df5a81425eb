"""Numbers, durations, sizes and paths as text."""

from __future__ import annotations

import shlex
from pathlib import Path

GIVEN_LABEL = "_given_label"
"""end of the names of the scores of a conditional model that gets the label"""
TEACHER = "teacher_"
"""start of the names of the scores of the teacher of a distillation"""


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


_ENDS = {
    "_estimate": "estimate",
    "_unreliable": "unreliable estimate",
    "_error": "standard error of the estimate",
}
"""ends of the names of a log-likelihood whose normalizer is estimated"""


def score_name(name: str) -> str:
    """The name of a score in text.

    >>> score_name("top_5"), score_name("teacher_log_prob"), score_name("elbo_given_label")
    ('top-5 accuracy', 'log-likelihood of the teacher', 'ELBO given the label')
    """
    if name.startswith("top_"):
        return f"{name.replace('_', '-')} accuracy"
    if name.startswith("log_prob_bound_"):
        draws = name.rpartition("_")[2]
        return f"lower bound of the log-likelihood ({draws} {'draw' if draws == '1' else 'draws'})"
    if name.endswith(GIVEN_LABEL):
        return f"{score_name(name.removesuffix(GIVEN_LABEL))} given the label"
    if name.startswith(TEACHER):
        return f"{score_name(name.removeprefix(TEACHER))} of the teacher"
    for end, label in _ENDS.items():
        if name.endswith((f"log_prob{end}", f"bits_per_dimension{end}")):
            return f"{score_name(name.removesuffix(end))}, {label}"
    names = {
        "cross_entropy": "cross-entropy",
        "elbo": "ELBO",
        "effective_chains": "effective chains of the estimate",
        "log_prob": "log-likelihood",
        "negative_log_likelihood": "negative log-likelihood",
        "dequantized_log_prob": "lower bound of the log-likelihood (dequantization)",
        "recalled": "recalled without an error",
        "not_finite": "examples with NaN or infinite outputs",
        "calibrated_error": "calibration error after temperature scaling",
    }
    return names.get(name, name.replace("_", " "))


def score_value(name: str, value: float) -> str:
    """The value of a score; counts are shown as integers.

    >>> score_value("modes_covered", 8.0), score_value("accuracy", 1.0)
    ('8', '1.0000')
    """
    return f"{value:.0f}" if name.endswith("_covered") or name == "not_finite" else number(value)


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
