"""Batches that are read before they are asked for, by threads, from examples that do not fit into memory."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as OutOfTime

import torch

from danlu.data.base.batch_stream import Batch, Shuffled
from danlu.errors import RunError

AHEAD = 4
"""batches that are read ahead of the one that is asked for"""
PATIENCE = 120.0
"""seconds to wait for a batch before its examples are named and the run ends"""


class PrefetchedStream:
    """The batches of another stream, on the device, read ahead of time.

    A stream is a function of a position, so that what will be asked for is known: the same rows of the next positions.

    Args:
        stream: the stream.
        device: where batches are wanted.
        workers: threads that read.
        patience: seconds to wait for a batch.

    >>> from danlu.data import Part
    >>> part = Part({"x": torch.arange(6)})
    >>> ahead = PrefetchedStream(Shuffled(part, 4), torch.device("cpu"))
    >>> torch.equal(ahead.batch(1, slice(0, 4))["x"], Shuffled(part, 4).batch(1, slice(0, 4))["x"])
    True
    """

    def __init__(self, stream: Shuffled, device: torch.device, workers: int = 2, patience: float = PATIENCE):
        self.stream, self.device, self.patience = stream, device, patience
        self.part, self.size, self.epoch_rounds = stream.part, stream.size, stream.epoch_rounds
        self._readers = ThreadPoolExecutor(workers, thread_name_prefix="reader")
        self._coming: dict[tuple[int, int, int], Future[Batch]] = {}

    def batch(self, position: int, rows: slice) -> Batch:
        """These rows of the batch at this position.

        Raises:
            RunError: if they cannot be read, or not in time; it names the examples.
        """
        for place in [place for place in self._coming if place[0] < position]:
            self._coming.pop(place).cancel()
        for later in range(position, position + AHEAD + 1):
            place = later, rows.start, rows.stop
            if place not in self._coming:
                self._coming[place] = self._readers.submit(self._read, later, rows)
        try:
            return self._coming[position, rows.start, rows.stop].result(self.patience)
        except OutOfTime:
            raise RunError(f"{self._named(position, rows)} could not be read in {self.patience:g} seconds") from None
        except OSError as error:
            raise RunError(f"{self._named(position, rows)} cannot be read: {error}") from error

    def _read(self, position: int, rows: slice) -> Batch:
        batch = self.stream.batch(position, rows)
        pinned = self.device.type == "cuda"
        batch.fields = {
            name: (values.pin_memory() if pinned else values).to(self.device, non_blocking=True)
            for name, values in batch.fields.items()
        }
        batch.numbers = batch.numbers.to(self.device, non_blocking=True)
        return batch

    def _named(self, position: int, rows: slice) -> str:
        numbers = self.stream.numbers(position, rows).tolist()
        few = ", ".join(map(str, numbers[:5]))
        return f"a batch with the training examples {few}{', …' if len(numbers) > 5 else ''}"
