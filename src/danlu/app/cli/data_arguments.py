"""The words after ``danlu data``: the data set comes first, then how it is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from danlu.app.cli.tyro_parsing import given
from danlu.app.console.settings_flags import help_text
from danlu.app.inspect.dataset_survey import name_of
from danlu.catalogue.datasets import DATA
from danlu.data.training_data import TrainingData
from danlu.errors import UsageError
from danlu.recipes.config.error_messages import in_words
from danlu.recipes.config.strict_yaml import failure


@dataclass(frozen=True)
class DataOptions:
    """How the data set is looked at.

    Args:
        data_dir: where files of data sets lie already; else the environment's DANLU_DATA
        picture: a file to draw some examples into
        json: print one JSON object and nothing else
    """

    data_dir: Path | None = None
    picture: Path | None = None
    json: bool = False


def parse(words: list[str]) -> tuple[TrainingData, Any]:
    """What is to be looked at, and how.

    Raises:
        UsageError: if no data set is named, or the settings do not go together.
        SystemExit: for help (0), and for flags and values that cannot be read (2).
    """
    usage = "usage: danlu data NAME|PATH|folder:PATH|table:FILE|text:PATH [--settings …]"
    if {"-h", "--help"} & set(words):
        width = max(map(len, DATA))
        known = "\n".join(f"  {name:<{width}}  {entry.title} ({entry.source})" for name, entry in DATA.items())
        print(f"{usage}\n\n{known}\n{help_text(TrainingData(), DataOptions)}")
        raise SystemExit(0)
    if not words or words[0].startswith("-"):
        raise UsageError(
            f"name a data set, a folder of images, a table or a text first.\n{usage}\n\nsets: {', '.join(DATA)}"
        )
    base = TrainingData(data=name_of(words[0]))
    settings, options = given(base, DataOptions, f"danlu data {words[0]}", words[1:])
    try:
        return TrainingData.model_validate({"data": base.data, **settings}), options
    except ValidationError as error:
        raise failure(in_words(error, TrainingData)) from None
