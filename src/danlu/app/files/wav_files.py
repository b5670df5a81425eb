"""WAV files as inputs of a model, and generated waveforms as files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float
from torch import Tensor

from danlu.app.console.progress import Screen
from danlu.app.files.file_writer import FileWriter, Form, ImageGrid, npy
from danlu.app.files.find_files import find_files
from danlu.app.files.inputs import Input
from danlu.data.base.dataset import DataInfo
from danlu.data.waveforms.info import WaveformInfo
from danlu.data.waveforms.wav_file import UnreadableWav, read_wav, to_amplitudes, wav_bytes
from danlu.data.waveforms.wav_folder import WAV_FILES
from danlu.errors import RunError, UsageError


def find_wavs(paths: list[str | Path]) -> list[Path]:
    """The given files, and for a folder its WAV files in sorted order.

    Raises:
        UsageError: if a path does not exist, or a folder has no WAV files.
    """
    return find_files(paths, WAV_FILES.suffixes, "WAV files")


def read_windows(path: Path, info: DataInfo) -> Float[Tensor, "n length"]:
    """The windows of a WAV file as inputs of a model, without overlap; samples after the last window are left out.

    Integers with more bits than the model has are rounded down, and several channels are converted as in training.

    Raises:
        UsageError: if the inputs of the model are not waveforms.
        RunError: if the file cannot be read, has another sampling rate, fewer bits, or is too short.
    """
    if not isinstance(info, WaveformInfo):
        raise UsageError(f"this model takes {info.description}, not WAV files")
    try:
        wav = read_wav(path)
    except UnreadableWav as error:
        raise RunError(f"{path}: {error}") from error
    if wav.rate != info.rate:
        raise RunError(f"{path}: its sampling rate is {wav.rate:,} Hz, and the model has {info.rate:,} Hz")
    if 0 < wav.bits < info.bits:
        raise RunError(f"{path}: it has {wav.type_name}, and the model has {info.bits} bits")
    if wav.bits and not info.bits:
        raise RunError(f"{path}: it has {wav.type_name}, and the model has floating-point numbers")
    x = to_amplitudes(wav, info.bits, info.channels)
    length = info.shape[0]
    if len(x) < length:
        raise RunError(f"{path}: it has {len(x):,} samples, fewer than the {length:,} of an input of the model")
    return x.unfold(0, length, length).contiguous()


def read_wavs(
    files: Iterable[str | Path],
    info: DataInfo,
    invert: bool,
    encoding: str,
    screen: Screen,
    display: Callable[[str], str],
) -> Iterator[Input]:
    """The windows of files and folders as inputs; arguments as in ``inputs.inputs_of``."""
    for path in find_wavs(list(files)):
        try:
            x = read_windows(path, info)
        except RunError as error:  # the other files are still read
            yield Input([str(path)], None, str(error))
            continue
        length = x.shape[1]
        names = [f"{path}, samples {k * length} to {(k + 1) * length - 1}" for k in range(len(x))]
        yield Input(names if len(x) > 1 else [str(path)], x)


def _content(form: Form, x: Tensor, info: DataInfo, grid: ImageGrid | None, known: np.ndarray | None) -> bytes:
    assert isinstance(info, WaveformInfo), "only waveforms are written as sounds"
    return npy(x.cpu().numpy()) if form == "array" else wav_bytes(x.flatten(), info.rate, info.levels)


def _files(x: Tensor, info: DataInfo) -> list[bytes]:
    assert isinstance(info, WaveformInfo), "only waveforms are written as sounds"
    return [wav_bytes(one, info.rate, info.levels) for one in x]


WRITER = FileWriter(
    examples="waveforms",
    forms={".wav": "sound", ".npy": "array", "/": "folder"},
    endings=".wav (all waveforms one after another), .npy (an array) or / (a folder of WAV files)",
    writable=lambda info: True,
    content=_content,
    files=_files,
    suffix=".wav",
)
