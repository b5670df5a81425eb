"""Whether images are light on dark or dark on light, from the values at their borders."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from jaxtyping import Bool, Float
from torch import Tensor, cat

from danlu.data.base.dataset import DataInfo, DataSet, spread_over
from danlu.data.images.info import ImageInfo

MARGIN = 0.25
"""a background is dark below this fraction of the range of the values, and light above one minus it"""
NEARLY_ALL, EXAMPLES = 0.95, 1000
"""fraction of the training images that have a background, and number of training images that are looked at"""

Background = Literal["dark", "light"]


def background_is(x: Float[Tensor, "n c h w"], background: Background, info: DataInfo) -> Bool[Tensor, " n"]:
    """Whether the median value at the border of each image is dark, or light.

    >>> import torch
    >>> image = torch.zeros(1, 1, 8, 8)
    >>> image[..., 2:6, 2:6] = 1
    >>> background_is(image, "dark", ImageInfo((1, 8, 8))), background_is(1 - image, "light", ImageInfo((1, 8, 8)))
    (tensor([True]), tensor([True]))
    """
    low, high = info.range
    gray = (x.float().mean(1) - low) / (high - low)
    border = cat([gray[:, 0], gray[:, -1], gray[:, 1:-1, 0], gray[:, 1:-1, -1]], 1).median(1).values
    return border < MARGIN if background == "dark" else border > 1 - MARGIN


def with_background(data: DataSet) -> DataInfo:
    """The description of a data set, with the background that nearly all of its training images have.

    >>> from danlu.data import digits
    >>> with_background(digits()).background
    'dark'
    """
    info = data.info
    if not isinstance(info, ImageInfo) or not len(data.train):
        return info
    x = spread_over(data.train, EXAMPLES)[info.inputs]
    for background in ("dark", "light"):
        if background_is(x, background, info).float().mean() >= NEARLY_ALL:
            return replace(info, background=background)
    return info
