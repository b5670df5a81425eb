"""The 8×8 handwritten digits of scikit-learn, which need no download."""

from __future__ import annotations

import gzip
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from danlu.data.base.dataset import DataSet, Part
from danlu.data.base.page import no_argument
from danlu.data.base.split import check_parts, refuse_seed_without_split, stratified_split
from danlu.data.base.split_settings import Split, part_fractions
from danlu.data.images.info import ImageInfo
from danlu.storage.access import Access


def digits(argument: str = "", split: Split = Split(), access: Access | None = None) -> DataSet:
    """1,797 gray images of handwritten digits, 8×8, with ink 1 on background 0: 70% train, 10% validation, 20% test.

    Alpaydin and Kaynak, "Optical recognition of handwritten digits", UCI repository, 1998 (its test part, as in
    scikit-learn). The data set has no official split; this one is stratified and depends only on its seed.

    Args:
        argument: must be empty.
        split: fractions and seed of the parts.
        access: not needed.

    >>> data = digits()
    >>> len(data.train), len(data.validation), len(data.test), data.info.shape
    (1258, 180, 359, (1, 8, 8))
    """
    no_argument("digits", argument)
    refuse_seed_without_split(split, (split.validation, split.test))
    images, labels = _read()
    all_digits = Part({"image": torch.from_numpy(images / 16).float().unsqueeze(1), "label": torch.from_numpy(labels)})
    fractions = part_fractions(split)
    train, validation, test = stratified_split(all_digits["label"], fractions, split.seed)
    check_parts("digits", map(len, (train, validation, test)), fractions)
    info = ImageInfo(shape=(1, 8, 8), classes=10, class_names=tuple("0123456789"), levels=17)
    return DataSet("digits", info, all_digits.take(train), all_digits.take(validation), all_digits.take(test))


def _read() -> tuple[np.ndarray, np.ndarray]:
    """Images of shape (1797, 8, 8) with values 0 to 16, and labels.

    The file is read directly, because importing scikit-learn takes seconds.
    """
    package = find_spec("sklearn")
    folders = (package.submodule_search_locations if package is not None else None) or ()
    for folder in folders:
        path = Path(folder, "datasets", "data", "digits.csv.gz")
        if path.is_file():
            with gzip.open(path, "rt", encoding="ascii") as lines:
                table = np.loadtxt(lines, delimiter=",")
            return table[:, :64].reshape(-1, 8, 8), table[:, 64].astype(np.int64)
    from sklearn.datasets import load_digits  # finds the file in other versions of scikit-learn

    raw: Any = load_digits()
    return raw.images, raw.target.astype(np.int64)
