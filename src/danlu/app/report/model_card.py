"""The card of a model: its type, its training data, its scores and its limits."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any, NamedTuple

from danlu.app.report.html_report import describe_weights, headline, results
from danlu.app.report.page import templates
from danlu.app.report.section import Scores
from danlu.app.report.usage import commands
from danlu.catalogue.recipes import all_recipes
from danlu.data.base.dataset import DataInfo
from danlu.models.base import Model
from danlu.printable import printable
from danlu.storage.atomic import write_text
from danlu.verbs import VERBS, has, verbs_of

MOST_CLASSES = 50


class About(NamedTuple):
    """The description of a model in its card, apart from its run.

    Attributes:
        name: the model's name in the catalogue.
        title: the type of the model in a few words.
        source: authors and year of the paper.
        verbs: its verbs.
        class_conditional: whether it generates examples of a given class.
        parameters: its number of parameters, without networks that are used in training only; None if unknown.
    """

    name: str
    title: str
    source: str
    verbs: list[str]
    class_conditional: bool = False
    parameters: int | None = None


def about_model(model: Model, recipe: str) -> About:
    """The description of a model that was trained by a recipe."""
    entry = all_recipes()[recipe]
    parameters = sum(parameter.numel() for parameter in model.parameters())
    by_class = has(model, "class_conditional")
    return About(type(model).__name__, entry.title, entry.source, verbs_of(model), by_class, parameters)


def write_card(
    path: Path,
    run: dict[str, Any],
    scores: Scores,
    info: DataInfo,
    about: About,
) -> None:
    """Write ``card.md``.

    Args:
        path: the file to write.
        run: the content of run.json; missing entries are omitted.
        scores: value of each score by part of the data.
        info: properties of an input.
        about: the description of the model.
    """
    card = templates("danlu.app.report", html=False, shown=plain)
    card.filters |= {"code": code, "span": span, "markdown": Markdown}
    page = {
        "run": run,
        "data": run.get("data", {}),
        "name": headline(run),
        "weights": describe_weights(run),
        "results": results(run, scores),
        "calibration_error": scores.get("test", {}).get("calibration_error"),
        "temperature": run.get("temperature"),
        "input": info.input_description,
        "classes": info.label_names if "classify" in about.verbs else (),
        "most_classes": MOST_CLASSES,
        "model_name": about.name,
        "title": about.title,
        "parameters": about.parameters or run.get("parameters"),
        "source": about.source,
        "commands": commands(about.verbs, info, about.class_conditional),
        "diagnosis": run.get("diagnosis"),
        "verbs": {verb: VERBS[verb].__doc__ for verb in about.verbs},
    }
    write_text(path, card.get_template("card.md.jinja").render(page))


class Markdown(str):
    """Text that is Markdown already, which ``plain`` leaves unchanged."""


def plain(text: object) -> Markdown:
    r"""Text with control characters and the special characters of Markdown and HTML escaped, on one line.

    The template applies it to all values. Characters of HTML become entities, because not every program accepts a
    backslash before them.

    >>> print(plain("a|b <i>*c*"), plain(plain("<i>")))
    a\|b &lt;i&gt;\*c\* &lt;i&gt;
    """
    if isinstance(text, Markdown):
        return text
    line = html.escape(" ".join(printable(str(text)).split()), quote=False)
    return Markdown(re.sub(r"([\\`*_{}\[\]#|~$])", r"\\\1", line))


def code(text: object) -> Markdown:
    r"""Text for an indented code block, on one line: a second line would not be part of the block.

    >>> print(code("danlu train\r<b>"))
    danlu train <b>
    """
    return Markdown(printable(" ".join(str(text).split())))


def span(text: object) -> Markdown:
    """Text for a code span, without the character that ends it.

    >>> print(span("a`<b>"))
    a'<b>
    """
    return code(str(text).replace("`", "'"))
