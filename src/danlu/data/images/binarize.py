"""Binarization of gray images: a pixel is 1 with the probability given by its value, or by a threshold."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from danlu.data.base.batch_stream import Batch, PartStream
from danlu.data.base.dataset import Part
from danlu.data.images.settings import Binarize
from danlu.errors import UsageError
from danlu.rng.counter_based import bits, uniforms
from danlu.rng.keys import key

_ROWS = 4096


def binary(
    images: Float[Tensor, "n *shape"], numbers: Int[Tensor, "n"], epochs: Int[Tensor, "n"] | int, seed: int
) -> Float[Tensor, "n *shape"]:
    """Sample 1 with the probability given by each value, else 0; a function of (seed, epoch, number of the example).

    >>> x = torch.full((3, 4), 0.5)
    >>> a = binary(x, torch.tensor([5, 6, 7]), 0, seed=0)
    >>> torch.equal(binary(x[1:2], torch.tensor([6]), 0, seed=0), a[1:2]), set(a.flatten().tolist()) == {0.0, 1.0}
    (True, True)
    """
    seeds = bits(key("binarise", seed), (torch.as_tensor(epochs, device=numbers.device) << 32) + numbers)[:, None]
    counters = torch.arange(images[0].numel(), device=images.device)
    return (uniforms(seeds, counters, images.dtype).view_as(images) < images).to(images.dtype)


def binary_part(part: Part, how: Binarize, seed: int) -> Part:
    """A part with binarized images. They are sampled once, also with ``how="dynamic"``.

    Raises:
        UsageError: if the examples are not images.
    """
    if how == "none" or not len(part):
        return part
    _check(part.fields)
    images = part.fields["image"]
    black_and_white = torch.empty(images.shape, dtype=torch.uint8, device=images.device)
    for start in range(0, len(part), _ROWS):
        gray = part.rows(slice(start, start + _ROWS))["image"]
        numbers = torch.arange(start, start + len(gray), device=images.device)
        ones = gray >= 0.5 if how == "threshold" else binary(gray, numbers, 0, seed) > 0
        black_and_white[start : start + len(gray)] = ones * 255
    return Part({**part.fields, "image": black_and_white}, part.dtype)


class Binarized:
    """A stream whose images are binarized at random in every epoch.

    Args:
        stream: stream of gray images, with the order of ``Shuffled``.
        seed: random seed.

    Raises:
        UsageError: if the examples are not images.
    """

    def __init__(self, stream: PartStream, seed: int = 0):
        self.stream, self.seed = stream, seed
        self.part, self.size, self.epoch_rounds = stream.part, stream.size, stream.epoch_rounds
        _check(self.part.fields)

    def batch(self, position: int, rows: slice) -> Batch:
        """These rows of the batch at this position."""
        batch = self.stream.batch(position, rows)
        start = position * self.size
        entries = torch.arange(start + rows.start, start + rows.stop, device=batch.numbers.device)
        epochs = entries.div_(len(self.part), rounding_mode="floor")
        sampled = binary(batch["image"], batch.numbers, epochs, self.seed)
        return Batch({**batch.fields, "image": sampled}, batch.rows, batch.size, batch.numbers, batch.parts)


def _check(fields: dict[str, Tensor]) -> None:
    if "image" not in fields:
        raise UsageError(
            f"binarize applies to images, and the examples have the fields {', '.join(fields)}; leave it out",
            settings=("binarize",),
        )
