"""The command experiment. Heavy imports wait until they are needed."""

from __future__ import annotations

import builtins
from pathlib import Path

from danlu.app.cli.command_output import as_json as _json
from danlu.app.cli.command_output import parsed as _parsed
from danlu.errors import UsageError


def experiment(words: builtins.list[str]) -> int:
    """``danlu.experiment(name)``"""

    def command(
        name: str | None = None,
        /,
        all: bool = False,
        out: Path = Path("runs/experiments"),
        seed: int = 0,
        json: bool = False,
    ) -> int:
        """Run a claim of the notes small and judge it; without a name, list the claims.

        Args:
            name: of the experiment
            all: run every one, and write one page of them all
            out: folder for figures and page
            seed: of every random number; the same seed gives the same numbers
            json: print one JSON object and nothing else
        """
        if all and name is not None:
            raise UsageError(
                f"give either a name or --all, not both: danlu experiment {name}, or danlu experiment --all"
            )
        if name is None and not all:
            return _list_experiments(json)
        from danlu.app.experiments import runner

        if name is None:
            return runner.run_all(out, seed, quiet=json)
        found = runner.experiment(name, seed=seed, out=out, quiet=json)
        return _json(found.to_json()) if json else 0

    return _parsed("experiment", command, words)


def _list_experiments(json: bool) -> int:
    """The names with their claims, grouped as the notes are."""
    from danlu.catalogue.experiments import EXPERIMENTS

    if json:
        claims = {name: (entry.section, entry.group, entry.claim) for name, entry in EXPERIMENTS.items()}
        keys = ("section", "group", "claim")
        return _json({"experiments": [{"name": n, **dict(zip(keys, c, strict=True))} for n, c in claims.items()]})
    width, group = max(map(len, EXPERIMENTS)), None
    for name, entry in EXPERIMENTS.items():
        if entry.group != group:
            print(group := entry.group)
        print(f"  {name:<{width}}  {entry.section:<7}  {entry.claim}")
    return 0
