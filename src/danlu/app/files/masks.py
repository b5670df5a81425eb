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


class Hole:
    """The missing region of images.

    Args:
        mask: a name in NAMES, random:SHARE, or an image file that is white (at least half-way from black) where pixels
            are filled in, as in image editors; transparent counts as white.
        info: the inputs of the model.
        seed: random seed of random masks.

    Raises:
        UsageError: if there is no such name or file, or the share is not greater than 0 and at most 1.
        RunError: if the file is not an image.

    >>> from danlu.data.images.info import ImageInfo
    >>> hole = Hole("right", ImageInfo((1, 2, 4)))
    >>> hole.known()[0]
    tensor([[ True,  True, False, False],
            [ True,  True, False, False]])
    """

    def __init__(self, mask: str | Path, info: DataInfo, seed: int = 0):
        self._mask, self._info, self._seed, self._share = str(mask), info, seed, 0.5
        word, _, share = self._mask.partition(":")
        if word == "random":
            self._share = _share(share or "0.5", self._mask)
        self._file = None if word == "random" or self._mask in NAMES else _file(self._mask)

    def known(self, picture: str | Path = "", number: int = 0) -> Bool[Tensor, "1 h w"]:
        """True for known pixels of an image, in the size of the model's inputs.

        Args:
            picture: the image file.
            number: index of the image, so that images get different random masks.

        Raises:
            UsageError: if the mask image has neither the size of the image nor that of the model's inputs, or no pixel
                is missing.
        """
        _, height, width = self._info.shape
        known = torch.ones(1, height, width, dtype=torch.bool)
        match self._mask.partition(":")[0] if self._file is None else "":
            case "":
                known = self._of_file(Path(picture))
            case "random":
                uniform = torch.rand(known.shape, generator=generator("mask", self._seed, number))
                known = uniform >= self._share
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
            black = ": white is what is filled in, and nothing in it is white" if self._file is not None else ""
            raise UsageError(f"the mask {self._mask} leaves nothing to fill in{black}")
        return known

    def _of_file(self, picture: Path) -> Bool[Tensor, "1 h w"]:
        """The mask of a file, fitted in the same way as the image.

        It is inverted for this, because ``decode`` pads with white, and the padding must not be filled in.
        """
        assert self._file is not None
        _, height, width = self._info.shape
        size = tuple(self._file.shape)
        if size == (height, width):
            return self._file[None]
        if size != (of_picture := _size(picture)):
            raise UsageError(
                f"the mask {self._mask} has {_pixels(size)}, and {picture} has {_pixels(of_picture)} (the model "
                f"{_pixels((height, width))}); make the mask as large as the picture, or as the model has it"
            )
        with TemporaryDirectory() as folder:
            info = self._info
            assert isinstance(info, ImageInfo), "a mask is for images"
            inverted = Path(folder) / "known.png"
            Image.fromarray((self._file * 255).byte().numpy()).save(inverted)
            return torch.from_numpy(decode(inverted, (1, height, width), info.fit)) >= 128


def _file(mask: str) -> Bool[Tensor, "h w"]:
    """True where a mask image is black."""
    path = Path(mask)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "is neither a file nor a part that has a name"
        raise UsageError(f"the mask {mask} {what}; {nearest(mask.partition(':')[0], [*NAMES, 'FILE.png'])}")
    height, width = _size(path)
    try:
        return torch.from_numpy(decode(path, (1, height, width)))[0] < 128
    except Unreadable as error:
        raise _no_picture(path, error) from error


def _size(path: Path) -> tuple[int, int]:
    try:
        return header(path)[:2]
    except Unreadable as error:
        raise _no_picture(path, error) from error


def _no_picture(path: Path, error: Unreadable) -> RunError:
    return RunError(f"{path} cannot be read as an image: {error}")


def _pixels(size: tuple[int, ...]) -> str:
    return f"{size[1]} × {size[0]} pixels"


def _share(word: str, mask: str) -> float:
    try:
        share = float(word)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise UsageError(f"the mask {mask}: after random comes the share that is missing, above 0 and at most 1")
    return share
