"""The verbs of the command line that ask a model to make something, or how likely something is."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from danlu.app.cli.command_output import as_json, parsed, say
from danlu.errors import UsageError

if TYPE_CHECKING:
    from danlu.app.inference.apply import Made

Device = Literal["auto", "cpu", "cuda", "mps"]
Out = Annotated[str | None, tyro.conf.arg(aliases=["-o"])]
Number = Annotated[int | None, tyro.conf.arg(aliases=["-n"])]


def sample(words: list[str]) -> int:
    """``danlu.sample(run)``"""

    def command(
        run: Path,
        /,
        n: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 64,
        out: Out = None,
        label: str | None = None,
        columns: int | None = None,
        numbers: bool = False,
        values: bool = False,
        seed: int = 0,
        overwrite: bool = False,
        device: Device = "auto",
        json: bool = False,
    ) -> int:
        """Draw examples: pictures as a sheet or one by one, rows as a table in the units of its columns.

        Args:
            run: a run folder, or a model folder
            n: how many
            out: FILE.png (a sheet), FILE.csv (rows), FILE.npy (numbers), FOLDER/ (a picture each) or - for standard
                output; samples.png or samples.csv in the run if not given, for a model folder in the current folder
            label: name or number of a class, or all for each in turn; for models that take labels
            columns: pictures in a row of the sheet
            numbers: write its number above each picture, by which interpolate and arithmetic know it
            values: draw each value of a picture from its distribution, too, where else its mean is shown
            seed: of the random numbers; the same seed gives the same examples
            overwrite: replace what is there
            device: where to compute
            json: print one JSON object and nothing else
        """
        from danlu.app.inference.sample import sample

        _check_out(out, json)
        made = sample(run, n, out=out, label=label, columns=columns, numbers=numbers,
                      values=values, seed=seed, overwrite=overwrite, device=device)  # fmt: skip
        if json:
            return as_json({"path": _path(made), "n": n, "shape": [*made.x.shape[1:]], "label": label, "seed": seed})
        of = " of all classes in turn" if label == "all" else f" of {label}" if label else ""
        return 0 if made.path is None else say(f"{made.path}: {n:,} samples{of}")

    return parsed("sample", command, words)


def reconstruct(words: list[str]) -> int:
    """``danlu.reconstruct(run, *files)``"""

    def command(
        run: Path,
        files: tuple[Path, ...],
        /,
        out: Out = None,
        invert: bool = False,
        encoding: str = "utf-8",
        seed: int = 0,
        overwrite: bool = False,
        device: Device = "auto",
        json: bool = False,
    ) -> int:
        """Pass pictures or rows through the code of a model and back: a sheet with each beside its reconstruction.

        Args:
            run: a run folder, or a model folder
            files: images, or folders of them; CSV or Parquet files for a model of rows; - is standard input
            out: as for sample; reconstructions.png or reconstructions.csv if not given
            invert: turn dark on light into light on dark first
            encoding: how the text of CSV files is written
            seed: of the random numbers, for a model that needs some
            overwrite: replace what is there
            device: where to compute
            json: print one JSON object and nothing else
        """
        from danlu.app.inference.reconstruct import reconstruct

        _check_out(out, json)
        made = reconstruct(run, *files, out=out, invert=invert, encoding=encoding,
                           seed=seed, overwrite=overwrite, device=device, quiet=json)  # fmt: skip
        return _told(made, json, "reconstructions")

    return parsed("reconstruct", command, words)


def interpolate(words: list[str]) -> int:
    """``danlu.interpolate(run, a, b)``"""

    def command(
        run: Path,
        a: Path,
        b: Path,
        /,
        steps: int = 10,
        n: Number = None,
        label: str | None = None,
        out: Out = None,
        invert: bool = False,
        encoding: str = "utf-8",
        seed: int = 0,
        overwrite: bool = False,
        device: Device = "auto",
        json: bool = False,
    ) -> int:
        """Walk from one picture to another, or from one row to another: the steps in a row.

        Args:
            run: a run folder, or a model folder
            a: an image, or a CSV or Parquet file with one row, - is standard input; or the number of a picture on the
                sheet that sample writes with the same seed, where numbers shows them
            b: another
            steps: how many, both ends included
            n: of numbers: how many pictures the sheet has, 64 if not given
            label: of numbers: name or number of the class, for models that are told classes
            out: as for sample; interpolation.png or interpolation.csv if not given
            invert: turn dark on light into light on dark first
            encoding: how the text of CSV files is written
            seed: of the sheet, and of the random numbers of a model that needs some
            overwrite: replace what is there
            device: where to compute
            json: print one JSON object and nothing else
        """
        from danlu.app.inference.interpolate import interpolate

        _check_out(out, json)
        made = interpolate(run, a, b, steps=steps, n=n, label=label, out=out, invert=invert,
                           encoding=encoding, seed=seed, overwrite=overwrite, device=device, quiet=json)  # fmt: skip
        if json:
            return as_json({"path": _path(made), "steps": steps, "shape": [*made.x.shape[1:]]})
        start, end = ("standard input" if str(path) == "-" else path for path in (a, b))
        return 0 if made.path is None else say(f"{made.path}: {steps} steps from {start} to {end}")

    return parsed("interpolate", command, words)


def arithmetic(words: list[str]) -> int:
    """``danlu.arithmetic(run, "a - b + c")``"""

    def command(
        run: Path,
        terms: tuple[str, ...],
        /,
        around: float = 0.0,
        n: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 64,
        label: str | None = None,
        out: Out = None,
        seed: int = 0,
        overwrite: bool = False,
        device: Device = "auto",
        json: bool = False,
    ) -> int:
        """Add and subtract the codes of pictures: danlu arithmetic RUN 3,5,8 - 1,4,9 + 2,6,7

        The numbers are those of the sheet that sample writes with the same seed, where numbers shows them.

        Args:
            run: a run folder, or a model folder
            terms: numbers of pictures, several with commas for their average, and + or - between
            around: scale of noise on the result's code, whose eight neighbors are shown around it, 0.25 for instance
            n: how many pictures the sheet has
            label: name or number of the class of all, for models that are told classes
            out: as for sample; arithmetic.png or arithmetic.csv if not given
            seed: of the sheet
            overwrite: replace what is there
            device: where to compute
            json: print one JSON object and nothing else
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

    return parsed("arithmetic", command, _signs_apart(words))


def _signs_apart(words: list[str]) -> list[str]:
    """The words, with a sign in front of a number as a word of its own, where it cannot be the value of a flag.

    >>> _signs_apart(["run", "3,5", "-1,4", "--seed", "-1"])
    ['run', '3,5', '-', '1,4', '--seed', '-1']
    """
    apart: list[str] = []
    for place, word in enumerate(words):
        of_a_flag = place > 0 and words[place - 1].strip("-")[:1].isalpha() and words[place - 1].startswith("-")
        signed = word[:1] in ("-", "+") and word[1:2].isdecimal() and not of_a_flag
        apart += [word[0], word[1:]] if signed else [word]
    return apart


def inpaint(words: list[str]) -> int:
    """``danlu.inpaint(run, *files, mask=…)``"""

    def command(
        run: Path,
        files: tuple[Path, ...],
        /,
        mask: str | None = None,
        out: Out = None,
        invert: bool = False,
        encoding: str = "utf-8",
        seed: int = 0,
        overwrite: bool = False,
        device: Device = "auto",
        json: bool = False,
    ) -> int:
        """Fill in what is missing of pictures, or the empty fields of tables.

        A sheet shows each picture with its hole in blue, and beside it the picture filled in.

        Args:
            run: a run folder, or a model folder
            files: images, or folders of them; CSV or Parquet files for a model of rows; - is standard input
            mask: what is missing of pictures: half (the lower one), left, right, top, bottom, block, random or
                random:SHARE; or a picture in which WHITE is what is filled in and black what is kept, as large as the
                pictures or as the model has them
            out: as for sample; inpainted.png or inpainted.csv if not given
            invert: turn dark on light into light on dark first (not the mask)
            encoding: how the text of CSV files is written
            seed: of the random numbers
            overwrite: replace what is there
            device: where to compute
            json: print one JSON object and nothing else
        """
        from danlu.app.inference.inpaint import inpaint

        _check_out(out, json)
        made = inpaint(run, *files, mask=mask, out=out, invert=invert, encoding=encoding,
                       seed=seed, overwrite=overwrite, device=device, quiet=json)  # fmt: skip
        return _told(made, json, "filled in")

    return parsed("inpaint", command, words)


def score(words: list[str]) -> int:
    """``danlu.score(run, *files)``"""

    def command(
        run: Path,
        files: tuple[Path, ...],
        /,
        samples: int | None = None,
        binarize: Literal["none", "threshold", "static", "dynamic"] | None = None,
        invert: bool = False,
        encoding: str = "utf-8",
        seed: int = 0,
        device: Device = "auto",
        json: bool = False,
    ) -> int:
        """How likely pictures, rows or texts are: log-likelihood, or a lower bound of it; of a text its perplexity.

        Args:
            run: a run folder, or a model folder
            files: images, or folders of them; CSV or Parquet files for a model of rows; text files for a model of text;
                - is standard input
            samples: draws from which each bound is made, 100 if not given; more make it tighter
            binarize: how pictures are made black and white; as when the run was evaluated if not given
            invert: turn dark on light into light on dark first
            encoding: how text and CSV files are written
            seed: of the random numbers
            device: where to compute
            json: print one JSON object and nothing else
        """
        from danlu.app.cli.commands.text import tell_scores
        from danlu.app.scoring.likelihood import score
        from danlu.app.scoring.text_perplexity import TextScores

        scores = score(run, *files, samples=samples, binarize=binarize, invert=invert, encoding=encoding,
                       seed=seed, device=device, quiet=json)  # fmt: skip
        if isinstance(scores, TextScores):
            return tell_scores(scores, json)
        failed, mean = int(any(one.error for one in scores.files)), scores.mean()
        if json:
            page = {"scores": [one._asdict() for one in scores.files], "mean": mean and mean._asdict()}
            as_json({**page, "bound": scores.bound, "samples": scores.samples, "notes": scores.notes})
            return failed
        least, most = ("at least ", "at most ") if scores.bound else ("", "")
        for one in [*scores.files, *([mean] if mean and len(scores.files) > 1 else [])]:
            if one.error:
                print(f"danlu: {one.error}", file=sys.stderr)
            else:
                print(f"{one.file}  {least}{one.nats:.2f} nats  {most}{one.bits_per_dimension:.4f} bits per dimension")
        if mean:
            print("\n".join(f"  {note}" for note in scores.notes))
        return failed

    return parsed("score", command, words)


def _check_out(out: str | None, json: bool) -> None:
    if json and out == "-":
        raise UsageError("--json and -o - both write to standard output; give one of them")


def _path(made: Made) -> str | None:
    return None if made.path is None else str(made.path)


def _told(made: Made, json: bool, word: str) -> int:
    """A line for each file, or one object; the exit code."""
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
