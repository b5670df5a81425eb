"""WAV files written without danlu: integers by the standard library, floating-point numbers by hand."""

import struct
import wave
from pathlib import Path

import numpy as np


def write_pcm(path: Path, values, width: int = 2, rate: int = 8000) -> Path:
    """Integers of ``width`` bytes; the values are (samples,) or (samples, channels)."""
    values = np.asarray(values)
    values = values if values.ndim == 2 else values[:, None]
    whole = [int(v) + (128 if width == 1 else 0) for v in values.flatten()]  # 8 bits are stored without a sign
    with wave.open(str(path), "wb") as file:
        file.setnchannels(values.shape[1])
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(b"".join(v.to_bytes(width, "little", signed=width > 1) for v in whole))
    return path


def write_float(path: Path, values, rate: int = 8000, code: int = 3) -> Path:
    """32-bit floating-point numbers of one channel, or another format code with the same bytes."""
    data = np.asarray(values, "<f4").tobytes()
    form = struct.pack("<HHIIHH", code, 1, rate, 4 * rate, 4, 32)
    body = b"WAVE" + b"fmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(data)) + data
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    return path
