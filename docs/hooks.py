"""Inserts the stored results of the benchmarks into their page."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"
PLACEHOLDER = "<!-- results of the benchmarks -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the placeholder by the tables."""
    return markdown.replace(PLACEHOLDER, results()) if PLACEHOLDER in markdown else markdown


def results() -> str:
    """A table of speeds, a table of scores, and the machines on which they were measured."""
    pages = [page for path in sorted(RESULTS.glob("*.json")) for page in _results(path)]
    speed = [page for page in pages if "theirs" in page]
    papers = [page for page in pages if "published" in page]
    parts = []
    if speed:
        head = (
            "benchmark",
            "hardware",
            "compared with",
            "theirs",
            "danlu",
            "ratio or difference (quartiles)",
            "target",
            "met",
        )
        parts += ["### Speed", _table(head, [_speed(page) for page in speed]), _notes(speed, "notes")]
    if papers:
        head = (
            "benchmark",
            "hardware",
            "score",
            "published",
            "danlu, mean ± standard deviation",
            "seeds",
            "time",
            "target",
            "met",
        )
        parts += ["### Scores", _table(head, [_score(page) for page in papers]), _notes(papers, "protocol")]
    return "\n\n".join([*parts, "### Measured on", *_machines(pages)])


def _results(path: Path) -> list[dict[str, Any]]:
    """The results of a benchmark, one for each kind of hardware."""
    results = json.loads(path.read_text(encoding="utf-8"))["results"]
    return [{"hardware": hardware, **result} for hardware, result in results.items()]


def _speed(page: dict[str, Any]) -> tuple[str, ...]:
    low, high = page["spread"]
    if page["ratio"] is None:
        comparison = f"{page['difference']:+.1f} {page['unit']} ({low:+.1f} to {high:+.1f})"
    else:
        comparison = f"× {page['ratio']:.1f} ({low:.1f} to {high:.1f})"
    times = [f"{page[side]:.3g} {page['unit']}" for side in ("theirs", "ours")]
    return (
        f"`{page['name']}`",
        page["hardware"],
        f"`{page['peer']}`",
        *times,
        comparison,
        page["target"],
        "yes" if page["met"] else "**no**",
    )


def _score(page: dict[str, Any]) -> tuple[str, ...]:
    values = page["values"]
    deviation = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
    ours = f"{statistics.mean(values):.4f}{deviation}"
    end = (f"{page['seconds']:.0f} s", page["target"], "yes" if page["met"] else "**no**")
    return (f"`{page['name']}`", page["hardware"], page["metric"], page["published"], ours, str(len(values)), *end)


def _notes(pages: list[dict[str, Any]], key: str) -> str:
    return "\n".join(f"- `{page['name']}` ({page['hardware']}): {page[key]}." for page in pages if page.get(key))


def _machines(pages: list[dict[str, Any]]) -> list[str]:
    """Each machine with the benchmarks that were measured on it."""
    names_by_machine: dict[str, list[str]] = {}
    for page in pages:
        machine = ", ".join(f"{name} {value}" for name, value in page["machine"].items())
        names_by_machine.setdefault(machine, []).append(f"`{page['name']}` ({page['hardware']})")
    return [f"- {', '.join(names)}: {machine}." for machine, names in names_by_machine.items()]


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)
