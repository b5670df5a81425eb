"""Several streams at once, each with its own epochs: labeled and unlabeled examples, or two domains."""

from __future__ import annotations

from danlu.data.base.batch_stream import Batch, Stream
from danlu.errors import UsageError


class JoinedStreams:
    """Batches whose parts come from several streams; ``join_streams`` makes one.

    The first stream is the main one: its batch size is the size of the whole, and the rows that a process or a
    micro-batch has of it decide its share of every other part.

    Args:
        streams: by name.
    """

    def __init__(self, streams: dict[str, Stream]):
        self.streams = streams
        main = next(iter(streams.values()))
        self.size, self.epoch_rounds = main.size, main.epoch_rounds

    def batch(self, position: int, rows: slice) -> Batch:
        """The same rows of every part, in proportion to its size.

        Raises:
            UsageError: if a part has no whole number of rows for these.
        """
        parts = {
            name: stream.batch(position, self._share(name, stream.size, rows)) for name, stream in self.streams.items()
        }
        return Batch({}, rows, self.size, next(iter(parts.values())).numbers, parts)

    def _share(self, name: str, size: int, rows: slice) -> slice:
        ends = [edge * size / self.size for edge in (rows.start, rows.stop)]
        if any(end % 1 for end in ends):
            raise UsageError(
                f"batches of {self.size} are cut at row {rows.start} and {rows.stop}, which cuts the {size} rows of "
                f"{name!r} at {ends[0]:g} and {ends[1]:g}; choose sizes that processes and micro-batches divide"
            )
        return slice(*map(int, ends))


def join_streams(**streams: Stream) -> JoinedStreams:
    """Join streams; the first is the main one.

    >>> import torch
    >>> from danlu.data import Part
    >>> from danlu.data import Shuffled
    >>> few, many = Part({"x": torch.zeros(4)}), Part({"x": torch.ones(100)})
    >>> batch = join_streams(labeled=Shuffled(few, 2), unlabeled=Shuffled(many, 6)).batch(0, slice(0, 2))
    >>> batch.part("labeled")["x"], batch.part("unlabeled")["x"]
    (tensor([0., 0.]), tensor([1., 1., 1., 1., 1., 1.]))

    Raises:
        UsageError: if there are none.
    """
    if not streams:
        raise UsageError("join_streams() needs at least one stream, by name: join_streams(labeled=…, unlabeled=…)")
    return JoinedStreams(streams)
