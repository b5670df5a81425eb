"""The commands data, doctor and completion. Heavy imports wait until they are needed."""

from __future__ import annotations

import builtins
from dataclasses import asdict
from typing import Literal

from danlu.app.cli.command_output import as_json as _json
from danlu.app.cli.command_output import parsed as _parsed
from danlu.app.cli.command_output import say as _say


def data(words: builtins.list[str]) -> int:
    """``danlu.survey(source)``"""
    from danlu.app.cli.data_arguments import parse
    from danlu.app.console.progress import Screen
    from danlu.app.inspect.dataset_survey import draw, show, survey

    source, options = parse(words)
    screen = Screen(quiet=options.json)
    found, seen = survey(source, data_dir=options.data_dir, screen=screen)
    if options.picture is not None:
        draw(found, options.picture, source.augment)
    if options.json:
        facts = {"data": found.name, "info": found.info.to_json(), "notes": found.notes, **asdict(seen)}
        return _json({**facts, "fingerprint": found.fingerprint(), "picture": options.picture and str(options.picture)})
    show(found, seen, screen)
    return _say(f"picture {options.picture}") if options.picture else 0


def doctor(words: builtins.list[str]) -> int:
    """``danlu.doctor()``"""

    def command(json: bool = False) -> int:
        """What this machine has: versions, device and why, threads, compiler, disk.

        Args:
            json: print one JSON object and nothing else
        """
        from danlu.app.inspect.environment import doctor

        facts = doctor()
        if json:
            return _json(facts)
        width = max(map(len, facts))
        return _say("\n".join(f"{name:<{width}}  {fact}" for name, fact in facts.items()))

    return _parsed("doctor", command, words)


def completion(words: builtins.list[str]) -> int:
    """No library call: it is for shells."""

    def command(shell: Literal["bash", "zsh", "fish"], /) -> int:
        """A script that completes danlu's words.

        For bash: danlu completion bash > ~/.local/share/bash-completion/completions/danlu

        Args:
            shell: which shell
        """
        from danlu.app.cli.shell_completion import script

        return _say(script(shell))

    return _parsed("completion", command, words)
