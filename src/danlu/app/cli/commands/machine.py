"""The commands data, doctor and completion."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Literal

from danlu.app.cli.argument_types import DataArgument, DataDir, Json
from danlu.app.cli.command_output import as_json, say


def data(source: DataArgument, /, *, data_dir: DataDir = None, image: Path | None = None, json: Json = False) -> int:
    """Describe a data set and list problems in it.

    Args:
        source: a data set and its settings
        image: PNG file for a figure of the data set: example images, or distributions of columns
    """
    from danlu.app.console.progress import Screen
    from danlu.app.inspect.dataset_figures import draw
    from danlu.app.inspect.dataset_survey import show, survey

    settings = source.source
    screen = Screen(quiet=json)
    data_set, statistics = survey(settings, data_dir=data_dir, screen=screen)
    if image is not None:
        draw(data_set, image, settings.augment)
    if json:
        facts = {
            "data": data_set.name,
            "info": data_set.info.to_json(),
            "notes": data_set.notes,
            **asdict(statistics),
        }
        return as_json({**facts, "fingerprint": data_set.fingerprint(), "image": image and str(image)})
    show(data_set, statistics, screen)
    return say(f"image {image}") if image else 0


def doctor(*, json: Json = False) -> int:
    """Print versions, devices and environment."""
    from danlu.app.console.output import print_line
    from danlu.app.inspect.environment import doctor

    facts = doctor()
    if json:
        return as_json(facts)
    width = max(map(len, facts))
    for name, fact in facts.items():
        print_line(f"{name:<{width}}  {fact}")
    return 0


def completion(shell: Literal["bash", "zsh", "fish"], /) -> int:
    """Print a shell completion script.

    For bash: danlu completion bash > ~/.local/share/bash-completion/completions/danlu

    Args:
        shell: name of the shell
    """
    from danlu.app.cli.shell_completion import script
    from danlu.app.console.output import print_file

    print_file(script(shell) + "\n")
    return 0
