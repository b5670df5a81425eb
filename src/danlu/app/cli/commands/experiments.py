"""The command experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from danlu.app.cli.argument_types import ExperimentName, Json, Seed
from danlu.app.cli.command_output import as_json
from danlu.app.console.output import print_line
from danlu.errors import UsageError


def experiment(
    name: ExperimentName = None,
    /,
    *,
    all: bool = False,
    out: Path = Path("runs/experiments"),
    seed: Seed = 0,
    seeds: int = 1,
    jobs: int | Literal["auto"] = "auto",
    json: Json = False,
) -> int:
    """Run an experiment that tests a claim of the lecture notes; without a name, list the experiments.

    Args:
        name: name of the experiment
        all: run all experiments, and write one HTML page with all results
        out: folder for the figures and the page
        seeds: run the experiment with so many seeds, and say whether the verdict is the same
        jobs: number of processes for the runs of an experiment, with the same numbers; auto: as many as there are cores
    """
    if all and name is not None:
        raise UsageError(
            f"give either a name or --all, not both: `danlu experiment {name}` or `danlu experiment --all`"
        )
    if seeds < 1 or (seeds > 1 and name is None):
        raise UsageError(
            "--seeds is a number of at least 1, for one experiment: `danlu experiment momentum --seeds 2`",
            settings=("seeds",),
        )
    if name is None and not all:
        return _list_experiments(json)
    from danlu.app.experiments import runner

    if name is None:
        return runner.run_all(out, seed, jobs=jobs, quiet=json)
    result = runner.experiment(name, seed=seed, seeds=seeds, out=out, jobs=jobs, quiet=json)
    return as_json(result.to_json()) if json else 0


def _list_experiments(json: bool) -> int:
    """Print the names and claims, grouped by chapter of the notes."""
    from danlu.catalogue.experiments import EXPERIMENTS

    if json:
        claims = {name: (entry.section, entry.group, entry.claim) for name, entry in EXPERIMENTS.items()}
        keys = ("section", "group", "claim")
        return as_json({"experiments": [{"name": n, **dict(zip(keys, c, strict=True))} for n, c in claims.items()]})
    width, group = max(map(len, EXPERIMENTS)), None
    print_line(f"  {'name':<{width}}  section  claim of the lecture notes")
    for name, entry in EXPERIMENTS.items():
        if entry.group != group:
            print_line(group := entry.group)
        print_line(f"  {name:<{width}}  {entry.section:<7}  {entry.claim}")
    return 0
