"""Settings of waveforms: how WAV files are read, and the synthetic data set tones."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from danlu.data.base.page import Page


class Waveforms(Page):
    """How WAV files are converted to examples of one length."""

    window: Annotated[int, Field(ge=8)] = 1024
    """number of samples of an example"""
    hop: Annotated[int, Field(ge=1)] | None = None
    """samples from the start of an example to the start of the next one; if not given the window: no overlap"""
    bits: Annotated[int, Field(ge=2, le=16)] | None = None
    """bits of a sample: those of the files, at most 16, if not given; files with more bits are rounded down"""
    channels: Literal["mean", "first"] = "mean"
    """how files with several channels are converted to one: their mean, or the first one"""


class Tones(Page):
    """The synthetic waveforms of the data set tones."""

    examples: Annotated[int, Field(ge=1, le=10_000_000)] = 2000
    """number of waveforms, over all parts"""
    length: Annotated[int, Field(ge=8, le=1_000_000)] = 256
    """number of samples of a waveform, at 4,000 Hz"""
