"""Fills the page of benchmarks with the figures that were last measured, so that none is written twice."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"
PLACE = "<!-- the figures of benchmarks/results -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the place-holder by the tables."""
    return markdown.replace(PLACE, figures()) if PLACE in markdown else markdown


def figures() -> str:
    """A table of ratios and differences, one of scores, and what they were measured on."""
    pages = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))]
    speed = [page for page in pages if "theirs" in page]
    papers = [page for page in pages if "published" in page]
    parts = []
    if speed:
        head = ("benchmark", "beside", "theirs", "danlu", "ratio or difference (quartiles)", "target", "met")
        parts += ["### Speed", _table(head, [_speed(page) for page in speed]), _notes(speed, "notes")]
    if papers:
        head = ("benchmark", "measured", "published", "danlu, mean ± deviation", "seeds", "time", "target", "met")
        parts += ["### Scores", _table(head, [_score(page) for page in papers]), _notes(papers, "protocol")]
    return "\n\n".join([*parts, "### Measured on", *_machines(pages)])


def _speed(page: dict[str, Any]) -> tuple[str, ...]:
    low, high = page["spread"]
    if page["ratio"] is None:
        found = f"{page['difference']:+.1f} {page['unit']} ({low:+.1f} to {high:+.1f})"
    else:
        found = f"× {page['ratio']:.1f} ({low:.1f} to {high:.1f})"
    times = [f"{page[side]:.3g} {page['unit']}" for side in ("theirs", "ours")]
    return (f"`{page['name']}`", f"`{page['peer']}`", *times, found, page["target"], "yes" if page["met"] else "**no**")


def _score(page: dict[str, Any]) -> tuple[str, ...]:
    values = page["values"]
    deviation = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
    ours = f"{statistics.mean(values):.4f}{deviation}"
    end = (f"{page['seconds']:.0f} s", page["target"], "yes" if page["met"] else "**no**")
    return (f"`{page['name']}`", page["metric"], page["published"], ours, str(len(values)), *end)


def _notes(pages: list[dict[str, Any]], key: str) -> str:
    return "\n".join(f"- `{page['name']}`: {page[key]}." for page in pages if page.get(key))


def _machines(pages: list[dict[str, Any]]) -> list[str]:
    """Each machine once, with what was measured on it."""
    seen: dict[str, list[str]] = {}
    for page in pages:
        facts = ", ".join(f"{name} {value}" for name, value in page["machine"].items())
        seen.setdefault(facts, []).append(f"`{page['name']}`")
    return [f"- {', '.join(names)}: {facts}." for facts, names in seen.items()]


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)
