"""The commands that generate examples: sample, reconstruct, interpolate, arithmetic and inpaint."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from danlu.app.cli.argument_types import (
    FILES,
    Device,
    Encoding,
    Invert,
    Json,
    Out,
    Overwrite,
    Rewrites,
    SampleCount,
    Seed,
)
from danlu.app.cli.command_output import as_json, check_output, say
from danlu.app.console.output import print_error, print_line

if TYPE_CHECKING:
    from danlu.app.inference.apply import Generated


def _split_signs(words: list[str]) -> list[str]:
    """The words, with the sign of a number as a separate word, except after a flag, whose value it could be.

    >>> _split_signs(["run", "3,5", "-1,4", "--seed", "-1"])
    ['run', '3,5', '-', '1,4', '--seed', '-1']
    """
    split: list[str] = []
    for position, word in enumerate(words):
        previous = words[position - 1] if position else ""
        follows_flag = previous.strip("-")[:1].isalpha() and previous.startswith("-")
        signed = word[:1] in ("-", "+") and word[1:2].isdecimal() and not follows_flag
        split += [word[0], word[1:]] if signed else [word]
    return split


def sample(
    run: Path,
    /,
    *,
    n: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 64,
    out: Out = None,
    label: str | None = None,
    columns: int | None = None,
    numbers: bool = False,
    values: bool = False,
    temperature: float | None = None,
    sweeps: int | None = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    device: Device = "auto",
    json: Json = False,
) -> int:
    """Generate samples: images as an image grid or single files, rows as a table, waveforms as WAV files.

    Args:
        run: run folder or model folder
        n: number of samples
        out: FILE.png (an image grid), FOLDER/ (one example per file), FILE.csv (rows), FILE.wav (waveforms), FILE.npy
            (an array) or - (standard output); default: samples.png, .csv or .wav in the run folder
        label: class by name or number, or all for each class in turn; for class-conditional models
        columns: images per row of the image grid
        numbers: write the number of each image above it, for the commands interpolate and arithmetic
        values: sample each pixel from its distribution instead of showing its mean
        temperature: for autoregressive models: below 1 for more probable, above 1 for less probable pixels; default: 1
        sweeps: for models with Markov chains: number of their steps; default: that of the model
    """
    from danlu.app.inference.sample import sample

    check_output(out, json)
    generated = sample(run, n, out=out, label=label, columns=columns, numbers=numbers,
                  values=values, temperature=temperature, sweeps=sweeps, seed=seed, overwrite=overwrite,
                  device=device)  # fmt: skip
    if json:
        return as_json(
            {"path": _path(generated), "n": n, "shape": [*generated.x.shape[1:]], "label": label, "seed": seed}
        )
    of = " of all classes in turn" if label == "all" else f" of {label}" if label else ""
    return 0 if generated.path is None else say(f"{generated.path}: {n:,} samples{of}")


def reconstruct(
    run: Path,
    files: tuple[Path, ...],
    /,
    *,
    out: Out = None,
    invert: Invert = False,
    encoding: Encoding = "utf-8",
    seed: Seed = 0,
    overwrite: Overwrite = False,
    device: Device = "auto",
    json: Json = False,
) -> int:
    """Encode and decode images or rows of tables with an autoencoder.

    Args:
        run: run folder or model folder
        files: images or folders of images; for models of tables CSV or Parquet files; - for standard input
        out: FILE.png (an image grid with each image next to its reconstruction), FOLDER/, FILE.csv, FILE.npy or -
            (standard output); default: reconstructions.png or reconstructions.csv in the run folder
    """
    from danlu.app.inference.reconstruct import reconstruct

    check_output(out, json)
    generated = reconstruct(run, *files, out=out, invert=invert, encoding=encoding,
                       seed=seed, overwrite=overwrite, device=device, quiet=json)  # fmt: skip
    return _print_results(generated, json, "reconstructions")


def interpolate(
    run: Path,
    a: Path,
    b: Path,
    /,
    *,
    steps: int = 10,
    n: SampleCount = None,
    label: str | None = None,
    out: Out = None,
    invert: Invert = False,
    encoding: Encoding = "utf-8",
    seed: Seed = 0,
    overwrite: Overwrite = False,
    device: Device = "auto",
    json: Json = False,
) -> int:
    """Interpolate between two files, or between two samples.

    Args:
        run: run folder or model folder
        a: the first file: an image, a CSV or Parquet file with one row, a WAV file with one window, or - for standard
            input; or the number of the first sample, which `danlu sample --numbers` shows for the same seed, n and
            label
        b: the second file, or the number of the second sample
        steps: number of examples in the interpolation, including both ends
        n: if A and B are numbers of samples: the number of samples that `danlu sample` generated; default: 64
        label: if A and B are numbers of samples: their class, by name or number, for class-conditional models
        out: FILE.png (an image grid), FOLDER/, FILE.csv, FILE.wav, FILE.npy or - (standard output); default:
            interpolation.png, .csv or .wav in the run folder
    """
    from danlu.app.inference.interpolate import interpolate

    check_output(out, json)
    generated = interpolate(run, a, b, steps=steps, n=n, label=label, out=out, invert=invert,
                       encoding=encoding, seed=seed, overwrite=overwrite, device=device, quiet=json)  # fmt: skip
    if json:
        return as_json({"path": _path(generated), "steps": steps, "shape": [*generated.x.shape[1:]]})
    start, end = ("standard input" if str(path) == "-" else path for path in (a, b))
    return 0 if generated.path is None else say(f"{generated.path}: {steps} steps from {start} to {end}")


def arithmetic(
    run: Path,
    terms: Annotated[tuple[str, ...], Rewrites(_split_signs)],
    /,
    *,
    around: float = 0.0,
    n: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 64,
    label: str | None = None,
    out: Out = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    device: Device = "auto",
    json: Json = False,
) -> int:
    """Add and subtract the latents of samples, and decode the result.

    For example: danlu arithmetic RUN 3,5,8 - 1,4,9 + 2,6,7

    Args:
        run: run folder or model folder
        terms: numbers of samples, joined by + and -; comma-separated numbers are averaged. The numbers are those that
            `danlu sample --numbers` shows for the same seed, n and label
        around: also show eight neighbors of the result: its latent code plus uniform noise of this scale
        n: number of samples that `danlu sample` generated
        label: class by name or number, for class-conditional models
        out: FILE.png (an image grid), FOLDER/, FILE.csv, FILE.wav, FILE.npy or - (standard output); default:
            arithmetic.png, .csv or .wav in the run folder
    """
    from danlu.app.inference.latent_arithmetic import arithmetic

    check_output(out, json)
    expression = " ".join(terms)
    generated = arithmetic(run, expression, around=around, n=n, label=label, out=out,
                      seed=seed, overwrite=overwrite, device=device)  # fmt: skip
    if json:
        page = {"path": _path(generated), "expression": expression, "n": n, "shape": [*generated.x.shape[1:]]}
        return as_json({**page, "around": around, "label": label, "seed": seed})
    return 0 if generated.path is None else say(f"{generated.path}: {expression}")


def inpaint(
    run: Path,
    files: tuple[Path, ...],
    /,
    *,
    mask: Annotated[str | None, FILES] = None,
    out: Out = None,
    label: str | None = None,
    temperature: float | None = None,
    sweeps: int | None = None,
    invert: Invert = False,
    encoding: Encoding = "utf-8",
    seed: Seed = 0,
    overwrite: Overwrite = False,
    device: Device = "auto",
    json: Json = False,
) -> int:
    """Fill in missing parts of images or empty fields of tables.

    An image grid shows each image with the masked region in blue, next to the inpainted image.

    Args:
        run: run folder or model folder
        files: images or folders of images; for models of tables CSV or Parquet files; - for standard input
        mask: region of images to fill in: half (the lower half), left, right, top, bottom, block, random or
            random:FRACTION; or an image file of the size of the images or of the model's input, white where pixels are
            filled in and black where they are kept
        out: FILE.png (an image grid), FOLDER/, FILE.csv, FILE.npy or - (standard output); default: inpainted.png or
            inpainted.csv in the run folder
        label: class by name or number, or all for each class in turn; for class-conditional models, which otherwise
            predict or draw the class
        temperature: for autoregressive models: below 1 for more probable, above 1 for less probable pixels; default: 1
        sweeps: for models with Markov chains: number of their steps; default: that of the model
    """
    from danlu.app.inference.inpaint import inpaint

    check_output(out, json)
    generated = inpaint(run, *files, mask=mask, out=out, label=label, temperature=temperature, sweeps=sweeps,
                   invert=invert, encoding=encoding, seed=seed, overwrite=overwrite, device=device,
                   quiet=json)  # fmt: skip
    return _print_results(generated, json, "inpainted")


def _path(generated: Generated) -> str | None:
    return None if generated.path is None else str(generated.path)


def _print_results(generated: Generated, json: bool, word: str) -> int:
    """Print a line for each file, or one JSON object; return the exit code."""
    failed = int(any(result.error for result in generated.files))
    if json:
        as_json({"path": _path(generated), "files": [_without_none(result._asdict()) for result in generated.files]})
        return failed
    for result in generated.files:
        if result.error:
            print_error(result.error)
            continue
        filled = "" if result.filled is None else f"  {100 * result.filled:.3g} % filled in"
        error = "" if result.squared_error is None else f"  mean squared error {result.squared_error:.5f}"
        print_line(f"{result.file}{filled}{error}", sys.stdout if generated.path else sys.stderr)
    if generated.path:
        print_line(f"{generated.path}: {len(generated.x):,} {word}")
    return failed


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None or name == "error"}
