"""The words after ``danlu train``: the recipe's name comes first, then its own settings as flags."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from danlu.app.cli.tyro_parsing import NoOptions, given
from danlu.app.console.settings_flags import help_text
from danlu.app.runs.inspect_recipe import as_recipe
from danlu.catalogue.recipes import all_recipes
from danlu.errors import UsageError
from danlu.recipes.config.recipe import Recipe
from danlu.recipes.config.yaml_files import changed
from danlu.training.runtime import DeviceName


@dataclass(frozen=True)
class TrainOptions:
    """How this run is made; not part of the recipe.

    Args:
        out: the run folder, new or empty; one under runs/ if not given
        data_dir: where files of data sets lie already; else the environment's DANLU_DATA
        device: where to train
        devices: how many processes train together, each on a device of its own or a share of the processors
        threads: processors that each process uses; one for small networks, else all, if not given
        dry_run: check data, two rounds, saving, loading and report, and keep nothing
        json: print one JSON object and nothing else
    """

    out: Path | None = None
    data_dir: Path | None = None
    device: DeviceName = "auto"
    devices: int = 1
    threads: int | None = None
    dry_run: bool = False
    json: bool = False


def parse(verb: str, words: list[str]) -> tuple[Recipe, Any]:
    """A recipe with the settings that were given, and the verb's options.

    Raises:
        UsageError: if the name is missing or unknown, or the settings do not go together.
        SystemExit: for help (0), and for flags and values that cannot be read (2).
    """
    if not words or words[0].startswith("-"):
        asked = bool({"-h", "--help"} & set(words))
        text = f"usage: danlu {verb} NAME|FILE.yaml [--settings …]\n\nrecipes: {', '.join(all_recipes())}"
        if not asked:
            raise UsageError(f"the name of a recipe, or a recipe file, comes first.\n{text}")
        print(f"{text}\n\n`danlu {verb} NAME --help` shows the settings of a recipe.")
        raise SystemExit(0)
    base = as_recipe(words[0])
    options = TrainOptions if verb == "train" else NoOptions
    if {"-h", "--help"} & set(words):
        page = (sys.modules[type(base).__module__].__doc__ or "").strip()
        flags = help_text(base, options, elsewhere="danlu data --help")
        print(f"usage: danlu {verb} {words[0]} [--settings …]\n\n{page}\n{flags}")
        raise SystemExit(0)
    settings, chosen = given(base, options, f"danlu {verb} {words[0]}", words[1:])
    return changed(base, settings), chosen
