"""Properties of waveforms that a model depends on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from danlu.data.base.dataset import DataInfo


@dataclass(frozen=True)
class WaveformInfo(DataInfo):
    """Waveforms of shape (length,): samples of the amplitude, from -1 to 1.

    Attributes:
        rate: sampling rate in Hz.
        levels: number of levels of the amplitude, equidistant values from the smallest to the largest of ``range``,
            both included; 0 for floating-point values, which are continuous.
        channels: how files with several channels are converted to one.

    >>> WaveformInfo((512,), rate=8000).description
    'waveforms of 512 samples at 8,000 Hz'
    """

    kind: ClassVar[str] = "waveforms"
    inputs: ClassVar[str] = "waveform"

    range: tuple[float, float] = (-1.0, 1.0)
    rate: int = 8000
    levels: int = 0
    channels: Literal["mean", "first"] = "mean"

    def check(self) -> None:
        """Check values that come from a file.

        Raises:
            ValueError: if a value is not possible.
        """
        super().check()
        if len(self.shape) != 1 or self.rate < 1 or self.levels not in (0, *(1 << bits for bits in range(1, 17))):
            raise ValueError(
                f"waveforms need a shape of 1 size, a sampling rate of at least 1, and 2, 4, 8, …, 65,536 levels or 0, "
                f"got {list(self.shape)}, {self.rate} and {self.levels}"
            )
        if self.channels not in ("mean", "first"):
            raise ValueError(f"channels={self.channels!r} must be mean or first")

    @property
    def bounds(self) -> tuple[float, float]:
        """Smallest and largest value that a sample can have."""
        return self.range

    @property
    def bits(self) -> int:
        """Number of bits of a sample; 0 for floating-point values."""
        return max(0, self.levels.bit_length() - 1)

    @property
    def spacing(self) -> float | None:
        """The difference of neighboring levels; None for floating-point values.

        >>> WaveformInfo((512,), range=(-1.0, 127 / 128), levels=256).spacing
        0.0078125
        """
        low, high = self.range
        return (high - low) / (self.levels - 1) if self.levels else None

    @property
    def channel_names(self) -> tuple[str, ...]:
        """The name of the only channel."""
        return ("amplitude",)

    @property
    def milliseconds(self) -> float:
        """Duration of a waveform in milliseconds.

        >>> WaveformInfo((512,), rate=8000).milliseconds
        64.0
        """
        return 1000 * self.shape[0] / self.rate

    @property
    def format(self) -> str:
        """Length and sampling rate, for messages."""
        return f"{self.shape[0]:,} samples at {self.rate:,} Hz"

    @property
    def description(self) -> str:
        """A description of the examples for messages."""
        return f"waveforms of {self.format}"

    @property
    def units(self) -> str:
        """The sampling rate: the same samples at another rate are another sound."""
        return f"{self.rate} Hz"

    @property
    def input_description(self) -> str:
        """The input of a model in a sentence, for the model card."""
        levels = f" in {self.levels:,} levels" if self.levels else ""
        return f"Waveforms of {self.format} with one channel{levels}: a{self._tensor_description}"

    @property
    def density_note(self) -> str:
        """The unit of a probability density of waveforms, as a note on scores."""
        low, high = self.range
        return f"densities of amplitudes from {low:g} to {high:g}; a density can be above 1, and its logarithm above 0"


def range_of_levels(bits: int) -> tuple[float, float]:
    """The smallest and the largest amplitude of integers with a number of bits.

    >>> range_of_levels(8)
    (-1.0, 0.9921875)
    """
    return -1.0, 1.0 - 2.0 ** (1 - bits)
