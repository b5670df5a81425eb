"""The figure of a data set: images or waveforms of each class, points of two columns, histograms of more columns.

``data.kinds`` names the function of each kind of data that has a figure.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from danlu.catalogue.lookup import resolve
from danlu.data.base.batch_stream import Shuffled
from danlu.data.base.dataset import DataSet, Part
from danlu.data.images.augment import Augmented
from danlu.data.images.settings import Augment
from danlu.data.kinds import KINDS
from danlu.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

IMAGES = 60
"""number of images of a data set without classes"""
AUGMENTED = 10
"""number of images that are shown with augmentation"""
POINTS = 5000
WAVEFORMS, MOST_ROWS = 5, 30
"""waveforms in a row, and largest number of rows of classes"""


def draw(data: DataSet, path: str | Path, augment: Augment | None = None, rows: int = 6) -> None:
    """Write a figure of a data set.

    Args:
        data: the data set.
        path: path of the PNG file.
        augment: augmentation of images; if it is on, each image is shown unchanged and as augmented in several epochs.
        rows: images per class.

    Raises:
        UsageError: if data of this kind has no figure.
    """
    from danlu.app.report.figures.style import to_png

    figure = KINDS[data.info.kind].figure
    if not figure:
        drawable = [name for name, kind in KINDS.items() if kind.figure]
        raise UsageError(
            f"{data.name}: {data.info.kind} has no figure; kinds of data with a figure: {', '.join(drawable)}",
            settings=("image",),
        )
    to_png(resolve(figure)(data, augment, rows), path)


def draw_images(data: DataSet, augment: Augment | None, rows: int) -> Figure:
    """Images of each class; with augmentation, images as they are trained on."""
    from danlu.app.report.figures.data import samples

    part, info = data.train, data.info
    names, labels = info.class_names or ("",), _labels(part)
    if augment is not None and augment.on:
        images = as_trained_on(part.take(torch.arange(min(len(part), AUGMENTED))), augment, rows - 1)
        return samples(list(images), [names[int(label)] for label in labels[: len(images)]], info.range)
    shown = [(labels == label).nonzero().flatten()[:rows] for label in range(len(names))]
    if len(names) == 1:
        shown = [torch.arange(min(len(part), IMAGES))]
    return samples([part.rows(index)["image"] for index in shown], names, info.range)


def draw_table(data: DataSet, augment: Augment | None, rows: int) -> Figure:
    """Points of two columns, colored by class; histograms of other numbers of columns."""
    from danlu.app.report.figures.data import histograms, points

    part, info = data.train, data.info
    if info.shape == (2,):
        names = info.class_names or ("",)
        return points(part["x"][:POINTS], _labels(part)[:POINTS], info.channel_names or ("0", "1"), names)
    return histograms(part["x"], info.channel_names or tuple(map(str, range(info.shape[0]))))


def draw_waveforms(data: DataSet, augment: Augment | None, rows: int) -> Figure:
    """Curves of waveforms of each class; without classes, rows of waveforms."""
    from danlu.app.report.figures.waveforms import waveforms

    part, info = data.train, data.info
    if not info.classes:
        groups = part[info.inputs][: WAVEFORMS * rows].split(WAVEFORMS)
        return waveforms(list(groups), (), info.range)
    labels = _labels(part)
    shown = [(labels == label).nonzero().flatten()[:WAVEFORMS] for label in range(min(info.classes, MOST_ROWS))]
    return waveforms([part.rows(index)[info.inputs] for index in shown], info.label_names[:MOST_ROWS], info.range)


def _labels(part: Part) -> Tensor:
    return part["label"] if "label" in part.fields else torch.zeros(len(part), dtype=torch.long)


def as_trained_on(part: Part, augment: Augment, epochs: int) -> Float[Tensor, "n epochs+1 c h w"]:
    """Each image unchanged, and as augmented in the first epochs; mixing uses only these images."""
    stream = Augmented(Shuffled(part, "full"), augment)
    images = [part["image"]]
    for epoch in range(epochs):
        batch = stream.batch(epoch, slice(0, len(part)))
        images.append(batch["image"][batch.numbers.argsort()])
    return torch.stack(images, dim=1)
