"""What is trained on: examples from somewhere, and how they are changed each time they are seen."""

from __future__ import annotations

from dataclasses import replace

from danlu.data.base.batch_stream import Pictures
from danlu.data.base.dataset import DataSet
from danlu.data.images.augment import Augment, Augmented
from danlu.data.images.binarize import Binarize, Binarized, binary_part
from danlu.data.settings import DataSettings
from danlu.storage.access import Access


class TrainingData(DataSettings):
    """A data set, how it is read, and how its training pictures are changed.

    >>> TrainingData(augment=Augment(flip="horizontal")).augment.on
    True
    """

    augment: Augment = Augment()
    """how training pictures are changed each time they are seen"""
    binarize: Binarize = "none"
    """gray as black and white: by a threshold, or by chance once (static) or in every epoch anew (dynamic)"""

    def usage(self) -> dict[str, str]:
        """The settings that use of the trained model needs; they are saved with it."""
        return {} if self.binarize == "none" else {"binarize": self.binarize}

    def load(self, access: Access | None = None) -> DataSet:
        """The data set; black and white but for a training part that is drawn anew in every epoch."""
        data = super().load(access)
        if self.binarize == "none":
            return data
        names = ("validation", "test") if self.binarize == "dynamic" else ("train", "validation", "test")
        seed = self.split.seed
        return replace(data, **{name: binary_part(data.part(name), self.binarize, seed) for name in names})

    def as_seen(self, stream: Pictures, seed: int) -> Pictures:
        """The training stream as the pictures are to be seen; no other part is ever changed so."""
        if self.augment.on:
            stream = Augmented(stream, self.augment, seed)
        return Binarized(stream, seed) if self.binarize == "dynamic" else stream
