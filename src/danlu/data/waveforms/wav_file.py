"""WAV files: read as amplitudes of one channel, and written."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

MOST_BITS = 16
"""largest number of bits of a sample: float32 represents each level and enough values between two neighboring levels"""
_BITS = {"u1": 8, "i2": 16, "i4": 32, "i8": 64}  # 24-bit samples are the upper bits of 32-bit integers


class UnreadableWav(ValueError):
    """The reason why a file cannot be read as a waveform."""


class Wav(NamedTuple):
    """The content of a WAV file.

    Attributes:
        values: the samples, (samples, channels): integers from -2^(bits - 1), or floating-point numbers.
        rate: sampling rate in Hz.
        bits: number of bits of an integer; 0 for floating-point numbers.
    """

    values: np.ndarray
    rate: int
    bits: int

    @property
    def type_name(self) -> str:
        """The type of the samples, for messages; 24 bits are read as the upper bits of 32."""
        if self.bits == 32:
            return "integers of 24 or 32 bits"
        return f"{self.bits}-bit integers" if self.bits else "floating-point numbers"


def read_wav(path: Path) -> Wav:
    """Read a WAV file: PCM with integers of up to 64 bits, or floating-point numbers.

    Raises:
        UnreadableWav: if it is not such a file, is truncated, has no samples, or a floating-point sample is not from
            -1 to 1.
    """
    from scipy.io import wavfile  # it loads slowly

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", wavfile.WavFileWarning)  # a truncated file
            # such as the name of the artist, and bytes after the last chunk
            warnings.filterwarnings("ignore", "Chunk|Incomplete chunk ID", wavfile.WavFileWarning)
            rate, values = wavfile.read(path)
    except OSError as error:
        raise UnreadableWav(error.strerror or str(error)) from error
    except MemoryError as error:
        raise UnreadableWav("there is not enough memory to read it") from error
    except Exception as error:  # scipy has no error of its own: an invalid header can be any error
        reason = (str(error).splitlines() or [""])[0].partition(". Supported")[0].rstrip(".")
        raise UnreadableWav(f"not a readable WAV file: {reason or type(error).__name__}") from error
    if rate < 1 or not values.size:
        raise UnreadableWav("it has no samples" if rate else "its sampling rate is 0")
    values = values.reshape(len(values), -1)
    if values.dtype.kind == "f":
        _check_amplitudes(values)
        return Wav(values, rate, 0)
    bits = _BITS[values.dtype.str[1:]]
    return Wav(values.astype(np.int16) - 128 if bits == 8 else values, rate, bits)


def _check_amplitudes(values: np.ndarray) -> None:
    """Check that floating-point samples are from -1 to 1."""
    wrong = ~(np.abs(values) <= 1).all(1)  # also NaN
    if wrong.any():
        place = int(wrong.argmax())
        value = next(value for value in values[place] if not abs(value) <= 1)
        what = f"the amplitude {value:g}" if np.isfinite(value) else "a value that is not a finite number"
        raise UnreadableWav(f"sample {place:,} has {what}; floating-point samples must be from -1 to 1")


def to_amplitudes(wav: Wav, bits: int, channels: Literal["mean", "first"] = "mean") -> Float[Tensor, "samples"]:
    """One channel of a file as amplitudes, rounded down to multiples of 2^(1 - bits).

    Args:
        wav: the file.
        bits: number of bits, at most that of integers in the file; 0 for floating-point numbers as they are.
        channels: the mean of the channels, or the first one.

    >>> stereo = Wav(np.array([[64, -64], [127, 126]], np.int16), 8000, 8)
    >>> to_amplitudes(stereo, 8), to_amplitudes(stereo, 2)
    (tensor([0.0000, 0.9844]), tensor([0.0000, 0.5000]))
    """
    values = wav.values[:, :1] if channels == "first" else wav.values
    if not wav.bits:
        x = values.astype(np.float64).mean(1)
        if bits:
            x = np.minimum(np.floor(x * 2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1) / 2.0 ** (bits - 1)
        return torch.from_numpy(x).float()
    # shifted before they are added, so that 64-bit integers do not overflow
    shift = max(wav.bits - 32, 0)
    total = (values >> shift).sum(1, dtype=np.int64) // values.shape[1]
    return torch.from_numpy((total >> (wav.bits - shift - bits)) / 2.0 ** (bits - 1)).float()


def wav_bytes(x: Float[Tensor, "samples"], rate: int, levels: int) -> bytes:
    """Amplitudes as the bytes of a WAV file with one channel. Amplitudes outside of [-1, 1] are clipped.

    Args:
        x: the amplitudes.
        rate: sampling rate in Hz.
        levels: number of levels: up to 256 are written with 8 bits, more with 16 bits; 0 as float32.
    """
    from scipy.io import wavfile  # it loads slowly

    values = x.detach().cpu().double().nan_to_num(0).clamp(-1, 1).numpy()
    if not levels:
        values = values.astype(np.float32)
    elif levels <= 1 << 8:
        values = (np.rint(values * 128).clip(-128, 127) + 128).astype(np.uint8)
    else:
        values = np.rint(values * 32768).clip(-32768, 32767).astype(np.int16)
    content = io.BytesIO()
    wavfile.write(content, rate, values)
    return content.getvalue()
