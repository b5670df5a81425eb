"""The commands evaluate, classify and export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import tyro

from danlu.app.cli.argument_types import FILES, DeviceName, Encoding, Invert, Json
from danlu.app.cli.command_output import as_json, say, stream


def evaluate(
    run: Path,
    /,
    *,
    part: Literal["train", "validation", "test"] = "test",
    device: DeviceName | None = None,
    flip: bool = False,
    generated: int | None = None,
    json: Json = False,
) -> int:
    """Compute the scores of a finished run on held-out data.

    Args:
        run: the run folder
        part: part of the data
        device: device to compute on; default: the device of the training
        flip: classifiers of images average the probabilities of each image and its mirror image
        generated: number of examples to generate and compare with the training part; default: 10000 for models without
            other scores, else 0
    """
    from danlu.app.console.formatting import score_value
    from danlu.app.scoring.evaluate import evaluate

    result = evaluate(run, part, device, flip, generated)
    if json:
        return as_json({"run": str(run), **result})
    made = result.get("generated", {})
    width = max([18, *map(len, [*result["scores"], *made])])
    if result["scores"]:
        print(f"{result['data']}, {part} part, {result['examples']:,} examples")
    for name, value in result["scores"].items():
        print(f"  {name.replace('_', ' '):<{width}} {score_value(name, value)}")
    if made:
        print(f"{result['data']}, generated examples compared with the train part")
    for name, value in made.items():
        print(f"  {name.replace('_', ' '):<{width}} {score_value(name, value)}")
    return 0


def classify(
    run: Path,
    files: tuple[Path, ...],
    /,
    *,
    top: int = 5,
    invert: Invert = False,
    flip: bool = False,
    encoding: Encoding = "utf-8",
    json: Json = False,
) -> int:
    """Classify image files or rows of tables.

    Args:
        run: run folder or model folder
        files: images or folders of images; for models of tables CSV or Parquet files; - for standard input
        top: number of most probable classes to print
        flip: average the probabilities of each image and its mirror image
    """
    from danlu.app.inference.classify import classify

    guesses = classify(run, *files, top=top, invert=invert, flip=flip, encoding=encoding, quiet=json)
    failed = int(any(guess.error for guess in guesses))
    if json:
        as_json({"guesses": [{"file": g.file, "classes": g.classes, "error": g.error} for g in guesses]})
        return failed
    for guess in guesses:
        words = guess.error or "  ".join(f"{name} {probability:.3f}" for name, probability in guess.classes)
        print(f"danlu: {words}" if guess.error else f"{guess.file}  {words}", file=stream(guess.error))
    return failed


def export(
    run: Path,
    /,
    *,
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"]), FILES],
    verb: str | None = None,
    json: Json = False,
) -> int:
    """Export a model as ONNX or as plain weights.

    Args:
        run: run folder or model folder
        out: file to write, required; its name ends in .onnx or .safetensors
        verb: the method of the model to export as ONNX; default: the first that can be exported
    """
    from danlu.app.export.export import export

    done = export(run, out, verb)
    if json:
        return as_json({**done._asdict(), "path": str(done.path)})
    method = f" of {done.verb}" if done.verb else ""
    compared = done.difference is not None
    checked = f"; largest difference in onnxruntime: {done.difference:.1g}" if compared else ""
    return say(f"{done.path}: {done.format}{method}{checked}")
