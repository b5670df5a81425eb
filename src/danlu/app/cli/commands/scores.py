"""The commands score and score-images."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

from danlu.app.cli.argument_types import FILES, DataDir, Device, Encoding, Invert, Json, Seed
from danlu.app.cli.command_output import as_json
from danlu.app.console.output import print_error, print_line, print_lines
from danlu.errors import UsageError


def score(
    run: Path,
    files: tuple[Path, ...],
    /,
    *,
    samples: int | None = None,
    binarize: Literal["none", "threshold", "static", "dynamic"] | None = None,
    invert: Invert = False,
    encoding: Encoding = "utf-8",
    seed: Seed = 0,
    device: Device = "auto",
    json: Json = False,
) -> int:
    """Compute the log-likelihood of files, or a lower bound of it; for text files the perplexity.

    Args:
        run: run folder or model folder
        files: images or folders of images; for models of tables CSV or Parquet files; for models of waveforms WAV files
            or folders of them; for language models text files; - for standard input
        samples: number of importance samples per lower bound; more samples give a tighter bound; default: 100
        binarize: how images are converted to black and white; default: as in the evaluation of the run
    """
    from danlu.app.cli.commands.text import print_scores
    from danlu.app.scoring.likelihood import score
    from danlu.app.scoring.text_perplexity import TextScores

    scores = score(run, *files, samples=samples, binarize=binarize, invert=invert, encoding=encoding,
                   seed=seed, device=device, quiet=json)  # fmt: skip
    if isinstance(scores, TextScores):
        return print_scores(scores, json)
    failed, mean = int(any(one.error for one in scores.files)), scores.mean()
    if json:
        page = {"scores": [one._asdict() for one in scores.files], "mean": mean and mean._asdict()}
        if scores.normalizer is not None:
            page["normalizer"] = asdict(scores.normalizer)
        as_json({**page, "bound": scores.bound, "samples": scores.samples, "notes": scores.notes})
        return failed
    least, most = ("at least ", "at most ") if scores.bound else ("", "")
    for one in [*scores.files, *([mean] if mean and len(scores.files) > 1 else [])]:
        if one.error:
            print_error(one.error)
        else:
            print_line(f"{one.file}  {least}{one.nats:.2f} nats  {most}{one.bits_per_dimension:.4f} bits per dimension")
    if mean:
        print_lines("\n".join(f"  {note}" for note in scores.notes))
    return failed


def score_images(
    images: Annotated[tuple[str, ...], FILES],
    /,
    *,
    feature_extractor: Literal["auto", "inception", "pixels"] = "auto",
    count: int | None = None,
    invert: Invert = False,
    data_dir: DataDir = None,
    device: Device = "auto",
    json: Json = False,
) -> int:
    """Compute FID, KID, Inception Score, precision and recall of images.

    For example: danlu score-images IMAGES… REFERENCE

    Args:
        images: image files or folders; the last one is the reference: the name of a data set, or a folder of images
        feature_extractor: network whose features are compared; auto: a classifier trained on the data set, or
            pixel values if the data set has no classes
        count: number of images to score; default: all, at most 10000
    """
    from danlu.app.console.formatting import score_name, score_value
    from danlu.app.scoring.image_quality import score_images

    if len(images) < 2:
        raise UsageError("score-images needs images and a reference: danlu score-images images/ digits")
    scores = score_images(images[:-1], images[-1], feature_extractor=feature_extractor, count=count, invert=invert,
                         data_dir=data_dir, device=device, quiet=json)  # fmt: skip
    for error in scores.errors:
        print_error(error)
    if json:
        as_json(scores._asdict())
        return int(bool(scores.errors))
    print_line(f"{scores.images:,} images compared with {scores.examples:,} of {scores.reference}, train part")
    width = max(len(score_name(name)) for name in scores.scores)
    for name, value in scores.scores.items():
        print_line(f"  {score_name(name):<{width}}  {score_value(name, value)}")
    for note in scores.notes:
        print_line(f"  {note}")
    return int(bool(scores.errors))
