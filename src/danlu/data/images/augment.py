"""Changing training pictures a little each time they are seen, on the device where they are.

What happens to a picture is a function of (seed, epoch, number of the example) alone. So it is the same in whatever
batch, micro-batch or process the example is, and can be replayed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field, model_validator
from torch import Tensor

from danlu.data.base.batch_stream import Batch, PartStream
from danlu.data.base.dataset import Part
from danlu.data.base.page import Fraction, Page
from danlu.data.images.warp import PadMode, move, warp
from danlu.errors import UsageError
from danlu.rng.counter_based import betas, bits, normals, uniforms
from danlu.rng.keys import key

NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Flip = Literal["none", "horizontal", "vertical", "both", "alternating"]


class Augment(Page):
    """Random changes of the training images; all are off by default.

    A picture is mirrored, turned and zoomed about its middle, shifted, erased in part, made noisy, mixed with another,
    in this order. Erasing is that of DeVries and Taylor, "Improved regularization of convolutional neural networks with
    cutout", 2017, but that the rectangle has the proportions of the picture and lies within it; alternating flips are
    from Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU", 2024.

    >>> Augment().on, Augment(flip="horizontal", crop=4).on
    (False, True)
    """

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
    def _values_go_together(self) -> Augment:
        low, high = self.scale
        if not 0 < low <= high < math.inf:
            raise ValueError(f"scale {low:g} {high:g}: the smallest zoom comes first, and is greater than 0")
        if self.mixup and self.cutmix:
            raise ValueError("mixup and cutmix both mix two pictures; give one of them")
        return self

    @property
    def on(self) -> bool:
        """Whether anything is changed."""
        return self != Augment(pad_mode=self.pad_mode)

    @property
    def mixes(self) -> bool:
        """Whether two pictures are mixed, and so are their labels."""
        return bool(self.mixup or self.cutmix)

    @property
    def warps(self) -> bool:
        """Whether pixels are interpolated."""
        return bool(self.rotate or self.translate) or self.scale != (1.0, 1.0)


def augment(
    images: Float[Tensor, "n c h w"], numbers: Int[Tensor, "n"], epochs: Int[Tensor, "n"], seed: int, page: Augment
) -> Float[Tensor, "n c h w"]:
    """Change each picture in its own way; all but mixing, which takes a second picture.

    Mirrored, turned, zoomed and shifted pictures are interpolated once (bilinear); those that are only mirrored and
    cropped not at all. A crop out of a picture with a border is a shift by whole pixels.

    Args:
        images: the pictures.
        numbers: of the examples in their part.
        epochs: in which each example is seen.
        seed: of every random number.
        page: what to do.

    >>> images, numbers, epochs = torch.rand(4, 1, 8, 8), torch.tensor([3, 1, 4, 5]), torch.zeros(4, dtype=torch.long)
    >>> page = Augment(crop=2, flip="horizontal")
    >>> whole = augment(images, numbers, epochs, 0, page)
    >>> torch.equal(augment(images[2:3], numbers[2:3], epochs[2:3], 0, page), whole[2:3])
    True
    """
    drawn = _draw(images, numbers, epochs, seed, page)
    if page.warps:
        images = warp(images, drawn.mirror, drawn.turn, drawn.zoom, drawn.shift + drawn.crop, page.pad_mode)
    elif page.crop or page.flip != "none":
        images = move(images, drawn.mirror < 0, drawn.crop.long(), page.pad_mode)
    if page.erase:
        images = images.masked_fill(_rectangle(images, drawn.first, drawn.first + drawn.erased), 0)
    return _noisy(images, _places(numbers, epochs), seed, page.noise) if page.noise else images


def mix(
    images: Float[Tensor, "n c h w"],
    others: Float[Tensor, "n c h w"],
    numbers: Int[Tensor, "n"],
    epochs: Int[Tensor, "n"],
    seed: int,
    page: Augment,
) -> tuple[Float[Tensor, "n c h w"], Float[Tensor, "n"]]:
    r"""Mix each picture with another, and say what share of it is its own.

    With mixup every pixel is :math:`\lambda x + (1 - \lambda) x'` (Zhang et al., "mixup: beyond empirical risk
    minimization", 2018). With cutmix a rectangle shows the other picture, of sides :math:`\sqrt{1 - \lambda}` about a
    random middle, as far as it is inside (Yun et al., "CutMix", 2019). λ is from Beta(α, α). The loss is the share
    times the loss of the own label, plus the rest times the loss of the other's.

    Args:
        images: the pictures.
        others: what each is mixed with.
        numbers: of the examples in their part.
        epochs: in which each example is seen.
        seed: of every random number.
        page: with mixup or cutmix.

    Returns:
        The pictures, and the share of each that is its own.

    >>> ink, paper, numbers, epochs = torch.ones(3, 1, 8, 8), torch.zeros(3, 1, 8, 8), torch.arange(3), torch.ones(3)
    >>> mixed, share = mix(ink, paper, numbers, epochs.long(), 0, Augment(cutmix=1.0))
    >>> torch.allclose(mixed.mean((1, 2, 3)), share)
    True
    """
    places = _places(numbers, epochs)
    share = betas(page.mixup or page.cutmix, key("augment", seed, "share"), places, images.dtype)
    if page.mixup:
        return torch.lerp(others, images, share[:, None, None, None]), share
    sides = _across_and_down(images.shape[2:], images.dtype, images.device)
    middle = (uniforms(_seeds(seed, "middle", 2, images.device), places[:, None], images.dtype) * sides).floor_()
    cut = ((1 - share).sqrt()[:, None] * sides).floor_()
    first = middle - cut / 2
    inside = _rectangle(images, first, first + cut)
    return torch.where(inside, others, images), 1 - inside.to(images.dtype).mean((1, 2, 3))


def partners(numbers: Int[Tensor, "n"], epochs: Int[Tensor, "n"], seed: int, examples: int) -> Int[Tensor, "n"]:
    """With which example of a part each is mixed: any of them, at random.

    Args:
        numbers: of the examples in their part.
        epochs: in which each example is seen.
        seed: of every random number.
        examples: of the part.
    """
    return bits(key("augment", seed, "partner"), _places(numbers, epochs)).remainder_(examples)


class Augmented:
    """The batches of another stream with their pictures changed, and mixed where that is asked for.

    Mixed batches have two more fields: ``other_label`` (n,), and ``share`` (n,), the weight of the own label.

    Args:
        stream: batches with a field ``image``, which lie in their part as ``Shuffled`` has them.
        page: what to do.
        seed: of every random number.

    Raises:
        UsageError: if the examples are no pictures, or the pictures too small for what is asked, or have no labels
            that could be mixed.

    >>> from danlu.data import Shuffled
    >>> part = Part({"image": torch.rand(6, 1, 8, 8), "label": torch.arange(6)})
    >>> stream = Augmented(Shuffled(part, 4), Augment(mixup=0.2), seed=0)
    >>> list(stream.batch(0, slice(0, 4)).fields)
    ['image', 'label', 'other_label', 'share']
    """

    def __init__(self, stream: PartStream, page: Augment, seed: int = 0):
        self.stream, self.page, self.seed = stream, page, seed
        self.part, self.size, self.epoch_rounds = stream.part, stream.size, stream.epoch_rounds
        _check(self.part.fields, page)

    def batch(self, position: int, rows: slice) -> Batch:
        """These rows of the batch at this position."""
        batch = self.stream.batch(position, rows)
        start = position * self.size
        entries = torch.arange(start + rows.start, start + rows.stop, device=batch.numbers.device)
        epochs = entries.div_(len(self.part), rounding_mode="floor")
        change = self._mixed if self.page.mixes else self._changed
        return Batch({**batch.fields, **change(batch, epochs)}, rows, self.size, batch.numbers)

    def _changed(self, batch: Batch, epochs: Int[Tensor, "n"]) -> dict[str, Tensor]:
        return {"image": augment(batch["image"], batch.numbers, epochs, self.seed, self.page)}

    def _mixed(self, batch: Batch, epochs: Int[Tensor, "n"]) -> dict[str, Tensor]:
        """Both pictures are changed, each as it would be alone, and then mixed."""
        numbers, device = batch.numbers, batch["image"].device
        other_numbers = partners(numbers, epochs, self.seed, len(self.part))
        wanted = Part({name: self.part.fields[name] for name in ("image", "label")}, self.part.dtype)
        others = {name: v.to(device) for name, v in wanted.rows(other_numbers.to(self.part.device)).items()}
        both = torch.cat([batch["image"], others["image"]])
        changed = augment(both, torch.cat([numbers, other_numbers]), epochs.repeat(2), self.seed, self.page)
        own, other = changed.chunk(2)
        image, share = mix(own, other, numbers, epochs, self.seed, self.page)
        return {"image": image, "other_label": others["label"], "share": share}


def _check(fields: Mapping[str, Tensor], page: Augment) -> None:
    """Augmentation has what it needs."""
    if "image" not in fields or fields["image"].dim() != 4:
        raise UsageError(f"augmentation is for images, and the examples have {', '.join(fields)}; leave augment out")
    if page.mixes and "label" not in fields:
        raise UsageError("mixup and cutmix mix labels too, and these examples have none; leave both at 0")
    height, width = fields["image"].shape[2:]
    if page.crop >= min(height, width):
        raise UsageError(
            f"augment.crop={page.crop}: the border must be narrower than the pictures, which are {height}×{width}"
        )


class _Drawn(NamedTuple):
    """What happens to each picture; pairs are (across, down)."""

    mirror: Float[Tensor, "n 2"]
    """below 0 where left and right, or top and bottom, change places"""
    turn: Float[Tensor, "n 1"]
    zoom: Float[Tensor, "n 1"]
    shift: Float[Tensor, "n 2"]
    crop: Float[Tensor, "n 2"]
    first: Float[Tensor, "n 2"]
    """first pixel of the rectangle that is erased"""
    erased: Float[Tensor, "2"]
    """its sides"""


def _draw(
    images: Float[Tensor, "n c h w"], numbers: Int[Tensor, "n"], epochs: Int[Tensor, "n"], seed: int, page: Augment
) -> _Drawn:
    """All numbers at once: each is uniform between two bounds, which are equal for what is off."""
    shape, dtype, device = images.shape[2:], images.dtype, images.device
    low, span, erased = _bounds(page, shape, dtype, device)  # type: ignore[arg-type]  # a frozen page has a hash
    drawn = uniforms(_seeds(seed, "move", len(low), device), _places(numbers, epochs)[:, None], dtype)
    mirror, turn, zoom, shift, crop, first = torch.addcmul(low, span, drawn).split_with_sizes([2, 1, 1, 2, 2, 2], 1)
    if page.flip == "alternating":
        mirror[:, 0] = 0.5 - ((bits(key("augment", seed, "first"), numbers) + epochs) & 1)
    return _Drawn(mirror, turn, zoom, shift, page.crop - crop.floor(), first.floor(), erased)


@lru_cache(maxsize=16)
def _bounds(page: Augment, shape: torch.Size, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, ...]:
    """Smallest value and span of each number that is drawn for a picture, and the sides of what is erased.

    Whole numbers are rounded down later, so their upper bound is never reached.
    """
    turn, (height, width) = math.radians(page.rotate), shape
    gone = [max(1, round(side * page.erase**0.5)) for side in (width, height)]
    bounds = [
        *((-1, 1) if page.flip in (way, "both") else (1, 1) for way in ("horizontal", "vertical")),
        (-turn, turn),
        page.scale,
        *((-page.translate * side, page.translate * side) for side in (width, height)),
        *((0, 2 * page.crop + 1),) * 2,
        *((0, side - erased + 1) for side, erased in zip((width, height), gone, strict=True)),
    ]
    low, high = torch.tensor(bounds, dtype=torch.float64).T
    return low.to(device, dtype), (high - low).to(device, dtype), torch.tensor(gone, dtype=dtype, device=device)


@lru_cache(maxsize=16)
def _seeds(seed: int, word: str, count: int, device: torch.device) -> Int[Tensor, "count"]:
    """Seeds of as many sequences."""
    return torch.tensor([key("augment", seed, word, number) for number in range(count)], device=device)


@lru_cache(maxsize=16)
def _across_and_down(shape: torch.Size, dtype: torch.dtype, device: torch.device) -> Float[Tensor, "2"]:
    """Width and height."""
    return torch.tensor(shape[::-1], dtype=dtype, device=device)


def _places(numbers: Int[Tensor, "n"], epochs: Int[Tensor, "n"]) -> Int[Tensor, "n"]:
    """One counter for each example and epoch."""
    return (epochs << 32) + numbers


def _rectangle(
    images: Float[Tensor, "n c h w"], first: Float[Tensor, "n 2"], end: Float[Tensor, "n 2"]
) -> Bool[Tensor, "n 1 h w"]:
    """Which pixels are in each picture's rectangle, which may lie partly outside."""
    height, width = images.shape[2:]
    x, y = (torch.arange(side, device=images.device) for side in (width, height))
    across, down = ((p >= first[:, i, None]) & (p < end[:, i, None]) for i, p in enumerate((x, y)))
    return (across[:, None, :] & down[:, :, None])[:, None]


def _noisy(
    images: Float[Tensor, "n c h w"], places: Int[Tensor, "n"], seed: int, deviation: float
) -> Float[Tensor, "n c h w"]:
    """With normal noise on every value, cut to what is between 0 and 1."""
    values = math.prod(images.shape[1:])
    own = bits(key("augment", seed, "noise"), places)[:, None]
    noise = normals(own, torch.arange((values + 1) // 2, device=images.device), images.dtype)
    return torch.add(images, noise.flatten(1)[:, :values].view_as(images), alpha=deviation).clamp_(0, 1)
