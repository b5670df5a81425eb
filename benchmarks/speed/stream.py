"""Batches of changed pictures from memory beside a DataLoader, and what the changes cost of a training step.

60,000 pictures of 28×28 bytes in batches of 128, each mirrored half the time, turned by up to 15°, and cut at random
out of a border of 2 pixels. The peer does this picture by picture with Pillow and numpy, as is usual without
torchvision.
"""

from __future__ import annotations

import random
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import count, islice

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler

from benchmarks.harness import Row, alternate, cpu_seconds, quartiles
from danlu.data import Augment, Augmented, Part, Shuffled, Stream, warp
from danlu.data.images.info import ImageInfo
from danlu.recipes import CNNRecipe
from danlu.training import Trainer

EXAMPLES, SIDE, BATCH, BORDER, DEGREES = 60_000, 28, 128, 2, 15
THEIR_BATCHES, OUR_BATCHES, STEPS = 30, 300, 3
PAGE = Augment(flip="horizontal", rotate=DEGREES, crop=BORDER)


def run() -> list[Row]:
    """Time a picture, by the processor's clock and by that on the wall; and the part that it is of a training step."""
    torch.set_num_threads(1)
    _same_pictures()
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (EXAMPLES, 1, SIDE, SIDE), generator=generator, dtype=torch.uint8)
    part = Part({"image": images, "label": torch.randint(0, 10, (EXAMPLES,), generator=generator)})
    return [_processor_time(part), _wall_time(part), _part_of_a_step(part)]


def _processor_time(part: Part) -> Row:
    theirs, ours = _loader(part, workers=0), _stream(part)
    pairs = alternate(
        lambda: _each(cpu_seconds, theirs, THEIR_BATCHES), lambda: _each(cpu_seconds, ours, OUR_BATCHES), pairs=31
    )
    return _row("augment", "num_workers=0", pairs, "processor time of one thread; workers only add to the peer's")


def _wall_time(part: Part) -> Row:
    """The helpers read ahead when their turn is over: they are done when the peer without helpers has had its own."""
    helped, alone, ours = _loader(part, workers=2), _loader(part, workers=0), _stream(part)
    sides = ((helped, THEIR_BATCHES), (alone, THEIR_BATCHES), (ours, OUR_BATCHES))
    times = [[_each(_wall_seconds, batches, number) for batches, number in sides] for _ in range(32)][1:]
    medians = [statistics.median(column) for column in zip(*times, strict=True)]
    better = 0 if medians[0] < medians[1] else 1
    rates = ", ".join(f"{1e6 / median:,.0f}" for median in medians)
    notes = f"time on the wall; pictures a second: {rates} with num_workers=2, num_workers=0 and danlu on one thread"
    peer = f"num_workers={(2, 0)[better]}, the better of 0 and 2"
    return _row("augment-wall", peer, [(row[better], row[2]) for row in times], notes)


def _row(name: str, peer: str, pairs: list[tuple[float, float]], notes: str) -> Row:
    ratios = [a / b for a, b in pairs]
    return Row(
        name=name,
        peer=f"DataLoader of torch {torch.__version__}, {peer}",
        unit="µs a picture",
        theirs=statistics.median(a for a, _ in pairs),
        ours=statistics.median(b for _, b in pairs),
        ratio=statistics.median(ratios),
        spread=quartiles(ratios),
        difference=statistics.median(b - a for a, b in pairs),
        target="at least 10 times as fast",
        met=statistics.median(ratios) >= 10,
        notes=notes,
    )


def _part_of_a_step(part: Part) -> Row:
    rounds, batches = iter(_trainer(Augmented(Shuffled(part, BATCH), PAGE))), _stream(part)
    pairs = alternate(
        lambda: _each(cpu_seconds, rounds, STEPS) * BATCH / 1e3,
        lambda: _each(cpu_seconds, batches, OUR_BATCHES) * BATCH / 1e3,
    )
    fraction = statistics.median(b / a for a, b in pairs)
    return Row(
        name="augment-step",
        peer="the whole step of cnn that it is for",
        unit="ms a batch",
        theirs=statistics.median(a for a, _ in pairs),
        ours=statistics.median(b for _, b in pairs),
        ratio=1 / fraction,
        spread=quartiles([a / b for a, b in pairs]),
        difference=statistics.median(b - a for a, b in pairs),
        target="at most 30 % of the step",
        met=fraction <= 0.3,
        notes=f"drawing and changing a batch is {fraction:.1%} of the step; processor time of one thread",
    )


def _trainer(stream: Stream) -> Trainer:
    recipe = CNNRecipe(batch_size=BATCH)
    info = ImageInfo(shape=(1, SIDE, SIDE), classes=10)
    return Trainer(recipe.task(info), recipe.optimizer_settings(), stream, rounds=10_000)


def _wall_seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _each(clock: Callable[[Callable[[], object]], float], batches: Iterator[object], number: int) -> float:
    """Microseconds a picture, over so many batches."""
    return clock(lambda: deque(islice(batches, number), maxlen=0)) / (number * BATCH) * 1e6


def _stream(part: Part) -> Iterator[object]:
    stream = Augmented(Shuffled(part, BATCH), PAGE)
    return (stream.batch(position, slice(0, BATCH)) for position in count())


def _loader(part: Part, workers: int) -> Iterator[object]:
    examples = TorchExamples(part.fields["image"], part.fields["label"])
    sampler = RandomSampler(examples, num_samples=1000 * EXAMPLES)  # epochs without a pause to start workers
    return iter(DataLoader(examples, BATCH, sampler=sampler, num_workers=workers))


class TorchExamples(Dataset[tuple[Tensor, int]]):
    """What a user writes for a DataLoader."""

    def __init__(self, images: Tensor, labels: Tensor):
        self.images, self.labels = images[:, 0].numpy(), labels.tolist()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        mirrored, degrees = random.random() < 0.5, random.uniform(-DEGREES, DEGREES)
        left, top = random.randint(0, 2 * BORDER), random.randint(0, 2 * BORDER)
        changed = _by_pillow(self.images[number], mirrored, degrees, left, top)
        return torch.from_numpy(changed).unsqueeze(0).float().div_(255), self.labels[number]


def _by_pillow(pixels: np.ndarray, mirrored: bool, degrees: float, left: int, top: int) -> np.ndarray:
    image = Image.fromarray(pixels)
    if mirrored:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    image = image.rotate(degrees, Image.Resampling.BILINEAR)
    return np.pad(np.asarray(image), BORDER)[top : top + SIDE, left : left + SIDE].copy()


def _same_pictures() -> None:
    """Told the same changes, both make the same picture, up to rounding to bytes.

    It is compared where neither shows what is beyond the border, of which Pillow has another opinion.
    """
    generator = torch.Generator().manual_seed(1)
    for degrees, mirrored, left, top in ((-15, True, 0, 4), (7.5, False, 3, 1), (15, True, 2, 2)):
        pixels = torch.randint(0, 256, (SIDE, SIDE), generator=generator, dtype=torch.uint8)
        theirs = torch.from_numpy(_by_pillow(pixels.numpy(), mirrored, degrees, left, top)).float()
        ours = warp(
            pixels[None, None].float(),
            mirror=torch.tensor([[-1.0 if mirrored else 1.0, 1.0]]),
            turn=torch.deg2rad(torch.tensor([[float(degrees)]])),
            zoom=torch.ones(1, 1),
            shift=torch.tensor([[float(BORDER - left), float(BORDER - top)]]),
        )[0, 0]
        inside = slice(7, -7)
        torch.testing.assert_close(ours[inside, inside], theirs[inside, inside], rtol=0, atol=1.5)
