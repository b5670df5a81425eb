"""The card of a model: what it is, what it was trained on, how good it is, and where that ends."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

from danlu.app.report.html_report import headline, results, weights_in_words
from danlu.app.report.section import Scores
from danlu.app.report.usage import commands
from danlu.catalogue.recipes import all_recipes
from danlu.data.base.dataset import DataInfo
from danlu.verbs import VERBS, has, verbs_of

MOST_CLASSES = 50


class About(NamedTuple):
    """What a card says of a model, besides its run.

    Attributes:
        name: the model's name in the catalogue.
        title: what the model is, in a few words.
        source: who published it.
        verbs: what it can do.
        class_conditional: whether it generates examples of a given class.
    """

    name: str
    title: str
    source: str
    verbs: list[str]
    class_conditional: bool = False


def about_model(model: object, recipe: str) -> About:
    """What a card says of a model that was trained by a recipe."""
    entry = all_recipes()[recipe]
    return About(type(model).__name__, entry.title, entry.source, verbs_of(model), has(model, "class_conditional"))


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
        run: the content of run.json; what it lacks is left out.
        scores: value of each score by part of the data.
        info: what an input is.
        about: what the model is and what it can do.
    """
    templates = Environment(
        loader=PackageLoader("danlu.app.report"),
        autoescape=False,  # Markdown; plain() keeps names from being read as markup
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters["plain"] = plain
    page = {
        "run": run,
        "data": run.get("data", {}),
        "name": headline(run),
        "weights": weights_in_words(run),
        "results": results(run, scores),
        "calibration_error": scores.get("test", {}).get("calibration_error"),
        "temperature": run.get("temperature"),
        "info": info,
        "shape": ", ".join(["n", *map(str, info.shape)]),
        "classes": info.label_names if "classify" in about.verbs else (),
        "most_classes": MOST_CLASSES,
        "model_name": about.name,
        "title": about.title,
        "source": about.source,
        "commands": commands(about.verbs, info, about.class_conditional),
        "diagnosis": run.get("diagnosis"),
        "verbs": {verb: VERBS[verb].__doc__ for verb in about.verbs},
    }
    path.write_text(templates.get_template("card.md.jinja").render(page), encoding="utf-8")


def plain(text: object) -> str:
    r"""Text as Markdown that shows it as it is, on one line, in a table too.

    >>> print(plain("a|b <i>*c*"))
    a\|b \<i\>\*c\*
    """
    return re.sub(r"([\\`*_{}\[\]<>#|~$&])", r"\\\1", " ".join(str(text).split()))
