"""The commands evaluate, classify and export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import tyro

from danlu.app.cli.argument_types import FILES, DeviceName, Encoding, Invert, Json, Out, Overwrite
from danlu.app.cli.command_output import as_json, say


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
        flip: for classifiers of images: average the probabilities of each image and its mirror image
        generated: number of examples to generate and to compare with the training part (FID and similar scores);
            default: 10000 for models without other scores, else 0
    """
    from danlu.app.console.formatting import score_name, score_value
    from danlu.app.console.output import print_line
    from danlu.app.scoring.evaluate import evaluate

    result = evaluate(run, part, device, flip, generated)
    if json:
        return as_json({"run": str(run), **result})
    generated_scores = result.get("generated", {})
    width = max([18, *(len(score_name(name)) for name in (*result["scores"], *generated_scores))])
    if result["scores"]:
        print_line(f"{result['data']}, {part} part, {result['examples']:,} examples")
    for name, value in result["scores"].items():
        print_line(f"  {score_name(name):<{width}} {score_value(name, value)}")
    if generated_scores:
        print_line(f"{result['data']}, generated examples compared with the train part")
    for name, value in generated_scores.items():
        print_line(f"  {score_name(name):<{width}} {score_value(name, value)}")
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
    out: Out = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> int:
    """Classify image files or rows of tables.

    Args:
        run: run folder or model folder
        files: images or folders of images; for models of tables CSV or Parquet files; - for standard input
        top: number of most probable classes to print
        flip: average the probabilities of each image and its mirror image
        out: CSV file to write instead of lines on the screen, with the probability of each class
    """
    from danlu.app.console.output import print_error, print_line
    from danlu.app.inference.classify import classify

    options = {"top": top, "invert": invert, "flip": flip, "encoding": encoding}
    guesses = classify(run, *files, **options, out=out, overwrite=overwrite, quiet=json)
    failed = int(any(guess.error for guess in guesses))
    if json:
        as_json({"guesses": [{"file": g.file, "classes": g.classes, "error": g.error} for g in guesses]})
        return failed
    for guess in guesses:
        if guess.error:
            print_error(guess.error)
        elif out is None:
            classes = "  ".join(f"{name} {probability:.3f}" for name, probability in guess.classes)
            print_line(f"{guess.file}  {classes}")
    if out is not None:
        count = len(guesses) - sum(guess.error is not None for guess in guesses)
        print_line(f"{out}: {count:,} classified")
    return failed


def predict(
    run: Path,
    files: tuple[Path, ...],
    /,
    *,
    invert: Invert = False,
    flip: bool = False,
    encoding: Encoding = "utf-8",
    out: Out = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> int:
    """Predict a number for image files or rows of tables.

    Args:
        run: run folder or model folder
        files: images or folders of images; for models of tables CSV or Parquet files; - for standard input
        flip: average the outputs of each image and its mirror image
        out: CSV file to write instead of lines on the screen: file, number, and the standard deviation if there is one
    """
    from danlu.app.console.output import print_error, print_line
    from danlu.app.inference.predict import predict

    options = {"invert": invert, "flip": flip, "encoding": encoding}
    predictions = predict(run, *files, **options, out=out, overwrite=overwrite, quiet=json)
    failed = int(any(one.error for one in predictions))
    if json:
        as_json({"predictions": [one._asdict() for one in predictions]})
        return failed
    for one in predictions:
        if one.error:
            print_error(one.error)
        elif out is None:
            deviation = "" if one.deviation is None else f"  ± {one.deviation:.6g}"
            print_line(f"{one.file}  {one.value:.6g}{deviation}")
    if out is not None:
        print_line(f"{out}: {sum(one.error is None for one in predictions):,} predicted")
    return failed


def export(
    run: Path,
    /,
    *,
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"]), FILES],
    verb: str | None = None,
    json: Json = False,
) -> int:
    """Export a model as ONNX, or its weights as safetensors.

    Args:
        run: run folder or model folder
        out: file to write, FILE.onnx or FILE.safetensors
        verb: method of the model to export as ONNX, for example classify; default: the first that can be exported
    """
    from danlu.app.export.export import export

    exported = export(run, out, verb)
    if json:
        return as_json({**exported._asdict(), "path": str(exported.path)})
    method = f", verb {exported.verb}" if exported.verb else ""
    compared = exported.difference is not None
    checked = f"; largest difference between PyTorch and onnxruntime: {exported.difference:.1g}" if compared else ""
    return say(f"{exported.path}: {exported.format}{method}{checked}")
