"""The commands evaluate, classify and export. Heavy imports wait until they are needed."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Annotated, Literal

import tyro

from danlu.app.cli.command_output import as_json as _json
from danlu.app.cli.command_output import parsed as _parsed
from danlu.app.cli.command_output import say as _say
from danlu.app.cli.command_output import stream as _stream
from danlu.app.cli.commands.generation import score as score


def evaluate(words: builtins.list[str]) -> int:
    """``danlu.evaluate(run)``"""

    def command(
        run: Path,
        /,
        part: Literal["train", "validation", "test"] = "test",
        device: Literal["auto", "cpu", "cuda", "mps"] | None = None,
        flip: bool = False,
        generated: int | None = None,
        json: bool = False,
    ) -> int:
        """Measure the model of a finished run, and what it generates.

        Args:
            run: the run folder
            part: which part of the data
            device: where to compute; where it was trained if not given
            flip: a classifier sees each picture and its mirror image, and the mean of both answers counts
            generated: examples to generate and score against the training part; 10000 if not given for a model that
                nothing else can judge, else none
            json: print one JSON object and nothing else
        """
        from danlu.app.console.formatting import score_value
        from danlu.app.scoring.evaluate import evaluate

        result = evaluate(run, part, device, flip, generated)
        if json:
            return _json({"run": str(run), **result})
        made = result.get("generated", {})
        width = max([18, *map(len, [*result["scores"], *made])])
        if result["scores"]:
            print(f"{result['data']}, {part} part, {result['examples']:,} examples")
        for name, value in result["scores"].items():
            print(f"  {name.replace('_', ' '):<{width}} {score_value(name, value)}")
        if made:
            print(f"{result['data']}, generated examples beside the train part")
        for name, value in made.items():
            print(f"  {name.replace('_', ' '):<{width}} {score_value(name, value)}")
        return 0

    return _parsed("evaluate", command, words)


def classify(words: builtins.list[str]) -> int:
    """``danlu.classify(run, *files)``"""

    def command(
        run: Path,
        files: tuple[Path, ...],
        /,
        top: int = 5,
        invert: bool = False,
        flip: bool = False,
        encoding: str = "utf-8",
        json: bool = False,
    ) -> int:
        """Classify image files, or rows of tables.

        Args:
            run: a run folder, or a model folder
            files: images, or folders of them; CSV or Parquet files for a model of rows; - is standard input
            top: how many classes to name
            invert: turn dark on light into light on dark first
            flip: show the model each picture and its mirror image, and take the mean of both answers
            encoding: how the text of CSV files is written
            json: print one JSON object and nothing else
        """
        from danlu.app.inference.classify import classify

        guesses = classify(run, *files, top=top, invert=invert, flip=flip, encoding=encoding, quiet=json)
        failed = int(any(guess.error for guess in guesses))
        if json:
            _json({"guesses": [{"file": g.file, "classes": g.classes, "error": g.error} for g in guesses]})
            return failed
        for guess in guesses:
            words = guess.error or "  ".join(f"{name} {probability:.3f}" for name, probability in guess.classes)
            print(f"danlu: {words}" if guess.error else f"{guess.file}  {words}", file=_stream(guess.error))
        return failed

    return _parsed("classify", command, words)


def export(words: builtins.list[str]) -> int:
    """``danlu.export(run, out)``"""

    def command(
        run: Path, /, out: Annotated[Path, tyro.conf.arg(aliases=["-o"])], verb: str | None = None, json: bool = False
    ) -> int:
        """Write a finished model into one file.

        Args:
            run: a run folder, or a model folder
            out: the file; its name ends in .onnx or .safetensors
            verb: what the ONNX file does; the first that can be written so if not given
            json: print one JSON object and nothing else
        """
        from danlu.app.export.export import export

        done = export(run, out, verb)
        if json:
            return _json({**done._asdict(), "path": str(done.path)})
        does = f", which does {done.verb}" if done.verb else ""
        compared = done.difference is not None
        alike = f"; onnxruntime's answers differ by at most {done.difference:.1g}" if compared else ""
        return _say(f"{done.path}: {done.format}{does}{alike}")

    return _parsed("export", command, words)
