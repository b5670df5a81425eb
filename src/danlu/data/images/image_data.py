"""Settings for training on images. The code that they select is imported when it is used (``danlu.data.settings``)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from danlu import data as room
from danlu.data.images.glyph_settings import Glyphs
from danlu.data.images.settings import Augment, Binarize, Images
from danlu.data.settings import DataSettings
from danlu.storage.access import Access


class ImageData(DataSettings):
    """A data set of images, how its files are read, and how training images are transformed.

    >>> ImageData(augment=Augment(flip="horizontal")).augment.on
    True
    """

    kind: ClassVar[str] = "images"

    images: Images = Images()
    """how image files are converted to examples of one shape"""
    glyphs: Glyphs = Glyphs()
    """characters, faces and label of the data set glyphs"""
    augment: Augment = Augment()
    """random transformations of training images, applied anew in every epoch"""
    binarize: Binarize = "none"
    """convert gray to black and white: by a threshold, or at random once (static) or in every epoch (dynamic)"""

    def load(self, access: Access | None = None) -> room.DataSet:
        """Read the data set; with ``binarize`` its parts are black and white.

        With ``binarize="dynamic"`` the training part stays gray; ``transform`` binarizes its batches.
        """
        data = super().load(access)
        if self.binarize == "none":
            return data
        names = ("validation", "test") if self.binarize == "dynamic" else ("train", "validation", "test")
        seed = self.split.seed
        parts = {name: room.binary_part(data.part(name), self.binarize, seed) for name in names}
        levels: dict[str, Any] = {"levels": 2}
        return replace(data, info=replace(data.info, **levels), **parts)

    def usage(self) -> dict[str, str]:
        """The settings that are needed to use the trained model: ``binarize``, if images are binarized."""
        return {} if self.binarize == "none" else {"binarize": self.binarize}

    @property
    def mixes_labels(self) -> bool:
        """Whether ``augment.mixup`` or ``augment.cutmix`` mixes the labels of the examples of a batch."""
        return self.augment.mixes

    def transform(self, stream: room.PartStream, seed: int) -> room.Stream:
        """The stream with augmented and, if ``binarize`` is dynamic, binarized images."""
        if self.augment.on:
            stream = room.Augmented(stream, self.augment, seed)
        return room.Binarized(stream, seed) if self.binarize == "dynamic" else stream
