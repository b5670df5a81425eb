"""The commands recall and denoise, for models that restore damaged examples."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence, Sized
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from danlu.app.cli.argument_types import Device, Encoding, Invert, Json, Out, Overwrite, Seed
from danlu.app.cli.command_output import as_json, check_output
from danlu.app.console.output import print_error, print_line

if TYPE_CHECKING:
    from danlu.app.inference.denoise import DenoiseResult
    from danlu.app.inference.recall import RecallResult


Result = TypeVar("Result", "RecallResult", "DenoiseResult")


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
    return _print_all("recalled", recalled.x, recalled.path, recalled.files, _line, json)


def denoise(
    run: Path,
    files: tuple[Path, ...],
    /,
    *,
    noise: float | None = None,
    sweeps: int | None = None,
    out: Out = None,
    invert: Invert = False,
    encoding: Encoding = "utf-8",
    seed: Seed = 0,
    overwrite: Overwrite = False,
    device: Device = "auto",
    json: Json = False,
) -> int:
    """Remove noise from images or rows of tables.

    Args:
        run: run folder or model folder
        files: images or folders of images; for models of tables CSV or Parquet files; - for standard input
        noise: for models of two values, the probability that a value is wrong; for others, the standard deviation of
            the noise in values of the model's inputs (images: from 0 to 1); default: that of the model
        sweeps: number of steps of the Markov chains, for models that have them; default: that of the model
        out: FILE.png (an image grid with each image next to the denoised one), FOLDER/, FILE.csv, FILE.npy or -
            (standard output); default: denoised.png or denoised.csv in the run folder
    """
    from danlu.app.inference.denoise import denoise

    check_output(out, json)
    denoised = denoise(run, *files, noise=noise, sweeps=sweeps, out=out, invert=invert, encoding=encoding,
                       seed=seed, overwrite=overwrite, device=device, quiet=json)  # fmt: skip
    return _print_all("denoised", denoised.x, denoised.path, denoised.files, _change, json)


def _change(result: DenoiseResult) -> str:
    """The result of denoising for one input in words."""
    if result.changed is not None:
        return f"{result.file}  {100 * result.changed:.3g} % changed"
    return f"{result.file}  mean change {result.mean_change:.5f}"


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


def _print_all(
    word: str, x: Sized, path: Path | None, results: Sequence[Result], line: Callable[[Result], str], json: bool
) -> int:
    """Print a line for each input, or one JSON object; return the exit code."""
    failed = int(any(result.error for result in results))
    shown = None if path is None else str(path)
    if json:
        as_json({"path": shown, "files": [_without_none(result) for result in results]})
        return failed
    for result in results:
        if result.error:
            print_error(result.error)
        else:
            print_line(line(result), sys.stdout if shown else sys.stderr)
    if shown:
        print_line(f"{shown}: {len(x):,} {word}")
    return failed


def _without_none(result: RecallResult | DenoiseResult) -> dict[str, object]:
    return {name: value for name, value in result._asdict().items() if value is not None}
