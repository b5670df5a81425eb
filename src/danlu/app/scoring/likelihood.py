"""Log-likelihood of files under a model, or a lower bound of it."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import torch
from jaxtyping import Float
from torch import Tensor

from danlu.app.console.progress import Screen
from danlu.app.files.inputs import inputs_of
from danlu.app.files.standard_input import files_of
from danlu.app.inference.apply import at_least, drawing, named
from danlu.app.inference.load import opened
from danlu.app.scoring.text_perplexity import TextScores, score_text
from danlu.data.images.binarize import Binarize, binary
from danlu.data.tables.info import TableInfo
from danlu.errors import UsageError
from danlu.models.base import Model
from danlu.rng.keys import generator
from danlu.training.runtime import DeviceName, pick_device
from danlu.verbs import can, has, method, verbs_of

USUAL_SAMPLES = 100
BLACK_AND_WHITE = {
    "threshold": "pictures are made black and white by a threshold",
    "static": "pictures are made black and white, each pixel white with the probability of its gray",
}


class Score(NamedTuple):
    """The log-likelihood of an image or a row.

    Attributes:
        file: the image file, or the table file and the line of a row.
        nats: its log-likelihood in nats, or a lower bound.
        bits_per_dimension: negative log-likelihood in bits per value; an upper bound if ``nats`` is a lower bound.
        error: why there is no score; None if there is one.
    """

    file: str
    nats: float | None = None
    bits_per_dimension: float | None = None
    error: str | None = None


class Scores(NamedTuple):
    """The scores of several files.

    Attributes:
        files: score of each file.
        bound: whether the nats are lower bounds.
        samples: number of draws for each bound; None for a log-likelihood.
        notes: notes for the comparison with other scores.
    """

    files: tuple[Score, ...]
    bound: bool
    samples: int | None
    notes: tuple[str, ...]

    def mean(self) -> Score | None:
        """The mean over the files that have a score."""
        nats = [one.nats for one in self.files if one.nats is not None]
        bits = [one.bits_per_dimension for one in self.files if one.bits_per_dimension is not None]
        return Score(f"mean of {len(nats)}", sum(nats) / len(nats), sum(bits) / len(bits)) if nats else None


def score(
    run: str | Path,
    *files: str | Path,
    samples: int | None = None,
    binarize: Binarize | None = None,
    invert: bool = False,
    encoding: str = "utf-8",
    seed: int = 0,
    device: DeviceName = "auto",
    quiet: bool = False,
) -> Scores | TextScores:
    """The log-likelihood of images or rows in nats, or a lower bound if the model has only a bound.

    For texts: perplexity and bits per byte.

    Images are binarized as in the evaluation of the run. Random binarization of an image is always the same and does
    not depend on the other files; the same holds for the draws for its bound.

    Args:
        run: a run folder, or a model folder.
        files: images, or folders of images; CSV or Parquet files for a model of rows; text files, or folders of text
            files, for a language model; "-" is standard input.
        samples: number of draws for each bound, 100 by default; more draws make it tighter in expectation.
        binarize: how images are binarized; by default as in the recipe of the run.
        invert: for images, invert dark on light to light on dark.
        encoding: text encoding of text and CSV files.
        seed: random seed.
        device: the device.
        quiet: do not report columns that are not used.

    Raises:
        UsageError: if the model has no likelihood, no file is given, a file does not exist, or an option is not for
            this model.
    """
    at_least(1, samples=samples)
    model = opened(run)
    verb = next((name for name in ("log_prob", "log_prob_bound") if can(model, name)), None)
    if verb is None:
        has = ", ".join(verbs_of(model)) or "nothing"
        raise UsageError(f"{type(model).__name__} gives no likelihood, nor a bound of one; it can {has}")
    if verb == "log_prob" and samples is not None:
        raise UsageError(f"{type(model).__name__} knows its log-likelihood without draws; leave samples out")
    if model.info.kind == "text":
        if invert or binarize is not None:
            raise UsageError("invert and binarize are for pictures, and this model reads text; leave them out")
        return score_text(run, model.to(pick_device(device)[0]), named(files), encoding)
    draws = (samples or USUAL_SAMPLES) if verb == "log_prob_bound" else None
    how = _binarize(model, binarize)
    model.to(pick_device(device)[0])
    found: list[Score] = []
    gray = False
    with files_of(named(files)) as (paths, said):
        for places, x, error in inputs_of(paths, model.info, invert, encoding, Screen(quiet, sys.stderr), said):
            if x is None:
                found += [Score(said(place), error=said(error or "")) for place in places]
                continue
            x = _black_and_white(x, how, seed)
            gray = gray or bool(((x != 0) & (x != 1)).any())
            nats = _likelihood(model, verb, x, draws, seed).double().cpu()
            found += [_scored(said(place), one, x[0].numel()) for place, one in zip(places, nats.tolist(), strict=True)]
    return Scores(tuple(found), draws is not None, draws, tuple(_notes(model, draws, how, gray)))


def _scored(file: str, nats: float, values: int) -> Score:
    if math.isnan(nats):
        return Score(
            file, error=f"{file}: its likelihood is no number; it lies too far from what the model was trained on"
        )
    return Score(file, nats, -nats / (math.log(2) * values))


def _likelihood(model: Model, verb: str, x: Tensor, draws: int | None, seed: int) -> Float[Tensor, "n"]:
    some = next(model.parameters())
    x, given = x.to(some.device, some.dtype), dict[str, Any]()
    if draws is not None:
        given["samples"] = draws
        if has(model, "generator"):
            given["generator"] = generator("score", seed, device=some.device)
    with drawing(some.device, "score", seed):
        return method(model, verb)(x, **given)


def _binarize(model: Model, asked: Binarize | None) -> Binarize:
    """How images are binarized: as asked, or as they were when the model was evaluated."""
    info = model.info
    if asked is not None and (info.kind != "images" or info.range != (0.0, 1.0)):
        raise UsageError(f"binarize is for pictures from 0 to 1, and this model takes {info.kind}; leave it out")
    how: Binarize = asked or model.usage.get("binarize", "none")
    return "static" if how == "dynamic" else how  # they differ in training only


def _black_and_white(x: Tensor, how: Binarize, seed: int) -> Tensor:
    """Binarized images; the random numbers depend on the content of each image."""
    if how == "none":
        return x
    if how == "threshold":
        return (x >= 0.5).to(x.dtype)
    numbers = torch.tensor([crc32(one.contiguous().numpy().tobytes()) for one in x])
    return binary(x, numbers, 0, seed)


def _notes(model: Model, draws: int | None, how: Binarize, gray: bool) -> list[str]:
    notes = []
    if draws is not None:
        notes.append(
            f"lower bounds of the log-likelihood, estimated from {draws} {'draw' if draws == 1 else 'draws'} each"
        )
    if how != "none":
        notes.append(BLACK_AND_WHITE[how])
    likelihood = model.arguments.get("likelihood")
    if likelihood == "bernoulli" and gray:
        notes.append(
            "of gray pixels it is the mean over black and white ones, not the likelihood of gray; see --binarize"
        )
    if isinstance(model.info, TableInfo):
        shifted = " shifted and scaled as the training rows were" if model.info.shift else " as they are"
        notes.append(f"densities of rows{shifted}, which can be above 1 and their logarithms above 0")
    elif likelihood == "gaussian":
        notes.append("densities of pixels from 0 to 1, which can be above 1; not to be compared with bits of bytes")
    return notes
