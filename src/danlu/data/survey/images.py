"""Statistics of a data set of images."""

from __future__ import annotations

from torch import Tensor

from danlu.data.base.dataset import DataSet
from danlu.data.survey.arrays import survey_arrays
from danlu.data.survey.result import Survey


def survey_images(data: DataSet) -> Survey:
    """Statistics of each channel and class, repeated images, and the number of constant pixels."""
    return survey_arrays(data, _constant_pixels)


def _constant_pixels(data: DataSet, constant: Tensor) -> list[str]:
    count = int(constant.all(0).sum())
    return [f"{count} of {constant.shape[1]} pixels"] if count else []
