"""The report of a run: one HTML file that needs nothing beside it, neither a network nor a script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxtyping import Float, Int
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from torch import Tensor

from danlu.app.screen import duration, number
from danlu.data.dataset import DataInfo
from danlu.metrics.classification import calibration, confusion_matrix

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # half a second to import, and only a run's end draws

Scores = dict[str, dict[str, float]]
Table = list[tuple[str, ...]]

MOST_WRONG = 24


@dataclass(frozen=True)
class Section:
    """A part of the report.

    Attributes:
        title: its heading.
        caption: what is to be seen, in a sentence or two.
        figure: a picture, if there is one.
        table: rows of one length, if there are any; the first holds the names of the columns, and the first column
            the names of the rows.
    """

    title: str
    caption: str
    figure: Figure | None = None
    table: Table | None = None


def classification_sections(
    probabilities: Float[Tensor, "n classes"],
    labels: Int[Tensor, "n"],
    images: Float[Tensor, "n c h w"] | None,
    info: DataInfo,
    part: str,
) -> list[Section]:
    """What a classifier gets right and wrong on a part of the data.

    Args:
        probabilities: of each class.
        labels: the right classes.
        images: the examples, if they are pictures.
        info: names of the classes, range of the values.
        part: name of the part of the data, for the captions.

    >>> info = DataInfo("table", shape=(4,), classes=2, class_names=("cat", "dog"))
    >>> sections = classification_sections(torch.tensor([[0.9, 0.1]]), torch.tensor([0]), None, info, "test")
    >>> [section.title for section in sections]
    ['Confusion', 'Classes', 'Calibration']
    """
    from danlu.app import figures

    probabilities, labels = probabilities.detach().cpu(), labels.cpu()
    names = class_names(info)
    matrix = confusion_matrix(probabilities.argmax(dim=1), labels, len(names))
    bins = calibration(probabilities, labels)
    sections = [
        Section(
            "Confusion",
            f"How often each class was taken for each other, over the {len(labels):,} examples of the {part} part. "
            f"Colour is the share of the row: blue where the guess is right, vermilion where it is wrong.",
            figures.confusion(matrix, names),
        ),
        Section("Classes", f"Each class by itself, on the {part} part.", table=per_class(matrix, names)),
        Section(
            "Calibration",
            f"Whether the probabilities of the guesses can be believed, on the {part} part: on the dashed line, "
            f"guesses are as often right as they are sure. Light bars are 95\u00a0% intervals.",
            figures.reliability(bins),
        ),
    ]
    if images is not None and images.shape[1] in (1, 3):
        sections.append(_most_wrong(probabilities, labels, images, info, part))
    return sections


def class_names(info: DataInfo) -> tuple[str, ...]:
    """The names of the classes; their numbers, where they have no names."""
    return info.class_names or tuple(str(number) for number in range(info.classes))


def per_class(matrix: Int[Tensor, "k k"], names: Sequence[str]) -> Table:
    r"""Examples, precision, recall and F1 of each class, below the names of the columns.

    .. math:: P = \frac{m_{kk}}{\sum_i m_{ik}}, \qquad R = \frac{m_{kk}}{\sum_j m_{kj}}, \qquad F_1 = \frac{2PR}{P + R}

    A ratio without a denominator is a dash: the precision of a class that was never guessed is not 0 but unknown.

    Args:
        matrix: counts; rows are true classes, columns guesses.
        names: of the classes.

    >>> per_class(torch.tensor([[3, 1], [0, 0]]), ("cat", "dog"))[1:]
    [('cat', '4', '1.000', '0.750', '0.857'), ('dog', '0', '0.000', '–', '0.000')]
    """
    right, guessed, there = matrix.diagonal().tolist(), matrix.sum(dim=0).tolist(), matrix.sum(dim=1).tolist()
    rows: Table = [("class", "examples", "precision", "recall", "F1")]
    for name, hits, guesses, examples in zip(names, right, guessed, there, strict=True):
        ratios = (_ratio(hits, guesses), _ratio(hits, examples), _ratio(2 * hits, guesses + examples))
        rows.append((name, f"{examples:,}", *ratios))
    return rows


def _ratio(above: int, below: int) -> str:
    return f"{above / below:.3f}" if below else "–"


def surest_mistakes(
    probabilities: Float[Tensor, "n classes"], labels: Int[Tensor, "n"], most: int = MOST_WRONG
) -> tuple[Int[Tensor, "k"], bool]:
    """The wrong guesses with the highest probability; if none is wrong, the right ones with the lowest.

    Args:
        probabilities: of each class.
        labels: the right classes.
        most: how many at most.

    Returns:
        The numbers of the examples in this order, and whether they are wrong.

    >>> surest_mistakes(torch.tensor([[0.9, 0.1], [0.4, 0.6], [0.3, 0.7]]), torch.tensor([0, 0, 0]))
    (tensor([2, 1]), True)
    """
    sureness, guesses = probabilities.max(dim=1)
    wrong = (guesses != labels).nonzero().flatten()
    if len(wrong):
        return wrong[sureness[wrong].argsort(descending=True, stable=True)[:most]], True
    return sureness.argsort(stable=True)[:most], False


def _most_wrong(probabilities: Tensor, labels: Tensor, images: Tensor, info: DataInfo, part: str) -> Section:
    from danlu.app import figures

    chosen, wrong = surest_mistakes(probabilities, labels)
    sureness, guesses = probabilities[chosen].max(dim=1)
    picture = figures.most_wrong(
        images[chosen.to(images.device)], labels[chosen], guesses, sureness, class_names(info), info.range
    )
    if not wrong:
        caption = f"No example of the {part} part is wrong. These are the right ones that the model was least sure of."
        return Section("Least sure", caption, picture)
    mistakes = int((probabilities.argmax(dim=1) != labels).sum())
    shown = "all of them" if mistakes == len(chosen) else f"the {len(chosen)} surest of them"
    caption = (
        f"{mistakes:,} of the {len(labels):,} examples of the {part} part are wrong; {shown}, surest first: "
        f"true class → guess, and the probability that the model gave the guess."
    )
    return Section("Most wrong", caption, picture)


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
        run: the content of run.json; what it lacks is left out.
        recipe_yaml: the recipe, resolved.
        metrics: the lines of metrics.jsonl.
        scores: value of each score by part of the data.
        sections: what else there is to see.
    """
    from danlu.app import drawing, figures

    best_round = (run.get("best") or {}).get("round")
    if metrics:
        caption = "What was logged while training." + (f" Round {best_round:,} was the best." if best_round else "")
        sections = [Section("Curves", caption, figures.curves(metrics, best_round)), *sections]
    drawn = [
        Markup(drawing.to_svg(section.figure, f"figure-{place}", section.title)) if section.figure else None
        for place, section in enumerate(sections, start=1)
    ]
    page = {
        "title": headline(run),
        "lead": lead(run),
        "trouble": _trouble(run),
        "results": results(run, scores),
        "command": run.get("command"),
        "sections": list(zip(sections, drawn, strict=True)),
        "recipe": recipe_yaml,
        "environment": environment(run),
    }
    templates = Environment(
        loader=PackageLoader("danlu.app", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    path.write_text(templates.get_template("report.html.jinja").render(page), encoding="utf-8")


def headline(run: dict[str, Any]) -> str:
    """Recipe and data.

    >>> headline({"recipe": "cnn", "data": {"name": "digits"}})
    'cnn on digits'
    """
    data = run.get("data", {}).get("name")
    return f"{run.get('recipe', 'a model')} on {data}" if data else str(run.get("recipe", "a model"))


def lead(run: dict[str, Any]) -> str:
    """The run in a sentence or two."""
    size = f"{run['parameters']:,} parameters" if "parameters" in run else "A model"
    length = f" for {run['round']:,} rounds" if "round" in run else ""
    early = f" of {run['rounds']:,}, stopped early," if run.get("stopped_early") and "rounds" in run else ""
    time = f" in {duration(run['seconds'])}" if "seconds" in run else ""
    device = f" on {run['device']}" if "device" in run else ""
    weights = weights_in_words(run)
    return f"{size}, trained{length}{early}{time}{device}." + (f" The weights are {weights}." if weights else "")


def weights_in_words(run: dict[str, Any]) -> str:
    """Which weights the model has.

    >>> weights_in_words({"weights": "best", "best": {"watch": "accuracy", "score": 0.994, "round": 640}})
    'those of round 640, the best by validation accuracy (0.9940)'
    >>> weights_in_words({"weights": "last", "round": 786})
    'the last ones, of round 786'
    """
    round = f" of round {run['round']:,}" if "round" in run else ""
    best = run.get("best") or {}
    match run.get("weights"):
        case "best" if best.get("round") is not None:
            score = f" ({number(best['score'])})" if best.get("score") is not None else ""
            return f"those of round {best['round']:,}, the best by validation {score_name(best['watch'])}{score}"
        case "best":
            return "the best ones on the validation part"
        case "average":
            return f"the running average{round}"
        case "last":
            return f"the last ones,{round}" if round else "the last ones"
    return ""


def _trouble(run: dict[str, Any]) -> str:
    """What a reader must know first, if the run did not come to its end."""
    status = run.get("status", "finished")
    if status == "finished":
        return ""
    done = f" after round {run['round']:,} of {run['rounds']:,}" if {"round", "rounds"} <= run.keys() else ""
    error = f" The reason: {run['error']}" if run.get("error") else ""
    return f"This run is not finished: its status is “{status}”{done}.{error}"


@dataclass(frozen=True)
class Result:
    """Scores on a part of the data: its name, its number of examples, and name, value and remark of each score."""

    part: str
    examples: int | None
    scores: list[tuple[str, str, str]]


def results(run: dict[str, Any], scores: Scores) -> list[Result]:
    """What was reached; the test part first, because nothing was chosen by it."""
    found = []
    for part in sorted(scores, key=lambda part: part != "test"):
        n = run.get("data", {}).get(part)
        rows = [(score_name(name), number(value), _count(name, value, n)) for name, value in scores[part].items()]
        found.append(Result(part, n, rows))
    return found


def score_name(name: str) -> str:
    """A score as it is called in text.

    >>> score_name("top_5"), score_name("cross_entropy"), score_name("f1")
    ('top-5 accuracy', 'cross-entropy', 'f1')
    """
    if name.startswith("top_"):
        return f"{name.replace('_', '-')} accuracy"
    return {"cross_entropy": "cross-entropy"}.get(name, name.replace("_", " "))


def _count(name: str, value: float, n: int | None) -> str:
    """A remark on a score: the count behind a share, the unit of a cross-entropy."""
    if n is not None and (name == "accuracy" or name.startswith("top_")):
        return f"{round(value * n):,} of {n:,}"
    return "nats" if name == "cross_entropy" else ""


def environment(run: dict[str, Any]) -> list[tuple[str, str]]:
    """Where and with what the run happened, by name; what is not known is left out."""
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
        "ranks": run.get("ranks"),
        "started": _moment(run.get("started")),
        "took": duration(run["seconds"]) if "seconds" in run else None,
    }
    return [(name, str(value)) for name, value in rows.items() if value not in (None, "")]


def _moment(text: str | None) -> str | None:
    """A time of day in UTC as people write it.

    >>> _moment("2026-11-23T14:12:03+00:00")
    '2026-11-23 14:12 UTC'
    """
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return text
    return f"{moment:%Y-%m-%d %H:%M %Z}".strip()
