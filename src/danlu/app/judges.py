"""Who looks at generated examples: a classifier of the same data, trained once and kept, or the values as they are."""

from __future__ import annotations

import hashlib
import json
import shutil
from contextlib import suppress
from pathlib import Path

import torch
from torch import nn

from danlu.catalogue import find_model
from danlu.data.dataset import DataSet
from danlu.data.residence import settle
from danlu.data.source import Access
from danlu.errors import RunError, UsageError
from danlu.metrics.features import ClassifierFeatures, Columns, FeatureNetwork
from danlu.metrics.frechet import Origin
from danlu.models.folder import load_model, save_model
from danlu.sampling.randomness import key
from danlu.tasks.supervised import Supervised
from danlu.training.descent import Descent
from danlu.training.runtime import Runtime
from danlu.training.trainer import Trainer

ROUNDS, BATCH = 1500, 64
LESSON = Descent(lr=3e-3, schedule="one_cycle", weight_decay=0.01)
"""how a classifier learns that is to judge: the recipe cnn, of one length for every data set"""


class Pixels(nn.Module):
    """The values of pictures as their features, where there are no labels from which a classifier could learn."""

    origin = Origin("pixels")

    @property
    def name(self) -> str:
        """How scores call it."""
        return self.origin.name

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """The pictures themselves."""
        return x.flatten(1)


def has_classifier(data: DataSet) -> bool:
    """Whether a classifier can learn to judge pictures of a data set."""
    info = data.info
    return info.kind == "images" and info.classes > 1 and "label" in data.train.fields and min(info.shape[1:]) >= 4


def feature_name(data: DataSet) -> str:
    """How scores call what looks at generated examples of a data set.

    >>> from danlu.data.digits import digits
    >>> feature_name(digits())
    'digits-cnn'
    """
    if data.info.kind != "images":
        return Columns().name
    return f"{_short(data.name)}-cnn" if has_classifier(data) else Pixels().name


def features_for(data: DataSet, runtime: Runtime, access: Access, folder: Path | None = None) -> FeatureNetwork:
    """What looks at generated examples of a data set.

    The classifier is that of the run if its folder holds one, else that of the cache, else it is trained now, which is
    told; and kept in both.

    Args:
        data: the data set; only its training part is learned from.
        runtime: where to compute.
        access: where the cache is, and who is told of progress.
        folder: of the run's own judge, if it is to keep one.
    """
    if not has_classifier(data):
        return Columns() if data.info.kind != "images" else Pixels()
    if folder is not None and (network := _kept(folder)) is not None:
        return _judge(network, data, runtime)
    shelf = access.cache / "judges" / _key(data)
    network = _kept(shelf)
    if network is None:
        network = _taught(data, runtime, access)
        with suppress(OSError):  # a home that cannot be written keeps nothing
            _keep(network, shelf, data)
    if folder is not None:
        _keep(network, folder, data)
    return _judge(network, data, runtime)


def is_taught(data: DataSet, access: Access, folder: Path | None = None) -> bool:
    """Whether nothing has to be learned before generated examples can be looked at."""
    places = (folder, access.cache / "judges" / _key(data))
    return not has_classifier(data) or any(place and (place / "model.json").is_file() for place in places)


def _judge(network: nn.Module, data: DataSet, runtime: Runtime) -> ClassifierFeatures:
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    return ClassifierFeatures(network.to(runtime.device).eval(), feature_name(data))


def _taught(data: DataSet, runtime: Runtime, access: Access) -> nn.Module:
    """A classifier that has learned the training part; torch's own randomness is left where it was."""
    own = Runtime(device=runtime.device, reason=runtime.reason)
    with torch.random.fork_rng([own.device] if own.device.type == "cuda" else []):
        torch.manual_seed(key("judge"))
        network = find_model("CNN")(shape=data.info.shape, classes=data.info.classes, dropout=0.3)
        stream, _ = settle(data.train, min(BATCH, len(data.train)), 0, own.device, own.dtype)
        for report in Trainer(Supervised(network), LESSON, stream, ROUNDS, runtime=own):
            access.tell(f"{feature_name(data)} learns to judge, once", report.round, ROUNDS)
    return network.eval()


def _key(data: DataSet) -> str:
    page = {"data": data.fingerprint(), "rounds": ROUNDS, "batch": BATCH, "lesson": LESSON.model_dump(mode="json")}
    return hashlib.sha256(json.dumps(page, sort_keys=True).encode()).hexdigest()[:32]


def _kept(folder: Path) -> nn.Module | None:
    """The classifier in a folder; None if there is none or it is damaged."""
    if not (folder / "model.json").is_file():
        return None
    try:
        return load_model(folder)
    except (RunError, UsageError, OSError):
        return None


def _keep(network: nn.Module, folder: Path, data: DataSet) -> None:
    """Write a classifier, whole or not at all."""
    making = folder.with_name(f"{folder.name}.making")
    shutil.rmtree(making, ignore_errors=True)
    save_model(network, making, data.info, {"role": "judges generated examples"})
    shutil.rmtree(folder, ignore_errors=True)
    making.rename(folder)


def _short(name: str) -> str:
    """A data set's name as a part of a score's: of a path the last step.

    >>> _short("folder:/pictures/cats"), _short("mnist")
    ('cats', 'mnist')
    """
    kind, _, rest = name.partition(":")
    return Path(rest).name if rest and kind == "folder" else kind
