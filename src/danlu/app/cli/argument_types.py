"""Types that commands share for their arguments. Parser, help and shell completion are derived from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import tyro

from danlu.catalogue.experiments import EXPERIMENTS

if TYPE_CHECKING:
    from danlu.data.training_data import TrainingData
    from danlu.recipes.config.recipe import Recipe


class Completes(NamedTuple):
    """Marks an argument of type str for shell completion: by the names of a table; by files if it is None."""

    names: Callable[[], Iterable[str]] | None


class Rewrites(NamedTuple):
    """Marks an argument for which the words of the command line are rewritten before they are parsed."""

    rewrite: Callable[[list[str]], list[str]]


class RecipeArgument(NamedTuple):
    """First argument of a command on a recipe: its name or file, and its settings as flags.

    Attributes:
        recipe: the recipe with the given settings.
        words: the words of the command line, as given.
    """

    recipe: Recipe
    words: list[str]


class DataArgument(NamedTuple):
    """First argument of a command on a data set: its name or path, and the settings of the data as flags."""

    source: TrainingData


FILES = Completes(None)
DeviceName = Literal["auto", "cpu", "cuda", "mps"]

Json = Annotated[bool, tyro.conf.arg(help="print one JSON object on standard output and nothing else")]
DataDir = Annotated[
    Path | None,
    tyro.conf.arg(help="folder of the data set files; default: the environment variable DANLU_DATA"),
]
Device = Annotated[DeviceName, tyro.conf.arg(help="device to compute on; auto: a GPU if available, else the CPU")]
Invert = Annotated[bool, tyro.conf.arg(help="invert the images first, for dark writing on a white background")]
Encoding = Annotated[str, tyro.conf.arg(help="character encoding of text and CSV files")]
Overwrite = Annotated[bool, tyro.conf.arg(help="replace existing files")]
Seed = Annotated[int, tyro.conf.arg(help="random seed; the same seed gives the same result")]
Out = Annotated[str | None, tyro.conf.arg(aliases=["-o"]), FILES]
SampleCount = Annotated[int | None, tyro.conf.arg(aliases=["-n"])]
ExperimentName = Annotated[str | None, Completes(lambda: EXPERIMENTS)]
