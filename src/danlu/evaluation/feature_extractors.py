"""Feature extractors for generated examples: a classifier of the same data, Inception, or the values themselves.

The classifier is trained once and cached. The name of a score has the name of the feature extractor.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from danlu.catalogue.lookup import resolve
from danlu.catalogue.models import find_model
from danlu.data.base.dataset import DataInfo, DataSet
from danlu.data.base.placement import choose_placement
from danlu.data.kinds import find_kind
from danlu.errors import RunError, UsageError
from danlu.evaluation.feature_networks import ClassifierFeatures, FeatureNetwork, InceptionFeatures
from danlu.models.classify.inception import MIRRORS, WEIGHTS, InceptionFID
from danlu.models.saving.model_folder import load_model, save_model
from danlu.nn.memory_format import fastest_format, place
from danlu.rng.keys import seeded
from danlu.storage.access import Access
from danlu.storage.atomic import publish, temporary_folder
from danlu.storage.contents import page_digest
from danlu.storage.download import fetch, mismatch
from danlu.storage.plain_files import check_parents
from danlu.tasks.supervised import Supervised
from danlu.training.optimization.settings import OptimizerSettings
from danlu.training.runtime import Runtime
from danlu.training.trainer import Trainer

ROUNDS, BATCH = 1500, 64
BRIEF_ROUNDS = 2
"""rounds of a classifier that only shows that its features can be computed"""
SETTINGS = OptimizerSettings(lr=3e-3, schedule="one_cycle", weight_decay=0.01)
"""settings for the classifier: those of the recipe cnn, with the same length for every data set"""


Features = Literal["auto", "inception", "pixels"]
"""auto: a classifier of the same data if it has classes, else the values"""
_CACHE = "feature-extractors"  # folder of the cache
INCEPTION_BATCH = 50
"""images per batch of Inception"""


def can_train_classifier(data: DataSet) -> bool:
    """Whether a classifier can be trained on the images of a data set."""
    size, labeled = data.info.image_size, data.info.classes > 1 and "label" in data.train.fields
    return size is not None and labeled and min(size) >= 4


def feature_name(data: DataSet, feature_extractor: Features = "auto") -> str:
    """The name of the feature extractor of a data set, as in the names of scores.

    >>> from danlu.data import digits
    >>> feature_name(digits()), feature_name(digits(), "inception")
    ('digits-cnn', 'inception at 299×299')
    """
    if feature_extractor == "inception":
        return "inception at 299×299"
    if _needs_classifier(data, feature_extractor):
        return f"{_short(data.name)}-cnn"
    return plain_features(data.info).name


def plain_features(info: DataInfo) -> FeatureNetwork:
    """The feature extractor without trained weights for a kind of data: pixels or columns.

    Raises:
        UsageError: if generated examples of this kind are not scored.
    """
    target = find_kind(info.kind).features
    if not target:
        raise UsageError(f"generated examples of the kind {info.kind} have no scores; set eval_samples to 0")
    return resolve(target)(info)


def check_features(feature_extractor: Features, info: DataInfo) -> None:
    """Check that a feature extractor can be used for a data set.

    Raises:
        UsageError: if it cannot.
    """
    if feature_extractor != "auto" and info.image_size is None:
        raise UsageError(
            f"feature_extractor={feature_extractor} is for images, got data of the kind {info.kind}; leave it out"
        )
    if feature_extractor == "inception" and not info.viewable:
        raise UsageError(
            f"feature_extractor=inception is for images with 1 or 3 channels, got {info.shape[0]} channels; use pixels"
        )


def _needs_classifier(data: DataSet, feature_extractor: Features) -> bool:
    """Whether the feature extractor is a classifier."""
    return feature_extractor == "auto" and can_train_classifier(data)


def features_for(
    data: DataSet,
    runtime: Runtime,
    access: Access,
    folder: Path | None = None,
    feature_extractor: Features = "auto",
    brief: bool = False,
) -> FeatureNetwork:
    """The feature extractor for generated examples of a data set.

    A classifier is loaded from the folder of the run, else from the cache, else it is trained now, with progress
    messages, and saved in both.

    Args:
        data: the data set; only its training part is used for training.
        runtime: device and precision.
        access: the cache, and the receiver of progress messages.
        folder: folder of the run for the classifier, if the run keeps one.
        feature_extractor: kind of the feature extractor.
        brief: a classifier that is in no folder is trained for two rounds only, and not saved. Its scores have no
            meaning.

    Raises:
        RunError: if the weights of Inception are not available.
    """
    if feature_extractor == "inception":
        return place(inception(access), runtime.device)
    if not _needs_classifier(data, feature_extractor):
        return plain_features(data.info)
    if folder is not None and (network := _load(folder)) is not None:
        return _as_features(network, data, runtime)
    cached = access.cache_folder(_CACHE, create=False) / _key(data)
    network = _load(cached)
    if network is None and brief:
        return _as_features(_train(data, runtime, access, BRIEF_ROUNDS), data, runtime)
    if network is None:
        network = _train(data, runtime, access, ROUNDS)
        with suppress(OSError):  # nothing is cached if the home folder is not writable
            access.cache_folder(_CACHE)
            _save(network, cached, data)
    if folder is not None:
        _save(network, folder, data)
    return _as_features(network, data, runtime)


def is_trained(data: DataSet, access: Access, folder: Path | None = None, feature_extractor: Features = "auto") -> bool:
    """Whether the feature extractor is available without training."""
    folders = (folder, access.cache_folder(_CACHE, create=False) / _key(data))
    return not _needs_classifier(data, feature_extractor) or any(
        folder and (folder / "model.json").is_file() for folder in folders
    )


def inception(access: Access) -> InceptionFeatures:
    """Inception with its public weights, from DANLU_DATA or the cache, or downloaded into the cache.

    Raises:
        RunError: if the weights are not available.
    """
    data_folders = [access.user_folder / "inception", access.user_folder] if access.user_folder else []
    cache = access.cache_folder("inception", create=False)
    path = next((path for folder in (*data_folders, cache) if (path := folder / WEIGHTS.name).is_file()), None)
    if path is None or (path.parent == cache and mismatch(path, WEIGHTS)):
        folders = " or ".join(str(folder) for folder in (*data_folders[:1], cache))
        needs = f"the features of Inception need the public file {WEIGHTS.name} ({WEIGHTS.size:,} bytes) in {folders}"
        if not access.download:
            raise RunError(f"{needs}; download it from {MIRRORS[0]}")
        try:
            with suppress(OSError):  # fetch reports it
                access.cache_folder("inception")
            path = fetch(WEIGHTS, MIRRORS, cache, access.progress)
        except RunError as error:
            reason = next((line.strip() for line in str(error).splitlines()[1:]), str(error))
            raise RunError(f"{needs}. The download failed: {reason}. Download it yourself and put it there") from error
    return InceptionFeatures(InceptionFID.from_pretrained(path))


def _as_features(network: nn.Module, data: DataSet, runtime: Runtime) -> ClassifierFeatures:
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    return ClassifierFeatures(place(network, runtime.device).eval(), feature_name(data))


def _train(data: DataSet, runtime: Runtime, access: Access, rounds: int) -> nn.Module:
    """Train a classifier on the training part; the state of torch's random generators is restored."""
    ordered = fastest_format(runtime.device) is torch.channels_last
    own = Runtime(device=runtime.device, reason=runtime.reason, channels_last=ordered)
    with seeded("judge", device=own.device):
        network = find_model("CNN")(shape=data.info.shape, classes=data.info.classes, dropout=0.3)
        stream, _ = choose_placement(data.train, min(BATCH, len(data.train)), 0, own.device, own.dtype)
        for report in Trainer(Supervised(network), SETTINGS, stream, rounds, runtime=own):
            access.progress(f"training the feature extractor {feature_name(data)} (cached)", report.round, rounds)
    return network.eval()


def _key(data: DataSet) -> str:
    page = {"data": data.fingerprint(), "rounds": ROUNDS, "batch": BATCH, "settings": SETTINGS.model_dump(mode="json")}
    return page_digest(page)[:32]


def _load(folder: Path) -> nn.Module | None:
    """The classifier in a folder; None if it is missing or damaged."""
    if not (folder / "model.json").is_file():
        return None
    try:
        return load_model(folder)
    except (RunError, UsageError, OSError):
        return None


def _save(network: nn.Module, folder: Path, data: DataSet) -> None:
    """Write a classifier atomically."""
    check_parents(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder(folder.parent, folder.name) as temporary:
        save_model(network, temporary, data.info, {"role": "feature extractor of generated examples"})
        publish(temporary, folder)


def _short(name: str) -> str:
    """The name of a data set for names of scores: of a path, the last component.

    >>> _short("folder:/pictures/cats"), _short("mnist")
    ('cats', 'mnist')
    """
    rest = name.partition(":")[2]
    return Path(rest).name if rest else name
