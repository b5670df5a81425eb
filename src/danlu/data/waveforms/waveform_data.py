"""Settings for training on waveforms."""

from __future__ import annotations

from typing import ClassVar

from danlu.data.settings import DataSettings
from danlu.data.waveforms.settings import Tones, Waveforms


class WaveformData(DataSettings):
    """Waveforms and how WAV files are converted to examples.

    >>> WaveformData(data="wav:drums", waveforms=Waveforms(window=512)).waveforms.hop is None
    True
    """

    kind: ClassVar[str] = "waveforms"

    waveforms: Waveforms = Waveforms()
    """how WAV files are converted to examples of one length"""
    tones: Tones = Tones()
    """number and length of the waveforms of the data set tones"""
