"""Shell completion: verbs, recipes and their flags, written out into a script."""

from __future__ import annotations

import argparse
from contextlib import suppress

import shtab

from danlu.app.cli.command_table import COMMANDS
from danlu.app.cli.data_arguments import DataOptions
from danlu.app.cli.recipe_arguments import TrainOptions
from danlu.app.console.settings_flags import flags, option_flags
from danlu.catalogue.datasets import DATA
from danlu.catalogue.experiments import EXPERIMENTS
from danlu.catalogue.recipes import all_recipes, find_recipe
from danlu.data.training_data import TrainingData
from danlu.errors import UsageError

_FILES = ("--invert", "--encoding")
_MADE = ("--out", "-o", "--seed", "--overwrite", "--device", "--json")
_DRAWN = ("-n", "--tokens", "--end", "--temperature", "--top-k", "--top-p", "--min-p", "--repetition-penalty")
_SEARCHED = ("--beam", "--best", "--groups", "--diversity", "--length-penalty", "--length-form")
_FLAGS = {
    "list": ("--json",),
    "check": ("--json",),
    "resume": ("--device", "--devices", "--anyway", "--json"),
    "evaluate": ("--part", "--device", "--flip", "--generated", "--json"),
    "classify": ("--top", "--flip", *_FILES, "--json"),
    "sample": ("-n", "--n", "--label", "--columns", "--numbers", "--values", *_MADE),
    "reconstruct": (*_FILES, *_MADE),
    "interpolate": ("--steps", "-n", "--n", "--label", *_FILES, *_MADE),
    "arithmetic": ("--around", "-n", "--n", "--label", *_MADE),
    "inpaint": ("--mask", *_FILES, *_MADE),
    "complete": (*_DRAWN, *_SEARCHED, "--seed", "--device", "--json"),
    "score": ("--samples", "--binarize", *_FILES, "--seed", "--device", "--json"),
    "score-images": ("--feature-extractor", "--count", "--invert", "--data-dir", "--device", "--json"),
    "export": ("--out", "-o", "--verb", "--json"),
    "experiment": ("--all", "--json", "--out", "--seed"),
    "doctor": ("--json",),
}
_CHOICES = {
    "--part": ["train", "validation", "test"],
    "--feature-extractor": ["auto", "inception", "pixels"],
    "--device": ["auto", "cpu", "cuda", "mps"],
    "--length-form": ["wu", "power"],
    "--binarize": ["none", "threshold", "static", "dynamic"],
}
_SWITCHES = ("--json", "--flip", "--invert", "--overwrite", "--numbers", "--values", "--anyway", "--all")
_TAKE_A_PATH = ("check", "resume", "evaluate", "classify", "sample", "reconstruct", "interpolate", "arithmetic",
                "inpaint", "complete", "score", "score-images", "export")  # fmt: skip
_TAKE_FILES = ("classify", "reconstruct", "interpolate", "inpaint", "score", "score-images")
_ARE_FILES = ("--out", "-o", "--mask", "--data-dir")
_TAKE_A_RECIPE = ("train", "show", "summary")


def script(shell: str) -> str:
    """A completion script.

    Args:
        shell: bash, zsh or fish.

    >>> "train" in script("bash")
    True
    """
    return shtab.complete(_parser(), shell=shell)


def _parser() -> argparse.ArgumentParser:
    """A parser that parses nothing, but has all the words."""
    root = argparse.ArgumentParser("danlu")
    verbs = root.add_subparsers()
    for verb, command in COMMANDS.items():
        parser = verbs.add_parser(verb, help=command.help)
        if verb in _TAKE_A_RECIPE:
            names = parser.add_subparsers()
            for name, entry in all_recipes().items():
                with suppress(UsageError):  # an installed recipe that cannot be loaded is completed by name alone
                    _add_recipe(names.add_parser(name, help=entry.title), name, options=verb == "train")
        if verb in _TAKE_A_PATH:
            parser.add_argument("path").complete = shtab.FILE  # type: ignore[attr-defined]
        if verb in _TAKE_FILES:
            parser.add_argument("files", nargs="*").complete = shtab.FILE  # type: ignore[attr-defined]
        if verb == "data":
            parser.add_argument("source", choices=list(DATA))
            for known in (*flags(TrainingData()), *option_flags(DataOptions)):
                parser.add_argument(known.name, choices=known.choices or None)
        if verb == "experiment":
            parser.add_argument("name", choices=list(EXPERIMENTS))
        if verb == "completion":
            parser.add_argument("shell", choices=["bash", "zsh", "fish"])
        for flag in _FLAGS.get(verb, ()):
            if flag in _SWITCHES:
                parser.add_argument(flag, action="store_true")
                continue
            action = parser.add_argument(flag, choices=_CHOICES.get(flag))
            if flag in _ARE_FILES:
                action.complete = shtab.FILE  # type: ignore[attr-defined]
    return root


def _add_recipe(parser: argparse.ArgumentParser, name: str, options: bool) -> None:
    for flag in (*flags(find_recipe(name)()), *(option_flags(TrainOptions) if options else ())):
        parser.add_argument(flag.name, choices=flag.choices or None)
