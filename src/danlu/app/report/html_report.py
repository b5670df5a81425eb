"""The report of a run: one HTML file without scripts that loads no other files."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from markupsafe import Markup

from danlu.app.console.formatting import duration, number, score_name, score_value
from danlu.app.console.scores import find_score
from danlu.app.report.figures.all_figures import draw
from danlu.app.report.page import templates
from danlu.app.report.section import Scores, Section, figure
from danlu.storage.atomic import write_text


def write_report(
    path: Path,
    run: dict[str, Any],
    recipe_yaml: str,
    metrics: list[dict[str, float]],
    scores: Scores,
    sections: list[Section],
) -> None:
    """Write ``report.html``.

    Args:
        path: the file to write.
        run: the content of run.json; lines for missing values are omitted.
        recipe_yaml: the recipe with all settings.
        metrics: the lines of metrics.jsonl.
        scores: value of each score by part of the data.
        sections: the other sections.
    """
    from danlu.app.report.figures import style  # imports matplotlib

    best_round = (run.get("best") or {}).get("round")
    if metrics:
        caption = "The values that were logged during training." + (
            f" Round {best_round:,} was the best." if best_round else ""
        )
        sections = [  # what the model does comes first
            *sections,
            Section("Training curves", caption, figure("curves", metrics=metrics, best_round=best_round)),
        ]
    drawn = [
        Markup(style.to_svg(draw(section.figure), f"figure-{place}", section.title)) if section.figure else None
        for place, section in enumerate(sections, start=1)
    ]
    page = {
        "title": headline(run),
        "lead": lead(run),
        "diagnosis": _diagnosis(run),
        "results": results(run, scores),
        "meanings": meanings(scores),
        "command": run.get("command"),
        "sections": list(zip(sections, drawn, strict=True)),
        "recipe": recipe_yaml,
        "environment": environment(run),
    }
    write_text(path, templates("danlu.app.report", html=True).get_template("report.html.jinja").render(page))


def headline(run: dict[str, Any]) -> str:
    """Recipe and data.

    >>> headline({"recipe": "cnn", "data": {"name": "digits"}})
    'cnn on digits'
    """
    data = run.get("data", {}).get("name")
    return f"{run.get('recipe', 'a model')} on {data}" if data else str(run.get("recipe", "a model"))


def lead(run: dict[str, Any]) -> str:
    """A summary of the run in one or two sentences."""
    size = f"{run['parameters']:,} parameters" if "parameters" in run else "A model"
    length = f" for {run['round']:,} rounds" if "round" in run else ""
    early = f" of {run['rounds']:,}, stopped early," if run.get("stopped_early") and "rounds" in run else ""
    time = f" in {duration(run['seconds'])}" if "seconds" in run else ""
    device = f" on {run['device']}" if "device" in run else ""
    weights = describe_weights(run)
    return f"{size}, trained{length}{early}{time}{device}." + (f" The weights are {weights}." if weights else "")


def describe_weights(run: dict[str, Any]) -> str:
    """A description of the weights of the model.

    >>> describe_weights({"weights": "best", "best": {"monitor": "accuracy", "score": 0.994, "round": 640}})
    'those of round 640, the best by validation accuracy (0.9940)'
    >>> describe_weights({"weights": "last", "round": 786})
    'those of the last round, 786'
    """
    round = f" of round {run['round']:,}" if "round" in run else ""
    best = run.get("best") or {}
    match run.get("weights"):
        case "best" if best.get("round") is not None:
            score = f" ({number(best['score'])})" if best.get("score") is not None else ""
            seen = "" if "[" in best["monitor"] else "validation "  # otherwise the name has the part
            return f"those of round {best['round']:,}, the best by {seen}{score_name(best['monitor'])}{score}"
        case "best":
            return "the best on the validation part"
        case "average":
            return f"the running average{round}"
        case "last":
            return f"those of the last round, {run['round']:,}" if round else "those of the last round"
    return ""


def _diagnosis(run: dict[str, Any]) -> str:
    """The diagnosis of a finished run; for an unfinished run, its status."""
    status = run.get("status", "finished")
    if status == "finished":
        return run.get("diagnosis") or ""
    done = f" after round {run['round']:,} of {run['rounds']:,}" if {"round", "rounds"} <= run.keys() else ""
    error = f" Error: {run['error']}" if run.get("error") else ""
    return f"This run is not finished: its status is “{status}”{done}.{error}"


@dataclass(frozen=True)
class Result:
    """The scores on a part of the data, or of generated examples.

    Attributes:
        part: name of the part.
        examples: number of examples, if known.
        scores: name, value and remark of each score.
    """

    part: str
    examples: int | None
    scores: list[tuple[str, str, str]]


def results(run: dict[str, Any], scores: Scores) -> list[Result]:
    """The scores by part; the test part first, because it was not used to select weights."""
    by_part = []
    for part in sorted(scores, key=lambda part: part != "test"):
        n = run.get("data", {}).get(part)
        rows = [
            (score_name(name), score_value(name, value), _remark(name, value, n))
            for name, value in scores[part].items()
        ]
        by_part.append(Result("generated examples" if part == "generated" else f"{part} part", n, rows))
    return by_part


def _remark(name: str, value: float, n: int | None) -> str:
    """A remark on a score: the count of an accuracy, the unit of others, and which values are better."""
    found = find_score(name)
    first = found.unit if found is not None else ""
    if n is not None and (name == "accuracy" or name.startswith("top_")):
        first = f"{round(value * n):,} of {n:,}"
    return ", ".join(part for part in (first, found.direction if found is not None else "") if part)


def meanings(scores: Scores) -> list[tuple[str, str]]:
    """Name and meaning of each score, once, in the order of the parts.

    >>> meanings({"test": {"mae": 1.5}, "validation": {"mae": 1.0}})
    [('mean absolute error', 'The mean distance between prediction and value, in its unit.')]
    """
    found = {name: find_score(name) for values in scores.values() for name in values}
    return [(score_name(name), score.meaning) for name, score in found.items() if score is not None]


def environment(run: dict[str, Any]) -> list[tuple[str, str]]:
    """Data, versions, device and duration of the run, by name; unknown values are omitted."""
    data = run.get("data", {})
    counts = [f"{data[part]:,} {part}" for part in ("train", "validation", "test") if part in data]
    reason = f" ({run['device_reason']})" if run.get("device_reason") else ""
    rows = {
        "data": " ".join([data.get("name", ""), f"({', '.join(counts)})" if counts else ""]).strip(),
        "fingerprint": data.get("fingerprint"),
        "seed": run.get("seed"),
        "versions": ", ".join(f"{name} {version}" for name, version in run.get("versions", {}).items()),
        "device": f"{run['device']}{reason}" if "device" in run else None,
        "precision": run.get("precision"),
        "threads": run.get("threads"),
        "processes": run.get("ranks"),
        "started": _moment(run.get("started")),
        "duration": duration(run["seconds"]) if "seconds" in run else None,
    }
    return [(name, str(value)) for name, value in rows.items() if value not in (None, "")]


def _moment(text: str | None) -> str | None:
    """A time in UTC as text.

    >>> _moment("2026-11-23T14:12:03+00:00")
    '2026-11-23 14:12 UTC'
    """
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return text
    return f"{moment:%Y-%m-%d %H:%M %Z}".strip()
