"""Properties of image data that a model depends on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from danlu.data.base.dataset import DataInfo


@dataclass(frozen=True)
class ImageInfo(DataInfo):
    """Images of shape (channels, height, width).

    Attributes:
        fit: how image files of another shape are converted to this one.
        levels: number of gray levels: equidistant values from the smallest to the largest one, both included.

    >>> ImageInfo((3, 8, 8)).viewable, ImageInfo((2, 8, 8)).viewable
    (True, False)
    """

    kind: ClassVar[str] = "images"
    inputs: ClassVar[str] = "image"

    fit: Literal["crop", "pad", "stretch"] = "stretch"
    levels: int = 256

    @property
    def viewable(self) -> bool:
        """Whether an example can be shown: it is gray or RGB."""
        return len(self.shape) == 3 and self.shape[0] in (1, 3)

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names of the channels of gray and RGB images; none for other numbers of channels.

        >>> ImageInfo((3, 8, 8)).channel_names
        ('red', 'green', 'blue')
        """
        return {1: ("gray",), 3: ("red", "green", "blue")}.get(self.shape[0], ())

    @property
    def description(self) -> str:
        """A description of the examples for messages.

        >>> ImageInfo((1, 8, 8)).description
        'images of shape 1×8×8'
        """
        return f"images of shape {'×'.join(map(str, self.shape))}"
