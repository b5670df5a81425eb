"""FID, KID, Inception Score, precision and recall of image files against the training part of a data set."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from danlu.app.console.progress import Screen, access_to
from danlu.app.files.image_files import find_images, read_image
from danlu.catalogue.datasets import DATA
from danlu.data.base.dataset import DataInfo, DataSet, Part, spread_over
from danlu.data.images.decode import Unreadable, header
from danlu.data.images.info import ImageInfo
from danlu.data.settings import DataSettings
from danlu.errors import RunError, UsageError, nearest
from danlu.evaluation.feature_extractors import Features, feature_name
from danlu.evaluation.generative_scores import GENERATED, GenerativeScorer
from danlu.storage.access import Access
from danlu.training.runtime import DeviceName, Runtime, pick_device

FEW = 100
"""fewer images than this give a note that scores are noisy"""


class ImageScores(NamedTuple):
    """Scores of images.

    Attributes:
        scores: scores by name; the name has the features, the number of images and the reference.
        reference: name of the data set.
        examples: number of examples of its training part.
        images: number of scored images.
        errors: messages on images that could not be read.
        notes: notes for the interpretation of the scores.
    """

    scores: dict[str, float]
    reference: str
    examples: int
    images: int
    errors: tuple[str, ...]
    notes: tuple[str, ...]


def score_images(
    images: str | Path | Sequence[str | Path],
    reference: str | Path,
    *,
    feature_extractor: Features = "auto",
    count: int | None = None,
    invert: bool = False,
    data_dir: str | Path | None = None,
    device: DeviceName = "auto",
    quiet: bool = False,
) -> ImageScores:
    """Score image files against the training part of a data set.

    Fréchet and kernel distance, Inception Score, precision and recall, classes covered, diversity, memorization. The
    name of a score has its features: a classifier of the data set, Inception, or pixels. Scores of different features
    are not comparable.

    Args:
        images: a folder of images, or files.
        reference: name of a data set (``digits``, ``mnist``, …), or a folder of images; write ./digits for a folder
            with the name of a data set.
        feature_extractor: auto is a classifier if the data set has classes, trained once and cached; else pixels.
        count: number of images to score, at regular intervals; by default all, at most 10,000.
        invert: invert dark on light to light on dark.
        data_dir: folder of data set files and of the weights of Inception.
        device: the device.
        quiet: do not report progress.

    Raises:
        UsageError: if there are fewer than two images, or the reference has no images.
        RunError: if the weights of Inception are not available.
    """
    access = access_to(data_dir, Screen(quiet, sys.stderr))
    files = find_images([images] if isinstance(images, str | Path) else [*images])
    if count is not None and not 2 <= count <= len(files):
        raise UsageError(
            f"count must be from 2 to {len(files):,}, the number of images, got {count}", settings=("count",)
        )
    data = reference_for(reference, access)
    chosen = _spread(files, count or min(len(files), GENERATED))
    x, errors, notes = read_all(chosen, data.info, invert)
    if len(x) < 2:
        reason = f"; {errors[0]}" if errors else ""
        raise UsageError(f"scores need at least 2 readable images, got {len(x)} of {len(chosen):,}{reason}")
    if len(chosen) < len(files):
        notes.insert(0, f"{len(chosen):,} of {len(files):,} images were scored, at regular intervals")
    if len(x) < FEW:
        notes.append(f"{len(x)} images are few: FID is biased upward, and all scores are noisy")
    scorer = GenerativeScorer(
        data, len(x), Runtime(device=pick_device(device)[0]), access, feature_extractor=feature_extractor
    )
    if not scorer.ready:
        notes.append(f"the feature extractor {feature_name(data)} was trained and saved in the cache")
    scores = scorer.all_scores(x)
    return ImageScores(scores, data.name, len(data.train), len(x), tuple(errors), tuple(notes))


def reference_for(reference: str | Path, access: Access) -> DataSet:
    """The reference data set, given by its name or by the path of a folder.

    Raises:
        UsageError: if it does not exist, or its examples are not images.
    """
    text = str(reference)
    name = text.partition(":")[0]
    if name not in DATA and not Path(text).is_dir():
        raise UsageError(f"{text}: not the name of a data set and not a folder; {nearest(name, DATA)}")
    data = DataSettings(data=text if name in DATA else f"folder:{text}").load(access)
    if not isinstance(data.info, ImageInfo):
        raise UsageError(f"{text}: the reference must be a data set of images, got {data.info.description}")
    return data


def read_all(files: Sequence[Path], info: DataInfo, invert: bool) -> tuple[Tensor, list[str], list[str]]:
    """Read images in the format of a data set; return them, errors of reading, and notes on conversions."""
    images, errors = [], []
    other: dict[str, int] = {}
    for path in files:
        try:
            images.append(read_image(path, info, invert))
            for change in _changes(path, info):
                other[change] = other.get(change, 0) + 1
        except RunError as error:
            errors.append(str(error))
    x = torch.stack(images) if images else torch.empty(0, *info.shape)
    return x, errors, [f"{number:,} of {len(x):,} images {change}" for change, number in other.items()]


_FITTED = {"crop": "cropped at the center", "pad": "padded with white", "stretch": "stretched"}


def _changes(path: Path, info: DataInfo) -> list[str]:
    """The conversions of an image to the format of the data set, as text."""
    assert isinstance(info, ImageInfo), "the data set holds images"
    channels, height, width = info.shape
    try:
        size = header(path)
    except Unreadable:  # unlikely, because the image was just read
        return []
    changes = []
    if (size.height, size.width) != (height, width):
        fitted = "" if size.height * width == size.width * height else f" and {_FITTED[info.fit]}"
        changes.append(f"have another size than {height}×{width} and were scaled{fitted}")
    if channels == 1 and not size.gray:
        changes.append("are in color and were converted to gray")
    if channels == 3 and size.gray:
        changes.append("are gray; the data set is in color")
    return changes


def _spread(files: list[Path], count: int) -> list[Path]:
    """``count`` of the files, at regular intervals."""
    numbers = spread_over(Part({"number": torch.arange(len(files))}), count)["number"]
    return [files[number] for number in numbers.tolist()]
