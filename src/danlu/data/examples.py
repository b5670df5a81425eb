"""What is trained on: examples from somewhere, and how they are changed each time they are seen."""

from __future__ import annotations

from dataclasses import replace

from danlu.data.augment import Augment, Augmented
from danlu.data.binary import Binarise, Binarised, binary_part
from danlu.data.dataset import DataSet
from danlu.data.source import Access, Source
from danlu.data.stream import Pictures


class Examples(Source):
    """A data set, how it is read, and how its training pictures are changed.

    >>> Examples(augment=Augment(flip="horizontal")).augment.on
    True
    """

    augment: Augment = Augment()
    """how training pictures are changed each time they are seen"""
    binarise: Binarise = "none"
    """grey as black and white: by a threshold, or by chance once (static) or in every epoch anew (dynamic)"""

    def load(self, access: Access | None = None) -> DataSet:
        """The data set; black and white but for a training part that is drawn anew in every epoch."""
        data = super().load(access)
        if self.binarise == "none":
            return data
        names = ("validation", "test") if self.binarise == "dynamic" else ("train", "validation", "test")
        seed = self.split.seed
        return replace(data, **{name: binary_part(data.part(name), self.binarise, seed) for name in names})

    def as_seen(self, stream: Pictures, seed: int) -> Pictures:
        """The training stream as the pictures are to be seen; no other part is ever changed so."""
        if self.augment.on:
            stream = Augmented(stream, self.augment, seed)
        return Binarised(stream, seed) if self.binarise == "dynamic" else stream
