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
from danlu.app.cli.command_output import as_json, say
from danlu.errors import UsageError

if TYPE_CHECKING:
    from danlu.app.inference.apply import Made


def _signs_apart(words: list[str]) -> list[str]:
    """The words, with the sign of a number as a separate word, except after a flag, whose value it could be.

    >>> _signs_apart(["run", "3,5", "-1,4", "--seed", "-1"])
    ['run', '3,5', '-', '1,4', '--seed', '-1']
    """
    apart: list[str] = []
    for position, word in enumerate(words):
        before = words[position - 1] if position else ""
        of_a_flag = before.strip("-")[:1].isalpha() and before.startswith("-")
        signed = word[:1] in ("-", "+") and word[1:2].isdecimal() and not of_a_flag
        apart += [word[0], word[1:]] if signed else [word]
    return apart


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
    seed: Seed = 0,
    overwrite: Overwrite = False,
    device: Device = "auto",
    json: Json = False,
) -> int:
    """Draw samples from a generative model: images as a grid or as single files, rows as a table.

    Args:
        run: run folder or model folder
        n: number of samples
        out: FILE.png (a grid of images), FOLDER/ (one image per file), FILE.csv (rows), FILE.npy (an array) or -
            (standard output); default: samples.png or samples.csv in the run folder
        label: class by name or number, or all for each class in turn; for class-conditional models
        columns: images per row of the grid
        numbers: write above each image its number, for interpolate and arithmetic
        values: sample each pixel from its distribution instead of showing its mean
    """
    from danlu.app.inference.sample import sample

    _check_out(out, json)
    made = sample(run, n, out=out, label=label, columns=columns, numbers=numbers,
                  values=values, seed=seed, overwrite=overwrite, device=device)  # fmt: skip
    if json:
        return as_json({"path": _path(made), "n": n, "shape": [*made.x.shape[1:]], "label": label, "seed": seed})
    of = " of all classes in turn" if label == "all" else f" of {label}" if label else ""
    return 0 if made.path is None else say(f"{made.path}: {n:,} samples{of}")


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
    """Encode and decode files.

    Args:
        run: run folder or model folder
        files: images or folders of images; for models of tables CSV or Parquet files; - for standard input
        out: as for sample; a grid shows each image next to its reconstruction; default: reconstructions.png or .csv
    """
    from danlu.app.inference.reconstruct import reconstruct

    _check_out(out, json)
    made = reconstruct(run, *files, out=out, invert=invert, encoding=encoding,
                       seed=seed, overwrite=overwrite, device=device, quiet=json)  # fmt: skip
    return _report(made, json, "reconstructions")


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
    """Interpolate between two files or two samples.

    Args:
        run: run folder or model folder
        a: an image, a CSV or Parquet file with one row, or - for standard input; or the number of a sample that
            `danlu sample --numbers` shows for the same seed, n and label
        b: the other end
        steps: number of steps, both ends included
        n: for numbers: how many samples were drawn; default: 64
        label: for numbers: class by name or number, for class-conditional models
        out: as for sample; default: interpolation.png or .csv
    """
    from danlu.app.inference.interpolate import interpolate

    _check_out(out, json)
    made = interpolate(run, a, b, steps=steps, n=n, label=label, out=out, invert=invert,
                       encoding=encoding, seed=seed, overwrite=overwrite, device=device, quiet=json)  # fmt: skip
    if json:
        return as_json({"path": _path(made), "steps": steps, "shape": [*made.x.shape[1:]]})
    start, end = ("standard input" if str(path) == "-" else path for path in (a, b))
    return 0 if made.path is None else say(f"{made.path}: {steps} steps from {start} to {end}")


def arithmetic(
    run: Path,
    terms: Annotated[tuple[str, ...], Rewrites(_signs_apart)],
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
    """Add and subtract the latent codes of samples.

    For example: danlu arithmetic RUN 3,5,8 - 1,4,9 + 2,6,7

    Args:
        run: run folder or model folder
        terms: numbers of samples, joined by + and -; comma-separated numbers are averaged. The numbers are those that
            `danlu sample --numbers` shows for the same seed, n and label
        around: also show eight neighbors of the result, with uniform noise of this scale on its latent code
        n: how many samples were drawn
        label: class by name or number, for class-conditional models
        out: as for sample; default: arithmetic.png or .csv
    """
    from danlu.app.inference.latent_arithmetic import arithmetic

    _check_out(out, json)
    expression = " ".join(terms)
    made = arithmetic(run, expression, around=around, n=n, label=label, out=out,
                      seed=seed, overwrite=overwrite, device=device)  # fmt: skip
    if json:
        page = {"path": _path(made), "expression": expression, "n": n, "shape": [*made.x.shape[1:]]}
        return as_json({**page, "around": around, "label": label, "seed": seed})
    return 0 if made.path is None else say(f"{made.path}: {expression}")


def inpaint(
    run: Path,
    files: tuple[Path, ...],
    /,
    *,
    mask: Annotated[str | None, FILES] = None,
    out: Out = None,
    invert: Invert = False,
    encoding: Encoding = "utf-8",
    seed: Seed = 0,
    overwrite: Overwrite = False,
    device: Device = "auto",
    json: Json = False,
) -> int:
    """Fill in missing parts of images or empty fields of tables.

    A grid shows each image with the masked region in blue, next to the completed image.

    Args:
        run: run folder or model folder
        files: images or folders of images; for models of tables CSV or Parquet files; - for standard input
        mask: masked region of images: half (the lower half), left, right, top, bottom, block, random or random:SHARE;
            or an image file, white where pixels are filled in, black where they are kept, of the size of the images or
            of the model's input
        out: as for sample; default: inpainted.png or .csv
    """
    from danlu.app.inference.inpaint import inpaint

    _check_out(out, json)
    made = inpaint(run, *files, mask=mask, out=out, invert=invert, encoding=encoding,
                   seed=seed, overwrite=overwrite, device=device, quiet=json)  # fmt: skip
    return _report(made, json, "filled in")


def _check_out(out: str | None, json: bool) -> None:
    if json and out == "-":
        raise UsageError("--json and -o - both write to standard output; use one of them")


def _path(made: Made) -> str | None:
    return None if made.path is None else str(made.path)


def _report(made: Made, json: bool, word: str) -> int:
    """Print a line for each file, or one JSON object; return the exit code."""
    failed = int(any(one.error for one in made.files))
    if json:
        as_json({"path": _path(made), "files": [_without_none(one._asdict()) for one in made.files]})
        return failed
    for one in made.files:
        if one.error:
            print(f"danlu: {one.error}", file=sys.stderr)
            continue
        share = "" if one.filled is None else f"  {100 * one.filled:.3g} % filled in"
        error = "" if one.squared_error is None else f"  mean squared error {one.squared_error:.5f}"
        print(f"{one.file}{share}{error}", file=sys.stdout if made.path else sys.stderr)
    if made.path:
        print(f"{made.path}: {len(made.x):,} {word}")
    return failed


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None or name == "error"}
