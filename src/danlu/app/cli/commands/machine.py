"""The commands data, doctor and completion."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Literal

from danlu.app.cli.argument_types import DataArgument, DataDir, Json
from danlu.app.cli.command_output import as_json, say


def data(source: DataArgument, /, *, data_dir: DataDir = None, picture: Path | None = None, json: Json = False) -> int:
    """Describe a data set and list problems in it.

    Args:
        source: a data set and its settings
        picture: image file for a sheet of example images
    """
    from danlu.app.console.progress import Screen
    from danlu.app.inspect.dataset_survey import draw, show, survey

    settings = source.source
    screen = Screen(quiet=json)
    found, seen = survey(settings, data_dir=data_dir, screen=screen)
    if picture is not None:
        draw(found, picture, settings.augment)
    if json:
        facts = {"data": found.name, "info": found.info.to_json(), "notes": found.notes, **asdict(seen)}
        return as_json({**facts, "fingerprint": found.fingerprint(), "picture": picture and str(picture)})
    show(found, seen, screen)
    return say(f"picture {picture}") if picture else 0


def doctor(*, json: Json = False) -> int:
    """Print versions, devices and environment."""
    from danlu.app.inspect.environment import doctor

    facts = doctor()
    if json:
        return as_json(facts)
    width = max(map(len, facts))
    return say("\n".join(f"{name:<{width}}  {fact}" for name, fact in facts.items()))


def completion(shell: Literal["bash", "zsh", "fish"], /) -> int:
    """Print a shell completion script.

    For bash: danlu completion bash > ~/.local/share/bash-completion/completions/danlu

    Args:
        shell: the shell
    """
    from danlu.app.cli.shell_completion import script

    return say(script(shell))
