"""The table of commands, from which parser, help, shell completion, ``danlu.NAME``, usage hints and docs are derived.

It is text, and nothing is imported before a command runs. To add a command, write its function in
``app/cli/commands/``, the library function behind it, and one entry here.
"""

from __future__ import annotations

from typing import Literal, NamedTuple


class Usage(NamedTuple):
    """An example of a command, suggested for the models that it applies to.

    Attributes:
        verbs: the model must have all of them.
        words: what to type after the command. ``{label}`` stands for ``--label`` and a class, for class-conditional
            models, and ``{mask}`` for ``--mask half``, for models of images.
        after_training: whether it is also suggested at the end of a run: for every model, only for a model of images
            that was trained with masks, or never.
        writes: whether the command writes examples to a file, which is not possible for every kind of data.
    """

    verbs: tuple[str, ...]
    words: str
    after_training: Literal["always", "masked images", "never"] = "never"
    writes: bool = False


class Command(NamedTuple):
    """One command.

    Attributes:
        run: the function of the command line, ``module:attribute``. Parser and help are derived from its signature
            and docstring.
        call: the library function behind it, which is ``danlu.NAME``; None for a command without one.
        usage: examples for reports; the first whose verbs a model has is shown.
    """

    run: str
    call: str | None
    usage: tuple[Usage, ...] = ()


_CLI = "danlu.app.cli.commands"
_INFERENCE = "danlu.app.inference"

COMMANDS: dict[str, Command] = {
    "list": Command(f"{_CLI}.recipes:list_recipes", "danlu.catalogue.recipes:all_recipes"),
    "show": Command(f"{_CLI}.recipes:show", "danlu.app.runs.inspect_recipe:show"),
    "check": Command(f"{_CLI}.recipes:check", "danlu.app.runs.inspect_recipe:check"),
    "summary": Command(f"{_CLI}.recipes:summary", "danlu.app.runs.inspect_recipe:summary"),
    "data": Command(f"{_CLI}.machine:data", "danlu.app.inspect.dataset_survey:survey"),
    "train": Command(f"{_CLI}.training:train", "danlu.app.runs.train:train"),
    "resume": Command(f"{_CLI}.training:resume", "danlu.app.runs.train:resume"),
    "finish": Command(f"{_CLI}.training:finish", "danlu.app.runs.end:finish"),
    "runs": Command(f"{_CLI}.training:runs", "danlu.app.run_folder.run_list:runs"),
    "evaluate": Command(f"{_CLI}.evaluation:evaluate", "danlu.app.scoring.evaluate:evaluate"),
    "classify": Command(
        f"{_CLI}.evaluation:classify",
        f"{_INFERENCE}.classify:classify",
        (Usage(("classify",), "RUN FILES…", "always"),),
    ),
    "predict": Command(
        f"{_CLI}.evaluation:predict",
        f"{_INFERENCE}.predict:predict",
        (Usage(("predict",), "RUN FILES…", "always"),),
    ),
    "sample": Command(
        f"{_CLI}.generation:sample", f"{_INFERENCE}.sample:sample", (Usage(("sample",), "RUN{label}", "always", True),)
    ),
    "reconstruct": Command(
        f"{_CLI}.generation:reconstruct",
        f"{_INFERENCE}.reconstruct:reconstruct",
        (Usage(("reconstruct",), "RUN FILES…", writes=True),),
    ),
    "interpolate": Command(
        f"{_CLI}.generation:interpolate",
        f"{_INFERENCE}.interpolate:interpolate",
        (
            Usage(("interpolate",), "RUN FILE FILE", writes=True),
            Usage(("prior", "decode"), "RUN 3 17{label}", writes=True),
        ),
    ),
    "arithmetic": Command(
        f"{_CLI}.generation:arithmetic",
        f"{_INFERENCE}.latent_arithmetic:arithmetic",
        (Usage(("prior", "decode"), "RUN 3 - 17 + 20{label}", writes=True),),
    ),
    "inpaint": Command(
        f"{_CLI}.generation:inpaint",
        f"{_INFERENCE}.inpaint:inpaint",
        (Usage(("inpaint",), "RUN FILES…{mask}", "masked images", True),),
    ),
    "recall": Command(
        f"{_CLI}.memory:recall", f"{_INFERENCE}.recall:recall", (Usage(("recall",), "RUN FILES…", "always", True),)
    ),
    "denoise": Command(
        f"{_CLI}.memory:denoise",
        f"{_INFERENCE}.denoise:denoise",
        (
            Usage(("recall", "denoise"), "RUN FILES…", writes=True),  # after training, recall is enough
            Usage(("denoise",), "RUN FILES…", "always", True),
        ),
    ),
    "complete": Command(
        f"{_CLI}.text:complete", f"{_INFERENCE}.complete:complete", (Usage(("complete",), "RUN TEXT", "always"),)
    ),
    "score": Command(f"{_CLI}.scores:score", "danlu.app.scoring.likelihood:score"),
    "score-images": Command(f"{_CLI}.scores:score_images", "danlu.app.scoring.image_quality:score_images"),
    "export": Command(f"{_CLI}.evaluation:export", "danlu.app.export.export:export"),
    "experiment": Command(f"{_CLI}.experiments:experiment", "danlu.app.experiments.runner:experiment"),
    "doctor": Command(f"{_CLI}.machine:doctor", "danlu.app.inspect.environment:doctor"),
    "completion": Command(f"{_CLI}.machine:completion", None),
}
