"""What games saw of the data: batches are written down as they come, in one process or in one of two."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import torch
from torch import Tensor, nn

from danlu.app.runs.session import Session
from danlu.data import Batch, Part
from danlu.data.base.placement import choose_placement
from danlu.recipes import as_recipe
from danlu.tasks import Descend, Supervised, Task, Terms, Turn
from danlu.training import OptimizerSettings, Runtime, Trainer


class Seen(NamedTuple):
    """One row of a batch."""

    round: int
    row: int
    number: int
    image: Tensor


class Watching(Task):
    """Writes down the examples of each batch, which say themselves which they are."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Linear(1, 1)
        self.seen: list[Seen] = []
        self.round = 0

    def players(self) -> dict[str, nn.Module]:
        return {"scale": self.scale}

    def turns(self, round: int) -> list[Turn]:
        self.round = round
        return [Descend("scale", self.look)]

    def look(self, batch: Batch) -> Terms:
        self.seen += seen_in(self.round, batch, batch["own_number"])
        return {"square": self.scale(batch["image"].flatten(1)[:, :1])[:, 0].square()}


def seen_in(round: int, batch: Batch, numbers: Tensor) -> list[Seen]:
    rows = range(batch.rows.start, batch.rows.stop)
    return [Seen(round, *row) for row in zip(rows, numbers.tolist(), batch["image"].clone(), strict=True)]


def own_numbers(file: str | None = None, n: int = 23) -> Part:
    """Examples that hold their own numbers; their pictures are mapped from a file, if there is one."""
    if file is None:
        image = torch.arange(n * 6).remainder(251).to(torch.uint8)
    else:
        image = torch.from_file(file, shared=False, size=n * 6, dtype=torch.uint8)
    return Part(
        {"image": image.view(n, 1, 3, 2), "own_number": torch.arange(n)},
        sources={} if file is None else {"image": str(file)},
    )


def file_of_pictures(folder: Path) -> str:
    """A file with the pictures; it is written once, for a file that is mapped must not be cut."""
    path = folder / "images.bin"
    path.write_bytes(own_numbers().fields["image"].numpy().tobytes())
    return str(path)


def watching(runtime: Runtime, file: str | None, rounds: int, grad_accumulation: int) -> Trainer:
    """A game that watches its batches, from memory or read ahead from a file."""
    free = 10**9 if file is None else 0
    stream = choose_placement(own_numbers(file), 6, 3, runtime.device, runtime.dtype, free).stream
    torch.manual_seed(0)
    return Trainer(Watching(), OptimizerSettings(lr=1e-3), stream, rounds, 3, grad_accumulation, runtime)


def monitor(runtime: Runtime, file: str | None, rounds: int, grad_accumulation: int) -> list[Seen]:
    """What one process saw in so many rounds."""
    trainer = watching(runtime, file, rounds, grad_accumulation)
    for _ in trainer:
        pass
    assert isinstance(trainer.task, Watching)
    return trainer.task.seen


@contextmanager
def classifiers_watched() -> Iterator[list[Seen]]:
    """What every classifier that is trained meanwhile sees."""
    seen: list[Seen] = []
    fit = Supervised.fit

    def watched(task: Supervised, batch: Batch) -> Terms:
        assert task._noise.place is not None
        seen.extend(seen_in(task._noise.place.round, batch, batch.numbers))
        return fit(task, batch)

    with patch.object(Supervised, "fit", watched):
        yield seen


def watch_a_session(runtime: Runtime, name: str, changes: dict[str, object]) -> list[Seen]:
    """What the session that ``danlu train`` uses sees in one of several processes."""
    with patch.dict(os.environ, {"WORLD_SIZE": str(runtime.world)}), classifiers_watched() as seen:
        session = Session.start(as_recipe(name, changes), "cpu")
        assert session.trainer.runtime.world == runtime.world
        for _ in session.trainer:
            pass
    return seen
