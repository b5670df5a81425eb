"""Settings of images: how files are read, and how training images are transformed."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from danlu.data.base.effects import Needs
from danlu.data.base.page import Fraction, Page

NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Flip = Literal["none", "horizontal", "vertical", "both", "alternating"]
PadMode = Literal["zeros", "reflect"]
Binarize = Literal["none", "threshold", "static", "dynamic"]


class Images(Page):
    """How image files are converted to examples of one shape."""

    size: tuple[int, ...] | None = None
    """height and width, or one number for both; if not given, that of all files, or a square of at most 64"""
    fit: Literal["crop", "pad", "stretch"] = "crop"
    """how images of another shape are treated: cropped at the center, padded with white, or stretched"""
    color: Literal["auto", "gray", "rgb"] = "auto"
    """gray or rgb; auto: gray if all files are gray"""
    unreadable: Literal["refuse", "skip"] = "refuse"
    """refuse: stop with an error if a file cannot be read; skip: leave it out and count it"""
    largest: Annotated[int, Field(ge=1)] = 100_000_000
    """maximum number of pixels of an image file"""

    numbers: str | None = None
    """CSV file with the path of each image and the number to predict for it, for regression"""

    @model_validator(mode="after")
    def _size_is_valid(self) -> Images:
        if self.size is not None and (len(self.size) not in (1, 2) or min(self.size) < 1):
            raise ValueError(f"size must be one or two numbers (height and width) of at least 1, got {self.size}")
        return self


class Augment(Page):
    """Random transformations of the training images; all are off by default.

    An image is flipped, rotated and scaled about its center, translated, partly erased, perturbed by noise, and mixed
    with another image, in this order. Erasing is the cutout of DeVries and Taylor, "Improved regularization of
    convolutional neural networks with cutout", 2017, except that the rectangle has the proportions of the image and is
    inside of it. Alternating flips are from Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU", 2024.

    >>> Augment().on, Augment(flip="horizontal", crop=4).on
    (False, True)
    """

    needs: ClassVar[tuple[Needs, ...]] = (Needs("pad_mode", ("crop", "rotate", "translate", "scale")),)

    flip: Flip = "none"
    """flip images with probability 0.5; alternating: flip each image horizontally in every other epoch"""
    rotate: Annotated[float, Field(ge=0, le=180)] = 0.0
    """maximum rotation in both directions, in degrees"""
    scale: tuple[float, float] = (1.0, 1.0)
    """smallest and largest scale; above 1 enlarges"""
    translate: Fraction = 0.0
    """maximum shift in each direction, as a fraction of the image side"""
    crop: Annotated[int, Field(ge=0)] = 0
    """pad each side by this many pixels, then crop randomly to the original size"""
    pad_mode: PadMode = "zeros"
    """padding of the border: zeros, or the mirrored image"""
    erase: Fraction = 0.0
    """area fraction of a random rectangle that is set to 0"""
    noise: NonNegative = 0.0
    """standard deviation of normal noise on values from 0 to 1"""
    mixup: NonNegative = 0.0
    """mixup: parameter alpha of the Beta distribution of the mixing weight"""
    cutmix: NonNegative = 0.0
    """CutMix: parameter alpha of the Beta distribution of the remaining area fraction"""

    @model_validator(mode="after")
    def _values_are_consistent(self) -> Augment:
        low, high = self.scale
        if not 0 < low <= high < math.inf:
            raise ValueError(f"scale must be two numbers, 0 < smallest <= largest, got {low:g} {high:g}")
        if self.mixup and self.cutmix:
            raise ValueError("mixup and cutmix cannot be combined; set one of them to 0")
        return self

    @property
    def on(self) -> bool:
        """Whether any transformation is on."""
        return self != Augment(pad_mode=self.pad_mode)

    @property
    def mixes(self) -> bool:
        """Whether two images and their labels are mixed."""
        return bool(self.mixup or self.cutmix)

    @property
    def warps(self) -> bool:
        """Whether pixels are interpolated."""
        return bool(self.rotate or self.translate) or self.scale != (1.0, 1.0)
