"""The commands of danlu: the one table from which help, completion, ``danlu.NAME`` and the docs are made."""

from __future__ import annotations

from typing import NamedTuple


class Command(NamedTuple):
    """One command.

    Attributes:
        run: the function that parses the words after the command's name and runs it, as ``module:attribute``.
        call: the library function behind it, which is ``danlu.NAME``; none for a command that is for shells alone.
        help: what it does, in one line.
    """

    run: str
    call: str | None
    help: str


_CLI = "danlu.app.cli.commands"

COMMANDS: dict[str, Command] = {
    "list": Command(f"{_CLI}.recipes:list", "danlu.catalogue.recipes:all_recipes", "list the recipes"),
    "show": Command(
        f"{_CLI}.recipes:show", "danlu.app.runs.inspect_recipe:show", "print a recipe as YAML, every value filled in"
    ),
    "check": Command(
        f"{_CLI}.recipes:check", "danlu.app.runs.inspect_recipe:check", "check a recipe file and list every error in it"
    ),
    "summary": Command(
        f"{_CLI}.recipes:summary", "danlu.app.runs.inspect_recipe:summary", "print the layers of a recipe's model"
    ),
    "data": Command(
        f"{_CLI}.machine:data", "danlu.app.inspect.dataset_survey:survey", "describe a data set and list problems in it"
    ),
    "train": Command(
        f"{_CLI}.training:train", "danlu.app.runs.train:train", "train a recipe by name, or a recipe file"
    ),
    "resume": Command(
        f"{_CLI}.training:resume", "danlu.app.runs.train:resume", "resume a run that was stopped or killed"
    ),
    "evaluate": Command(
        f"{_CLI}.evaluation:evaluate",
        "danlu.app.scoring.evaluate:evaluate",
        "compute the scores of a finished run on held-out data",
    ),
    "classify": Command(
        f"{_CLI}.evaluation:classify", "danlu.app.inference.classify:classify", "classify image files or rows of tables"
    ),
    "complete": Command(
        f"{_CLI}.text:complete", "danlu.app.inference.complete:complete", "continue a prompt with a language model"
    ),
    "sample": Command(
        f"{_CLI}.generation:sample", "danlu.app.inference.sample:sample", "draw samples from a generative model"
    ),
    "reconstruct": Command(
        f"{_CLI}.generation:reconstruct", "danlu.app.inference.reconstruct:reconstruct", "encode and decode files"
    ),
    "interpolate": Command(
        f"{_CLI}.generation:interpolate",
        "danlu.app.inference.interpolate:interpolate",
        "interpolate between two files or two samples",
    ),
    "arithmetic": Command(
        f"{_CLI}.generation:arithmetic",
        "danlu.app.inference.latent_arithmetic:arithmetic",
        "add and subtract the latent codes of samples",
    ),
    "inpaint": Command(
        f"{_CLI}.generation:inpaint", "danlu.app.inference.inpaint:inpaint", "fill in missing parts of images or rows"
    ),
    "score": Command(
        f"{_CLI}.generation:score",
        "danlu.app.scoring.likelihood:score",
        "compute the log-likelihood of files, or a lower bound of it",
    ),
    "score-images": Command(
        f"{_CLI}.image_scores:score_images",
        "danlu.app.scoring.image_quality:score_images",
        "FID, KID, Inception Score, precision and recall of images",
    ),
    "export": Command(
        f"{_CLI}.evaluation:export", "danlu.app.export.export:export", "export a model as ONNX or as plain weights"
    ),
    "experiment": Command(
        f"{_CLI}.experiments:experiment",
        "danlu.app.experiments.runner:experiment",
        "run an experiment on a claim of the lecture notes; without a name, list them",
    ),
    "doctor": Command(
        f"{_CLI}.machine:doctor", "danlu.app.inspect.environment:doctor", "print versions, devices and environment"
    ),
    "completion": Command(f"{_CLI}.machine:completion", None, "print a shell completion script"),
}
