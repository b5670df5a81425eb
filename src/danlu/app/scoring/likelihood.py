"""Log-likelihood of files under a model, or a lower bound of it."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any, NamedTuple, cast
from zlib import crc32

import torch
from jaxtyping import Float, Int
from torch import Tensor

from danlu.app.console.progress import Screen
from danlu.app.files.inputs import Input, inputs_of
from danlu.app.files.standard_input import with_standard_input
from danlu.app.inference.apply import check_at_least, require_files
from danlu.app.inference.load import load_without_seeding
from danlu.app.inference.two_values import at_middle, suited
from danlu.app.scoring.text_perplexity import TextScores, score_text
from danlu.data.base.dataset import require_images
from danlu.data.base.density import bits_per_dimension, fixed_noise
from danlu.data.images.binarize import binary
from danlu.data.images.settings import Binarize
from danlu.errors import UsageError
from danlu.models.base import Model
from danlu.models.energy.normalizer import LogNormalizer
from danlu.nn.memory_format import place
from danlu.rng.keys import generator, seeded
from danlu.tasks.likelihood import is_dequantized, log_likelihood
from danlu.training.runtime import DeviceName, pick_device
from danlu.verbs import can, has, method, verbs_of

DEFAULT_SAMPLES = 100
DENSITY_NOTE = "densities in the units of the file; a density can be above 1, and its logarithm above 0"
BINARIZATION_NOTES = {
    "threshold": "images are binarized by a threshold",
    "static": "images are binarized at random: each pixel is white with a probability equal to its gray value",
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
        samples: number of samples for each bound; None for a log-likelihood, and for a bound by dequantization.
        notes: notes for the comparison with other scores.
        normalizer: log Z in the log-likelihoods, exact or an estimate; None if it is known in closed form.
    """

    files: tuple[Score, ...]
    bound: bool
    samples: int | None
    notes: tuple[str, ...]
    normalizer: LogNormalizer | None = None

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
    not depend on the other files; the same holds for the samples of its bound.

    Args:
        run: a run folder, or a model folder.
        files: images, or folders of images; CSV or Parquet files for a model of rows; WAV files, or folders of them,
            for a model of waveforms; text files, or folders of text files, for a language model; "-" is standard input.
        samples: number of samples for each bound, 100 by default; more samples make it tighter in expectation.
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
    check_at_least(1, samples=samples)
    model = load_without_seeding(run)
    verb = next((name for name in ("log_prob", "log_prob_bound") if can(model, name)), None)
    if verb is None:
        verbs = ", ".join(verbs_of(model)) or "none"
        raise UsageError(
            f"{type(model).__name__} has neither a log-likelihood nor a lower bound of it; its verbs: {verbs}"
        )
    if verb == "log_prob" and samples is not None:
        raise UsageError(
            f"{type(model).__name__} needs no samples for its log-likelihood; remove samples",
            settings=("samples",),
        )
    require_images(model.info, invert=invert, binarize=binarize)
    if has(model, "token_log_probs"):
        return score_text(run, place(model, pick_device(device)[0]), require_files(files), encoding)
    draws = (samples or DEFAULT_SAMPLES) if verb == "log_prob_bound" else None
    how = _binarize(model, binarize)
    place(model, pick_device(device)[0])
    results: list[Score] = []
    gray = False
    with with_standard_input(require_files(files)) as (paths, display):
        for names, x, error in inputs_of(paths, model.info, invert, encoding, Screen(quiet, sys.stderr), display):
            if x is None:
                results += [Score(display(name), error=display(error or "")) for name in names]
                continue
            x = _binarized(x, how, seed, model)
            if model.info.image_size is None:
                suited(Input(names, x), model, display)  # refuses other values
            gray = gray or bool(((x != 0) & (x != 1)).any())
            nats = _bounds(model, x, draws, seed) if draws is not None else _log_likelihoods(model, x)
            results += [
                _scored(display(name), value, x[0].numel())
                for name, value in zip(names, nats.double().tolist(), strict=True)
            ]
    normalizer = cast(Any, model).log_normalizer() if has(model, "normalizer") else None
    estimated = normalizer is not None and normalizer.kind != "exact"  # of log Z, which can be too small
    bound = draws is not None or (is_dequantized(model, model.info) and not estimated)
    return Scores(tuple(results), bound, draws, tuple(_notes(model, draws, how, gray)), normalizer)


def _scored(file: str, nats: float, values: int) -> Score:
    if math.isnan(nats):
        return Score(
            file, error=f"{file}: its log-likelihood is not a number; it differs too much from the training data"
        )
    return Score(file, nats, float(bits_per_dimension(torch.tensor(nats, dtype=torch.float64), values)))


@torch.no_grad()
def _bounds(model: Model, x: Tensor, draws: int, seed: int) -> Float[Tensor, "n"]:
    parameter = next(model.parameters())
    options = {"generator": generator("score", seed, device=parameter.device)} if has(model, "generator") else {}
    with seeded("score", seed, device=parameter.device):
        x = x.to(parameter.device, parameter.dtype)
        return method(model, "log_prob_bound")(x, samples=draws, **options).cpu()


@torch.no_grad()
def _log_likelihoods(model: Model, x: Tensor) -> Float[Tensor, "n"]:
    """The log-likelihoods, or their lower bounds with noise that depends on the content of each example."""
    parameter = next(model.parameters())
    noise = fixed_noise(x, _content_numbers(x)) if is_dequantized(model, model.info) else None
    x = x.to(parameter.device, parameter.dtype)
    return log_likelihood(model, x, None if noise is None else noise.to(x), model.info).cpu()


def _content_numbers(x: Tensor) -> Int[Tensor, "n"]:
    """A number for each example that depends on its values only."""
    return torch.tensor([crc32(one.contiguous().numpy().tobytes()) for one in x])


def _binarize(model: Model, option: Binarize | None) -> Binarize:
    """How images are binarized: as the option says, or as in the evaluation of the run."""
    info = model.info
    two_values = has(model, "binary_values")
    if option is not None and info.bounds != (0.0, 1.0) and not two_values:
        low, high = info.range
        raise UsageError(
            f"binarize applies to images with values from 0 to 1 only, and this model takes {info.description} with "
            f"values from {low:g} to {high:g}",
            settings=("binarize",),
        )
    how: Binarize = option or model.usage.get("binarize", "none")
    if how == "none" and two_values and info.image_size is not None:
        how = "threshold"
    return "static" if how == "dynamic" else how  # they differ in training only


def _binarized(x: Tensor, how: Binarize, seed: int, model: Model) -> Tensor:
    """Binarized images; the random numbers depend on the content of each image."""
    low, high = model.info.range
    if how == "none":
        return x
    if how == "threshold":
        return at_middle(x, (low, high), model.info)
    return low + (high - low) * binary((x - low) / (high - low), _content_numbers(x), 0, seed)


def _notes(model: Model, draws: int | None, how: Binarize, gray: bool) -> list[str]:
    notes = []
    if draws is not None:
        notes.append(f"lower bounds of the log-likelihood, each estimated with {draws} sample{'s' * (draws != 1)}")
    if is_dequantized(model, model.info):
        notes.append("lower bounds of the log-likelihood: random noise fills the gap between neighboring levels")
    if has(model, "normalizer"):
        notes.append(_normalizer_note(cast(Any, model).log_normalizer()))
    if how != "none":
        notes.append(BINARIZATION_NOTES[how])
    likelihood = model.arguments.get("likelihood")
    if likelihood == "bernoulli" and gray:
        notes.append(
            "gray pixels: the score is the mean over black and white pixels, not the likelihood of the gray values; "
            "see the option binarize"
        )
    if likelihood == "logistic" and (levels := model.arguments.get("levels", 256)) < 256:
        notes.append(f"gray values are rounded to the {levels} levels of the training data")
    if has(model, "density"):
        notes += [] if model.info.spacing else [DENSITY_NOTE]
    elif likelihood == "gaussian" or (model.info.bounds is None and not has(model, "binary_values")):
        notes.append(model.info.density_note)
    return notes


def _normalizer_note(log_z: LogNormalizer) -> str:
    """How sure the normalizer in the log-likelihoods of a model is."""
    if log_z.kind == "exact":
        return "the normalizer in the log-likelihoods is exact"
    if log_z.standard_error is None:
        return (
            f"the log-likelihoods are unreliable: to the estimate of the normalizer contribute only "
            f"{log_z.effective_sample_size:.0f} of {log_z.chains} chains of annealed importance sampling, so its error "
            f"is unknown"
        )
    return (
        f"the log-likelihoods are estimates: the logarithm of the normalizer, the same in all of them, has a standard "
        f"error of {log_z.standard_error:.2g} nats ({log_z.method})"
    )
