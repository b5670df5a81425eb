"""Properties of image data that a model depends on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from danlu.data.base.dataset import DataInfo


@dataclass(frozen=True)
class ImageInfo(DataInfo):
    """Images of shape (channels, height, width).

    Attributes:
        fit: how image files of another shape are converted to this one.
        levels: number of gray levels: equidistant values from the smallest to the largest one, both included.
        background: dark or light, if nearly all training images have this value at their borders.

    >>> ImageInfo((3, 8, 8)).viewable, ImageInfo((2, 8, 8)).viewable
    (True, False)
    """

    kind: ClassVar[str] = "images"
    inputs: ClassVar[str] = "image"

    fit: Literal["crop", "pad", "stretch"] = "stretch"
    levels: int = 256
    background: Literal["dark", "light"] | None = field(default=None, compare=False, repr=False)

    def check(self) -> None:
        """Check values that come from a file.

        Raises:
            ValueError: if a value is not possible.
        """
        super().check()
        if len(self.shape) != 3 or self.levels < 2:
            raise ValueError(
                f"images need a shape of 3 sizes and at least 2 levels, got {list(self.shape)} and {self.levels}"
            )

    @property
    def viewable(self) -> bool:
        """Whether an example can be shown: it is gray or RGB."""
        return len(self.shape) == 3 and self.shape[0] in (1, 3)

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of an image in pixels.

        >>> ImageInfo((3, 8, 16)).image_size
        (8, 16)
        """
        return self.shape[-2], self.shape[-1]

    @property
    def bounds(self) -> tuple[float, float]:
        """Smallest and largest value that a pixel can have."""
        return self.range

    @property
    def spacing(self) -> float:
        """The difference of neighboring gray levels.

        >>> ImageInfo((1, 8, 8), levels=17).spacing
        0.0625
        """
        low, high = self.range
        return (high - low) / (self.levels - 1)

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
        return f"images of shape {self.format}"

    @property
    def input_description(self) -> str:
        """The input of a model in a sentence, for the model card.

        >>> print(ImageInfo((1, 8, 8)).input_description)
        Images with 1 channel, 8×8 pixels (height × width): a tensor of shape (n, 1, 8, 8), values from 0 to 1.
        """
        channels, (height, width) = self.shape[0], self.image_size
        count = f"{channels} channel{'s' * (channels != 1)}"
        return f"Images with {count}, {height}×{width} pixels (height × width): a{self._tensor_description}"

    @property
    def density_note(self) -> str:
        """The unit of a probability density of images, as a note on scores."""
        low, high = self.range
        return (
            f"densities of pixel values from {low:g} to {high:g}; they can be above 1 and are not comparable with bits "
            f"per dimension of models of discrete values"
        )
