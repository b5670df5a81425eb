"""Inspect a data set before training: statistics, problems, a figure."""

from __future__ import annotations

from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from danlu.app.console.formatting import number
from danlu.app.console.progress import Screen, access_to
from danlu.data.base.batch_stream import Shuffled
from danlu.data.base.dataset import PARTS, DataSet, Part
from danlu.data.images.augment import Augment, Augmented
from danlu.data.settings import DataSettings, data_set_of
from danlu.data.survey.result import Survey
from danlu.data.survey.survey import survey_data_set
from danlu.data.training_data import TrainingData
from danlu.errors import UsageError, few

_BAR = 30
"""length of the longest bar in characters"""
_MOST = 30
"""maximal number of columns, and of classes, that are listed"""


def survey(
    source: str | Path | DataSettings,
    *,
    data_dir: str | Path | None = None,
    screen: Screen | None = None,
    **settings: Any,
) -> tuple[DataSet, Survey]:
    """Load a data set and compute its statistics.

    Args:
        source: a name in the catalogue, ``folder:PATH``, ``table:FILE``, ``text:PATH``, the path alone, or settings.
        data_dir: folder of data set files.
        screen: receives progress messages.
        settings: settings of the data: ``images={"size": (32,)}``, ``split={"seed": 1}``.

    Raises:
        UsageError: if the data set does not exist, or its files are not valid.

    >>> survey("digits")[1].examples["train"]
    1258
    """
    if not isinstance(source, DataSettings):
        source = TrainingData(data=name_of(source), **settings)
    access = access_to(data_dir, screen)
    found = source.with_absolute_paths().load(access)
    return found, survey_data_set(found, access)


def name_of(given: str | Path) -> str:
    """The data set of a path: a folder of images, a text (.txt), or a table.

    >>> name_of("digits"), name_of("/")
    ('digits', 'folder:/')
    """
    path = Path(given).expanduser()
    return f"{data_set_of(path)}:{path}" if path.exists() else str(given)


def show(found: DataSet, seen: Survey, screen: Screen) -> None:
    """Print the statistics of a data set."""
    info = found.info
    counts = ", ".join(f"{seen.examples[part]:,} {part}" for part in PARTS)
    screen.say(f"{found.name}: {sum(seen.examples.values()):,} {info.description}; {counts}")
    for note in found.notes:
        screen.say(f"  {note}")
    for channel in seen.channels[:_MOST]:
        low, high, mean, deviation = (number(channel[key]) for key in ("low", "high", "mean", "deviation"))
        screen.say(f"  {channel['name']:<12} from {low} to {high}, mean {mean}, deviation {deviation}")
    _say_rest(len(seen.channels), "columns", screen)
    if seen.text:
        _show_text(seen.text, screen)
    if seen.constant:
        screen.say(f"  the same in all training examples: {few(seen.constant)}")
    _show_classes(info.class_names, seen, screen)
    screen.say("problems:" if seen.problems else "No problems found.")
    for problem in seen.problems:
        screen.say(f"  {problem}")
    screen.say(f"fingerprint {found.fingerprint()}")


def _show_text(seen: dict[str, Any], screen: Screen) -> None:
    signs = ", ".join(f"{count:,} {part}" for part, count in seen["characters"].items())
    screen.say(f"  characters   {signs}")
    unseen = f", of which {seen['unseen']:,} do not occur in the training part" if seen["unseen"] else ""
    screen.say(f"  vocabulary   {seen['vocabulary']:,}{unseen}")
    if any(seen["unknown"].values()):
        screen.say("  unknown      " + ", ".join(f"{share:.2%} {part}" for part, share in seen["unknown"].items()))
    screen.say("  commonest    " + ", ".join(f"{token!r} {count:,}" for token, count in seen["commonest"]))
    for word, line in zip_longest(("begins",), seen["begin"], fillvalue=""):
        screen.say(f"  {word:<12} {line}")


def _show_classes(names: tuple[str, ...], seen: Survey, screen: Screen) -> None:
    if not seen.classes:
        return
    screen.say("classes:" + "".join(f"  {part}" for part in seen.classes))
    largest = max(max(seen.classes["train"]), 1)
    width = max(len(name) for name in names[:_MOST])
    for row, name in enumerate(names[:_MOST]):
        counts = [counts[row] for counts in seen.classes.values()]
        bar = "█" * round(_BAR * counts[0] / largest)
        screen.say(f"  {name:<{width}}  {'  '.join(f'{count:>7,}' for count in counts)}  {bar}")
    _say_rest(len(names), "classes", screen)


def _say_rest(count: int, what: str, screen: Screen) -> None:
    if count > _MOST:
        screen.say(f"  and {count - _MOST:,} more {what}; --json has them all")


def draw(found: DataSet, path: str | Path, augment: Augment | None = None, rows: int = 6) -> None:
    """Draw a figure of a data set: images of each class, points of two columns, or histograms of more columns.

    Args:
        found: the data set.
        path: path of the PNG file.
        augment: augmentation; if given, each image is shown unchanged and as augmented in several epochs.
        rows: images per class.
    """
    from danlu.app.report.figures.data import histograms, points, samples
    from danlu.app.report.figures.style import to_png

    part, info = found.train, found.info
    names = info.class_names or ("",)
    labels = part["label"] if "label" in part.fields else torch.zeros(len(part), dtype=torch.long)
    if augment is not None and augment.on:
        pictures = as_seen(part.take(torch.arange(min(len(part), 10))), augment, rows - 1)
        figure = samples(list(pictures), [names[int(label)] for label in labels[: len(pictures)]], info.range)
    elif info.kind == "images":
        shown = [(labels == label).nonzero().flatten()[:rows] for label in range(len(names))]
        if len(names) == 1:
            shown = [torch.arange(min(len(part), 60))]
        figure = samples([part.rows(index)["image"] for index in shown], names, info.range)
    elif info.kind == "text":
        raise UsageError(f"{found.name} is running text, of which there is no picture; leave --picture out")
    elif info.shape == (2,):
        figure = points(part["x"][:5000], labels[:5000], info.channel_names or ("0", "1"), names)
    else:
        figure = histograms(part["x"], info.channel_names or tuple(map(str, range(info.shape[0]))))
    to_png(figure, path)


def as_seen(part: Part, page: Augment, epochs: int) -> Float[Tensor, "n epochs+1 c h w"]:
    """Each image unchanged, and as augmented in the first epochs; mixing uses only these images."""
    stream = Augmented(Shuffled(part, "full"), page)
    seen = [part["image"]]
    for epoch in range(epochs):
        batch = stream.batch(epoch, slice(0, len(part)))
        seen.append(batch["image"][batch.numbers.argsort()])
    return torch.stack(seen, dim=1)
