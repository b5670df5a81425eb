"""The commands train and resume. Heavy imports wait until they are needed."""

from __future__ import annotations

import builtins
import shlex
from pathlib import Path
from typing import Literal

from danlu.app.cli.command_output import as_json as _json
from danlu.app.cli.command_output import parsed as _parsed


def train(words: builtins.list[str]) -> int:
    """``danlu.train(recipe, out=…, device=…)``"""
    from danlu.app.cli.recipe_arguments import parse
    from danlu.app.console.signals import EXIT_CODE
    from danlu.app.runs.train import train

    recipe, options = parse("train", words)
    again = "danlu train " + shlex.join(_without(words, "--out", "--json"))
    run = train(
        recipe,
        out=options.out,
        data_dir=options.data_dir,
        device=options.device,
        devices=options.devices,
        threads=options.threads,
        dry_run=options.dry_run,
        quiet=options.json,
        command=again,
    )
    if options.json and run.writes:
        _json({"run": str(run.path), **run.page})
    return EXIT_CODE if run.page["status"] == "stopped" else 0


def resume(words: builtins.list[str]) -> int:
    """``danlu.resume(run)``"""

    def command(
        run: Path,
        /,
        device: Literal["auto", "cpu", "cuda", "mps"] | None = None,
        devices: int | None = None,
        anyway: bool = False,
        json: bool = False,
    ) -> int:
        """Go on with a run that was stopped or killed, in its folder.

        Args:
            run: the run folder
            device: where to train; where it was if not given
            devices: in how many processes; as many as before if not given
            anyway: go on although versions, data, threads or devices have changed
            json: print one JSON object and nothing else
        """
        from danlu.app.console.signals import EXIT_CODE
        from danlu.app.runs.train import resume

        done = resume(run, device=device, devices=devices, anyway=anyway, quiet=json)
        if json:
            _json({"run": str(done.path), **done.page})
        return EXIT_CODE if done.page["status"] == "stopped" else 0

    return _parsed("resume", command, words)


def _without(words: builtins.list[str], *flags: str) -> builtins.list[str]:
    """The words without flags that are about this one run, and their values."""
    kept, skipping = [], False
    for word in words:
        flag, given, _ = word.partition("=")
        if skipping := flag in flags or (skipping and not word.startswith("-")):
            skipping = flag != "--json" and not given
        else:
            kept.append(word)
    return kept
