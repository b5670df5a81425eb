"""The description of waveforms: which values are possible."""

import pytest

from danlu.data.waveforms.info import WaveformInfo


@pytest.mark.parametrize("rate", [1, 8000])
@pytest.mark.parametrize("levels", [0, 2, 256, 1 << 16])
def test_possible_values_pass(rate, levels):
    WaveformInfo((1,), rate=rate, levels=levels).check()


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"rate": 0}, r"\[4\], 0 and 0$"),
        ({"levels": 1}, r"\[4\], 8000 and 1$"),
        ({"levels": 1 << 17}, r"\[4\], 8000 and 131072$"),
        ({"levels": 100}, r"\[4\], 8000 and 100$"),
        ({"shape": (1, 4)}, r"\[1, 4\], 8000 and 0$"),
    ],
)
def test_impossible_values_are_named(changes, found):
    with pytest.raises(ValueError, match=rf"waveforms need a shape of 1 size, .*, got {found}"):
        WaveformInfo(**{"shape": (4,), **changes}).check()


@pytest.mark.unchecked
def test_an_unknown_conversion_of_channels_is_named():
    with pytest.raises(ValueError, match="channels='left' must be mean or first"):
        WaveformInfo((4,), channels="left").check()
