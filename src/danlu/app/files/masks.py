"""Masks for inpainting: a region with a name, or the white pixels of a mask image."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from jaxtyping import Bool
from PIL import Image
from torch import Tensor

from danlu.data.base.dataset import DataInfo
from danlu.data.images.decode import Unreadable, decode, header
from danlu.data.images.info import ImageInfo
from danlu.errors import RunError, UsageError, nearest
from danlu.rng.keys import generator

NAMES = ("half", "left", "right", "top", "bottom", "block", "random")
"""missing regions; half is the lower half, block the middle half of both sides"""


class Mask:
    """The missing region of images.

    Args:
        mask: a name in NAMES, random:FRACTION, or an image file that is white (gray value at least 128) where pixels
            are filled in, as in image editors; transparent counts as white.
        info: the inputs of the model.
        seed: random seed of random masks.

    Raises:
        UsageError: if there is no such name or file, or the fraction is not greater than 0 and at most 1.
        RunError: if the file is not an image.

    >>> from danlu.data.images.info import ImageInfo
    >>> hole = Mask("right", ImageInfo((1, 2, 4)))
    >>> hole.known()[0]
    tensor([[ True,  True, False, False],
            [ True,  True, False, False]])
    """

    def __init__(self, mask: str | Path, info: DataInfo, seed: int = 0):
        self._mask, self._info, self._seed, self._fraction = str(mask), info, seed, 0.5
        word, colon, fraction = self._mask.partition(":")
        if word == "random":
            self._fraction = _fraction(fraction if colon else "0.5", self._mask)
        self._file = None if word == "random" or self._mask in NAMES else _file(self._mask)

    def known(self, image: str | Path = "", number: int = 0) -> Bool[Tensor, "1 h w"]:
        """True for known pixels of an image, in the size of the model's inputs.

        Args:
            image: the image file.
            number: index of the image, so that images get different random masks.

        Raises:
            UsageError: if the mask image has neither the size of the image nor that of the model's inputs, or no pixel
                is missing.
        """
        _, height, width = self._info.shape
        known = torch.ones(1, height, width, dtype=torch.bool)
        match self._mask.partition(":")[0] if self._file is None else "":
            case "":
                known = self._of_file(Path(image))
            case "random":
                uniform = torch.rand(known.shape, generator=generator("mask", self._seed, number))
                known = uniform >= self._fraction
            case "left":
                known[:, :, : width // 2] = False
            case "right":
                known[:, :, width // 2 :] = False
            case "top":
                known[:, : height // 2] = False
            case "block":
                known[:, height // 4 : height - height // 4, width // 4 : width - width // 4] = False
            case _:
                known[:, height // 2 :] = False
        if known.all():
            white = ": it has no white pixels, which mark what is filled in" if self._file is not None else ""
            raise UsageError(f"mask {self._mask}: no pixel is missing{white}", settings=("mask",))
        return known

    def _of_file(self, image: Path) -> Bool[Tensor, "1 h w"]:
        """The mask of a file, fitted in the same way as the image.

        It is inverted for this, because ``decode`` pads with white, and the padding must not be filled in.
        """
        assert self._file is not None
        _, height, width = self._info.shape
        size = tuple(self._file.shape)
        if size == (height, width):
            return self._file[None]
        if size != (image_size := _size(image)):
            raise UsageError(
                f"mask {self._mask}: expected {_pixels(image_size)} (the size of {image}) or "
                f"{_pixels((height, width))} (the input size of the model), got {_pixels(size)}",
                settings=("mask",),
            )
        with TemporaryDirectory() as folder:
            info = self._info
            assert isinstance(info, ImageInfo), "masks apply to images only"
            inverted = Path(folder) / "known.png"
            Image.fromarray((self._file * 255).byte().numpy()).save(inverted)
            return torch.from_numpy(decode(inverted, (1, height, width), info.fit)) >= 128


def _file(mask: str) -> Bool[Tensor, "h w"]:
    """True where a mask image is black."""
    path = Path(mask)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "is not a file or the name of a region"
        hint = nearest(mask.partition(":")[0], [*NAMES, "FILE.png"])
        raise UsageError(f"mask {mask} {what}; {hint}", settings=("mask",))
    height, width = _size(path)
    try:
        return torch.from_numpy(decode(path, (1, height, width)))[0] < 128
    except Unreadable as error:
        raise _unreadable(path, error) from error


def _size(path: Path) -> tuple[int, int]:
    try:
        return header(path)[:2]
    except Unreadable as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Unreadable) -> RunError:
    return RunError(f"{path}: not a readable image: {error}")


def _pixels(size: tuple[int, ...]) -> str:
    return f"{size[1]} × {size[0]} pixels"


def _fraction(word: str, mask: str) -> float:
    try:
        fraction = float(word)
    except ValueError:
        fraction = 0.0
    if not 0 < fraction <= 1:
        raise UsageError(
            f"mask {mask}: the fraction of missing pixels must be above 0 and at most 1, for example random:0.3",
            settings=("mask",),
        )
    return fraction
