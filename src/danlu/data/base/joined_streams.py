"""Several streams joined into one, each with its own epochs: labeled and unlabeled examples, or two domains."""

from __future__ import annotations

from danlu.data.base.batch_stream import Batch, Stream
from danlu.errors import UsageError


class JoinedStreams:
    """Batches whose parts come from several streams; ``join_streams`` creates one.

    The first stream is the main one. Its batch size is the size of the whole batch. A process or micro-batch that has a
    fraction of its rows has the same fraction of the rows of each other stream.

    Args:
        streams: the streams by name.
    """

    def __init__(self, streams: dict[str, Stream]):
        self.streams = streams
        main = next(iter(streams.values()))
        self.size, self.epoch_rounds = main.size, main.epoch_rounds

    def batch(self, position: int, rows: slice) -> Batch:
        """The same rows of every part, in proportion to its size.

        Raises:
            UsageError: if this gives a fractional number of rows for a part.
        """
        slices = self.rows_of_parts(rows)
        parts = {name: stream.batch(position, slices[name]) for name, stream in self.streams.items()}
        return Batch({}, rows, self.size, next(iter(parts.values())).numbers, parts)

    def rows_of_parts(self, rows: slice) -> dict[str, slice]:
        """The rows of each stream that belong to these rows of the whole batch.

        Raises:
            UsageError: if this gives a fractional number of rows for a part.
        """
        return {name: self._rows_of(name, stream.size, rows) for name, stream in self.streams.items()}

    def _rows_of(self, name: str, size: int, rows: slice) -> slice:
        ends = [edge * size / self.size for edge in (rows.start, rows.stop)]
        if any(end % 1 for end in ends):
            raise UsageError(
                f"rows {rows.start} to {rows.stop} of {self.size} correspond to rows {ends[0]:g} to {ends[1]:g} of "
                f"the {size} rows of {name!r}, which must be whole numbers; choose batch sizes that are "
                f"multiples of the number of processes and micro-batches"
            )
        return slice(*map(int, ends))


def rows_of_parts(stream: Stream, rows: slice) -> dict[str, slice]:
    """The rows of each part of a joined stream; for another stream, the rows themselves, under an empty name.

    Raises:
        UsageError: if this gives a fractional number of rows for a part.
    """
    return stream.rows_of_parts(rows) if isinstance(stream, JoinedStreams) else {"": rows}


def join_streams(**streams: Stream) -> JoinedStreams:
    """Join streams into one; the first is the main one.

    >>> import torch
    >>> from danlu.data import Part
    >>> from danlu.data import Shuffled
    >>> few, many = Part({"x": torch.zeros(4)}), Part({"x": torch.ones(100)})
    >>> batch = join_streams(labeled=Shuffled(few, 2), unlabeled=Shuffled(many, 6)).batch(0, slice(0, 2))
    >>> batch.part("labeled")["x"], batch.part("unlabeled")["x"]
    (tensor([0., 0.]), tensor([1., 1., 1., 1., 1., 1.]))

    Raises:
        UsageError: if there is no stream.
    """
    if not streams:
        raise UsageError("join_streams() needs at least one named stream, as in join_streams(labeled=…, unlabeled=…)")
    return JoinedStreams(streams)
