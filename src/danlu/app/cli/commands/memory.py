"""The command recall, for models that store patterns."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from danlu.app.cli.argument_types import Device, Encoding, Invert, Json, Out, Overwrite, Seed
from danlu.app.cli.command_output import as_json, check_output
from danlu.app.console.output import print_error, print_line

if TYPE_CHECKING:
    from danlu.app.inference.recall import RecallResult


def recall(
    run: Path,
    files: tuple[Path, ...],
    /,
    *,
    steps: int = 100,
    synchronous: bool = False,
    out: Out = None,
    invert: Invert = False,
    encoding: Encoding = "utf-8",
    seed: Seed = 0,
    overwrite: Overwrite = False,
    device: Device = "auto",
    json: Json = False,
) -> int:
    """Recall stored patterns from damaged images or rows of tables.

    Args:
        run: run folder or model folder
        files: images or folders of images; for models of tables CSV or Parquet files; - for standard input
        steps: largest number of sweeps over all units; with --synchronous, of updates of all units at once
        synchronous: update all units at once, instead of one after the other in a random order
        out: FILE.png (an image grid with each image next to the recalled one), FOLDER/, FILE.csv, FILE.npy or -
            (standard output); default: recalled.png or recalled.csv in the run folder
    """
    from danlu.app.inference.recall import recall

    check_output(out, json)
    recalled = recall(run, *files, steps=steps, synchronous=synchronous, out=out, invert=invert, encoding=encoding,
                      seed=seed, overwrite=overwrite, device=device, quiet=json)  # fmt: skip
    failed = int(any(result.error for result in recalled.files))
    path = None if recalled.path is None else str(recalled.path)
    if json:
        as_json({"path": path, "files": [_without_none(result) for result in recalled.files]})
        return failed
    for result in recalled.files:
        if result.error:
            print_error(result.error)
        else:
            print_line(_line(result), sys.stdout if path else sys.stderr)
    if path:
        print_line(f"{path}: {len(recalled.x):,} recalled")
    return failed


def _line(result: RecallResult) -> str:
    """The result for one input in words."""
    assert result.changed is not None
    assert result.energy_before is not None
    assert result.energy is not None
    energy = f"energy {result.energy_before:.5g} to {result.energy:.5g}".replace("-", "\N{MINUS SIGN}")
    text = f"{result.file}  {100 * result.changed:.3g} % changed  {energy}  {result.end}"
    if result.pattern is not None and result.overlap is not None:
        negative = "the negative of " * (result.overlap < 0)
        text += f"  nearest: {negative}pattern {result.pattern}, overlap {abs(result.overlap):.3f}"
    return text


def _without_none(result: RecallResult) -> dict[str, object]:
    return {name: value for name, value in result._asdict().items() if value is not None}
