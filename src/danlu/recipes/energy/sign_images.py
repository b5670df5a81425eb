"""Black-and-white images with the values −1 and 1."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from danlu.data.base.dataset import DataSet, Part
from danlu.data.images.binarize import binary_part
from danlu.data.images.info import ImageInfo
from danlu.data.images.settings import Binarize
from danlu.errors import UsageError


def sign_images(
    part: Part, info: ImageInfo, side: int | None, binarize: Binarize, seed: int
) -> tuple[Float[Tensor, "n c h w"], ImageInfo]:
    """Images with values -1 and 1, and their description.

    Args:
        part: the images.
        info: their description.
        side: height and width to which images are resized, by averages of areas; None leaves them as they are.
        binarize: how gray values become black and white: threshold or static.
        seed: seed of the data.
    """
    images, low, high = part["image"], *info.range
    images = (images - low) / (high - low)
    if side is not None:
        images = functional.interpolate(images, size=(side, side), mode="area")
    bits = binary_part(Part({"image": images}), binarize, seed)["image"]
    changes: dict[str, Any] = {"shape": tuple(images.shape[1:]), "range": (-1.0, 1.0), "levels": 2}
    return 2 * bits.round() - 1, replace(info, **changes)


def sign_image_data(data: DataSet, side: int | None, binarize: Binarize, seed: int) -> DataSet:
    """A data set of images with values -1 and 1 in all parts.

    Args:
        data: gray images.
        side: as for ``sign_images``, and so are the other arguments.
        binarize: threshold or static.
        seed: seed of the data.
    """
    assert isinstance(data.info, ImageInfo)
    info, parts = data.info, dict[str, Any]()
    for name in ("train", "validation", "test"):
        part = data.part(name)
        if len(part):
            images, info = sign_images(part, data.info, side, binarize, seed)
            parts[name] = Part({**part.fields, "image": images})
    return replace(data, info=info, **parts)


def refuse_side(side: int | None, data: DataSet) -> None:
    """Check that images are resized only if there are any.

    Args:
        side: the height and width, if given.
        data: rows.

    Raises:
        UsageError: if it is given.
    """
    if side is not None:
        raise UsageError(f"side applies to images, and {data.name} has rows; leave it out", settings=("side",))
