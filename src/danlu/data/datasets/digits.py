"""The 8×8 handwritten digits that come with scikit-learn, so that danlu has real data without a network."""

from __future__ import annotations

import gzip
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from danlu.data.base.dataset import DataSet, Part
from danlu.data.base.page import no_argument
from danlu.data.base.split import Split, check_parts, part_fractions, stratified_split
from danlu.data.images.info import ImageInfo
from danlu.storage.access import Access


def digits(argument: str = "", split: Split = Split(), access: Access | None = None) -> DataSet:
    """1797 gray images of handwritten digits, 8×8, ink 1 on paper 0: 70 % train, 10 % validation, 20 % test.

    Alpaydin and Kaynak, "Optical recognition of handwritten digits", UCI repository, 1998 (its test part, as in
    scikit-learn). The set has no official split; this one is stratified and depends on its seed alone.

    Args:
        argument: must be empty.
        split: shares and seed of the parts.
        access: not needed.

    >>> data = digits()
    >>> len(data.train), len(data.validation), len(data.test), data.info.shape
    (1258, 180, 359, (1, 8, 8))
    """
    no_argument("digits", argument)
    images, labels = _read()
    everything = Part({"image": torch.from_numpy(images / 16).float().unsqueeze(1), "label": torch.from_numpy(labels)})
    shares = part_fractions(split)
    train, validation, test = stratified_split(everything["label"], shares, split.seed)
    check_parts("digits", map(len, (train, validation, test)), shares)
    info = ImageInfo(shape=(1, 8, 8), classes=10, class_names=tuple("0123456789"))
    return DataSet("digits", info, everything.take(train), everything.take(validation), everything.take(test))


def _read() -> tuple[np.ndarray, np.ndarray]:
    """Ink from 0 to 16, (1797, 8, 8), and labels, from the file in scikit-learn, whose import takes seconds."""
    package = find_spec("sklearn")
    places = (package.submodule_search_locations if package is not None else None) or ()
    for place in places:
        path = Path(place, "datasets", "data", "digits.csv.gz")
        if path.is_file():
            with gzip.open(path, "rt", encoding="ascii") as lines:
                table = np.loadtxt(lines, delimiter=",")
            return table[:, :64].reshape(-1, 8, 8), table[:, 64].astype(np.int64)
    from sklearn.datasets import load_digits  # which knows where it lies in other versions

    raw: Any = load_digits()
    return raw.images, raw.target.astype(np.int64)
