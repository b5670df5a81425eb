"""Random augmentation of training images, on the device of the images.

The augmentation of an image is a function of (seed, epoch, number of the example) only. So it is the same in every
batch, micro-batch or process, and after resuming.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from danlu.data.base.batch_stream import Batch, PartStream
from danlu.data.base.dataset import Part
from danlu.data.base.prefetch import PrefetchedStream
from danlu.data.images.settings import Augment
from danlu.data.images.warp import move, warp
from danlu.errors import UsageError
from danlu.rng.counter_based import betas, bits, normals, uniforms
from danlu.rng.keys import key


def augment(
    images: Float[Tensor, "n c h w"], numbers: Int[Tensor, "n"], epochs: Int[Tensor, "n"], seed: int, page: Augment
) -> Float[Tensor, "n c h w"]:
    """Apply all transformations to each image, except mixing.

    Flips, rotations, scalings and translations are combined into one bilinear interpolation. If images are only flipped
    and cropped, they are not interpolated: a crop of a padded image is a shift by whole pixels.

    Args:
        images: the images.
        numbers: number of each example in its part.
        epochs: epoch of each example.
        seed: random seed.
        page: settings of the augmentation.

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
    return _noisy(images, _counters(numbers, epochs), seed, page.noise) if page.noise else images


def mix(
    images: Float[Tensor, "n c h w"],
    others: Float[Tensor, "n c h w"],
    numbers: Int[Tensor, "n"],
    epochs: Int[Tensor, "n"],
    seed: int,
    page: Augment,
) -> tuple[Float[Tensor, "n c h w"], Float[Tensor, "n"]]:
    r"""Mix each image with another one, by mixup or CutMix.

    In mixup, every pixel is :math:`\lambda x + (1 - \lambda) x'` (Zhang et al., "mixup: beyond empirical risk
    minimization", 2018). In CutMix, a rectangle with the relative sides :math:`\sqrt{1 - \lambda}` and a random center,
    clipped to the image, is replaced by that of the other image (Yun et al., "CutMix", 2019). λ is drawn from
    Beta(α, α). The loss is the weighted mean of the losses of both labels, with the returned weight for the first.

    Args:
        images: the images.
        others: the images that they are mixed with.
        numbers: number of each example in its part.
        epochs: epoch of each example.
        seed: random seed.
        page: settings of the augmentation, with mixup or cutmix.

    Returns:
        The mixed images, and for each the fraction of the first image.

    >>> white, black, numbers, epochs = torch.ones(3, 1, 8, 8), torch.zeros(3, 1, 8, 8), torch.arange(3), torch.ones(3)
    >>> mixed, fraction = mix(white, black, numbers, epochs.long(), 0, Augment(cutmix=1.0))
    >>> torch.allclose(mixed.mean((1, 2, 3)), fraction)
    True
    """
    counters = _counters(numbers, epochs)
    fraction = betas(page.mixup or page.cutmix, key("augment", seed, "share"), counters, images.dtype)
    if page.mixup:
        return torch.lerp(others, images, fraction[:, None, None, None]), fraction
    sides = _width_and_height(images.shape[2:], images.dtype, images.device)
    center = (uniforms(_seeds(seed, "middle", 2, images.device), counters[:, None], images.dtype) * sides).floor_()
    cut = ((1 - fraction).sqrt()[:, None] * sides).floor_()
    first = center - cut / 2
    inside = _rectangle(images, first, first + cut)
    return torch.where(inside, others, images), 1 - inside.to(images.dtype).mean((1, 2, 3))


def partners(numbers: Int[Tensor, "n"], epochs: Int[Tensor, "n"], seed: int, examples: int) -> Int[Tensor, "n"]:
    """Random number of the example that each example is mixed with.

    Args:
        numbers: number of each example in its part.
        epochs: epoch of each example.
        seed: random seed.
        examples: number of examples of the part.
    """
    return bits(key("augment", seed, "partner"), _counters(numbers, epochs)).remainder_(examples)


class Augmented:
    """The batches of another stream with augmented images.

    With mixup or cutmix, batches also have the fields ``other_label`` (n,) and ``label_weight`` (n,),
    the weight of ``label``.

    Args:
        stream: stream with a field ``image``, with the order of ``Shuffled``.
        page: settings of the augmentation.
        seed: random seed.

    Raises:
        UsageError: if the examples are not images, are too small for the crop, or have no labels to mix.

    >>> from danlu.data import Shuffled
    >>> part = Part({"image": torch.rand(6, 1, 8, 8), "label": torch.arange(6)})
    >>> stream = Augmented(Shuffled(part, 4), Augment(mixup=0.2), seed=0)
    >>> list(stream.batch(0, slice(0, 4)).fields)
    ['image', 'label', 'other_label', 'label_weight']
    """

    def __init__(self, stream: PartStream, page: Augment, seed: int = 0):
        _check(stream.part.fields, page)
        self.stream = _with_partners(stream, seed) if page.mixes else stream
        self.page, self.seed = page, seed
        self.part, self.size, self.epoch_rounds = stream.part, stream.size, stream.epoch_rounds

    def batch(self, position: int, rows: slice) -> Batch:
        """These rows of the batch at this position."""
        batch = self.stream.batch(position, rows)
        epochs = _epochs(self, position, batch)
        augmented = self._mixed if self.page.mixes else self._augmented
        return Batch(augmented(batch, epochs), rows, self.size, batch.numbers)

    def numbers(self, position: int, rows: slice) -> Int[Tensor, "n"]:
        """Numbers of the examples in these rows of the batch at this position."""
        return self.stream.numbers(position, rows)

    def _augmented(self, batch: Batch, epochs: Int[Tensor, "n"]) -> dict[str, Tensor]:
        return {**batch.fields, "image": augment(batch["image"], batch.numbers, epochs, self.seed, self.page)}

    def _mixed(self, batch: Batch, epochs: Int[Tensor, "n"]) -> dict[str, Tensor]:
        """Augment both images independently, then mix them."""
        numbers, fields = batch.numbers, dict(batch.fields)
        both = torch.cat([fields["image"], fields.pop("other_image")])
        both_numbers = torch.cat([numbers, fields.pop("other_number")])
        own, other = augment(both, both_numbers, epochs.repeat(2), self.seed, self.page).chunk(2)
        image, fraction = mix(own, other, numbers, epochs, self.seed, self.page)
        return {**fields, "image": image, "label_weight": fraction}


def _with_partners(stream: PartStream, seed: int) -> PartStream:
    """The stream with the examples to mix with, which are read in advance if the stream is."""
    if isinstance(stream, PrefetchedStream):
        return stream.of(_Partners(stream.stream, seed))
    return _Partners(stream, seed)


class _Partners:
    """The batches of a stream with image, label and number of the example that each example is mixed with."""

    def __init__(self, stream: PartStream, seed: int):
        self.stream, self.seed = stream, seed
        self.part, self.size, self.epoch_rounds = stream.part, stream.size, stream.epoch_rounds
        self._candidates = Part({name: self.part.fields[name] for name in ("image", "label")}, self.part.dtype)

    def batch(self, position: int, rows: slice) -> Batch:
        """These rows of the batch at this position."""
        batch = self.stream.batch(position, rows)
        epochs = _epochs(self, position, batch)
        numbers = partners(batch.numbers, epochs, self.seed, len(self.part))
        others = self._candidates.rows(numbers.to(self.part.device))
        fields = {"other_image": others["image"], "other_label": others["label"], "other_number": numbers}
        return Batch({**batch.fields, **fields}, rows, self.size, batch.numbers)

    def numbers(self, position: int, rows: slice) -> Int[Tensor, "n"]:
        """Numbers of the examples in these rows of the batch at this position."""
        return self.stream.numbers(position, rows)


def _epochs(stream: PartStream, position: int, batch: Batch) -> Int[Tensor, "n"]:
    """The epoch of each example of the batch at this position."""
    start, rows = position * stream.size, batch.rows
    entries = torch.arange(start + rows.start, start + rows.stop, device=batch.numbers.device)
    return entries.div_(len(stream.part), rounding_mode="floor")


def _check(fields: Mapping[str, Tensor], page: Augment) -> None:
    """Check that the examples can be augmented."""
    if "image" not in fields or fields["image"].dim() != 4:
        raise UsageError(
            f"augment applies to images, and the examples have the fields {', '.join(fields)}; leave it out"
        )
    if page.mixes and "label" not in fields:
        raise UsageError(
            "augment.mixup and augment.cutmix need labels, and the examples have none; leave them out",
            settings=("augment.mixup", "augment.cutmix"),
        )
    height, width = fields["image"].shape[2:]
    if page.crop >= min(height, width):
        raise UsageError(
            f"augment.crop must be less than the height and width of the images, {height}×{width}; got {page.crop}",
            settings=("augment.crop",),
        )


class _Drawn(NamedTuple):
    """The parameters of each image; pairs are (horizontal, vertical)."""

    mirror: Float[Tensor, "n 2"]
    """negative if the image is flipped in this direction"""
    turn: Float[Tensor, "n 1"]
    zoom: Float[Tensor, "n 1"]
    shift: Float[Tensor, "n 2"]
    crop: Float[Tensor, "n 2"]
    first: Float[Tensor, "n 2"]
    """first pixel of the erased rectangle"""
    erased: Float[Tensor, "2"]
    """sides of the erased rectangle"""


def _draw(
    images: Float[Tensor, "n c h w"], numbers: Int[Tensor, "n"], epochs: Int[Tensor, "n"], seed: int, page: Augment
) -> _Drawn:
    """Draw all parameters; each is uniform between two bounds, which are equal if the transformation is off."""
    shape, dtype, device = images.shape[2:], images.dtype, images.device
    low, span, erased = _bounds(page, shape, dtype, device)  # type: ignore[arg-type]  # a frozen page is hashable
    drawn = uniforms(_seeds(seed, "move", len(low), device), _counters(numbers, epochs)[:, None], dtype)
    mirror, turn, zoom, shift, crop, first = torch.addcmul(low, span, drawn).split_with_sizes([2, 1, 1, 2, 2, 2], 1)
    if page.flip == "alternating":
        mirror[:, 0] = 0.5 - ((bits(key("augment", seed, "first"), numbers) + epochs) & 1)
    return _Drawn(mirror, turn, zoom, shift, page.crop - crop.floor(), first.floor(), erased)


@lru_cache(maxsize=16)
def _bounds(page: Augment, shape: torch.Size, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, ...]:
    """Lower bound and range of each parameter of an image, and the sides of the erased rectangle.

    Integers are rounded down later, so their upper bound is excluded.
    """
    turn, (height, width) = math.radians(page.rotate), shape
    erased_sides = [max(1, round(side * page.erase**0.5)) for side in (width, height)]
    bounds = [
        *((-1, 1) if page.flip in (direction, "both") else (1, 1) for direction in ("horizontal", "vertical")),
        (-turn, turn),
        page.scale,
        *((-page.translate * side, page.translate * side) for side in (width, height)),
        *((0, 2 * page.crop + 1),) * 2,
        *((0, side - erased + 1) for side, erased in zip((width, height), erased_sides, strict=True)),
    ]
    low, high = torch.tensor(bounds, dtype=torch.float64).T
    return low.to(device, dtype), (high - low).to(device, dtype), torch.tensor(erased_sides, dtype=dtype, device=device)


@lru_cache(maxsize=16)
def _seeds(seed: int, use: str, count: int, device: torch.device) -> Int[Tensor, "count"]:
    """Seeds of ``count`` sequences."""
    return torch.tensor([key("augment", seed, use, number) for number in range(count)], device=device)


@lru_cache(maxsize=16)
def _width_and_height(shape: torch.Size, dtype: torch.dtype, device: torch.device) -> Float[Tensor, "2"]:
    """Width and height."""
    return torch.tensor(shape[::-1], dtype=dtype, device=device)


def _counters(numbers: Int[Tensor, "n"], epochs: Int[Tensor, "n"]) -> Int[Tensor, "n"]:
    """One counter for each example and epoch."""
    return (epochs << 32) + numbers


def _rectangle(
    images: Float[Tensor, "n c h w"], first: Float[Tensor, "n 2"], end: Float[Tensor, "n 2"]
) -> Bool[Tensor, "n 1 h w"]:
    """Mask of a rectangle in each image; the rectangle can be partly outside."""
    height, width = images.shape[2:]
    x, y = (torch.arange(side, device=images.device) for side in (width, height))
    columns, rows = ((p >= first[:, i, None]) & (p < end[:, i, None]) for i, p in enumerate((x, y)))
    return (columns[:, None, :] & rows[:, :, None])[:, None]


def _noisy(
    images: Float[Tensor, "n c h w"], counters: Int[Tensor, "n"], seed: int, deviation: float
) -> Float[Tensor, "n c h w"]:
    """Add normal noise to every value, and clip the result to [0, 1]."""
    values = math.prod(images.shape[1:])
    seeds = bits(key("augment", seed, "noise"), counters)[:, None]
    noise = normals(seeds, torch.arange((values + 1) // 2, device=images.device), images.dtype)
    return torch.add(images, noise.flatten(1)[:, :values].view_as(images), alpha=deviation).clamp_(0, 1)
