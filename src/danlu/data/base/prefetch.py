"""Batches that threads read in advance from examples that do not fit into memory."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as OutOfTime

import torch
from jaxtyping import Int
from torch import Tensor

from danlu.data.base.batch_stream import Batch, PartStream
from danlu.errors import RunError

PREFETCHED = 4
"""number of batches that are read in advance"""
TIMEOUT = 120.0
"""seconds to wait for a batch before an error is raised"""


class PrefetchedStream:
    """The batches of another stream, read in advance and copied to the device.

    The next batches are known, because a stream is a function of a position: the same rows of the next positions.

    Args:
        stream: the stream.
        device: device of the batches.
        workers: number of threads.
        timeout: seconds to wait for a batch.

    >>> from danlu.data import Part, Shuffled
    >>> part = Part({"x": torch.arange(6)})
    >>> prefetched = PrefetchedStream(Shuffled(part, 4), torch.device("cpu"))
    >>> torch.equal(prefetched.batch(1, slice(0, 4))["x"], Shuffled(part, 4).batch(1, slice(0, 4))["x"])
    True
    """

    def __init__(self, stream: PartStream, device: torch.device, workers: int = 2, timeout: float = TIMEOUT):
        self.stream, self.device, self.timeout = stream, device, timeout
        self.part, self.size, self.epoch_rounds = stream.part, stream.size, stream.epoch_rounds
        self.workers = workers
        self._readers = ThreadPoolExecutor(workers, thread_name_prefix="reader")
        self._pending: dict[tuple[int, int, int], Future[Batch]] = {}

    def batch(self, position: int, rows: slice) -> Batch:
        """These rows of the batch at this position.

        Raises:
            RunError: if the examples cannot be read, or not in time. The message has their numbers.
        """
        for entry in [entry for entry in self._pending if entry[0] < position]:
            self._pending.pop(entry).cancel()
        for later in range(position, position + PREFETCHED + 1):
            entry = later, rows.start, rows.stop
            if entry not in self._pending:
                self._pending[entry] = self._readers.submit(self._read, later, rows)
        try:
            return self._pending[position, rows.start, rows.stop].result(self.timeout)
        except OutOfTime:
            raise RunError(
                f"{self._describe(position, rows)} could not be read within {self.timeout:g} seconds"
            ) from None
        except OSError as error:
            raise RunError(f"{self._describe(position, rows)} cannot be read: {error}") from error

    def numbers(self, position: int, rows: slice) -> Int[Tensor, "n"]:
        """Numbers of the examples in these rows of the batch at this position."""
        return self.stream.numbers(position, rows)

    def of(self, stream: PartStream) -> PrefetchedStream:
        """Another stream, read in advance in the same way."""
        return PrefetchedStream(stream, self.device, self.workers, self.timeout)

    def _read(self, position: int, rows: slice) -> Batch:
        batch = self.stream.batch(position, rows)
        pinned = self.device.type == "cuda"
        batch.fields = {
            name: (values.pin_memory() if pinned else values).to(self.device, non_blocking=True)
            for name, values in batch.fields.items()
        }
        batch.numbers = batch.numbers.to(self.device, non_blocking=True)
        return batch

    def _describe(self, position: int, rows: slice) -> str:
        numbers = self.stream.numbers(position, rows).tolist()
        few = ", ".join(map(str, numbers[:5]))
        return f"a batch of the training examples {few}{', …' if len(numbers) > 5 else ''}"
