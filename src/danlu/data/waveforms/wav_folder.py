"""Data sets from a folder of the user's WAV files, with one subfolder per class, or without classes."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from danlu.data.base.class_folders import parts_of_folder
from danlu.data.base.dataset import DataSet, Part
from danlu.data.base.folder_layout import FilesOfPart
from danlu.data.base.folder_listing import FileType, find_folder, list_files, note_on_ignored
from danlu.data.base.split_settings import Split
from danlu.data.waveforms.info import WaveformInfo, range_of_levels
from danlu.data.waveforms.settings import Waveforms
from danlu.data.waveforms.wav_file import MOST_BITS, UnreadableWav, Wav, read_wav, to_amplitudes
from danlu.errors import UsageError
from danlu.printable import printable
from danlu.storage.access import Access
from danlu.storage.available_memory import available_memory

WAV_FILES = FileType(
    one="WAV file",
    many="WAV files",
    file="WAV file",
    dataset="wav",
    suffixes=frozenset({".wav", ".wave"}),
    hints={
        **{
            suffix: f"convert {suffix[1:]} files to WAV, for example with ffmpeg"
            for suffix in (".mp3", ".flac", ".ogg", ".m4a", ".aif", ".aiff")
        },
        **dict.fromkeys((".png", ".jpg", ".jpeg"), "for images, write folder: before the path"),
        ".txt": "for text, write text: before the path",
    },
)


def read_waveforms(
    argument: str = "", waveforms: Waveforms = Waveforms(), split: Split = Split(), access: Access | None = None
) -> DataSet:
    """Windows of the WAV files in a folder: ``waveform`` is (n, window); ``label`` (n,) if there are classes.

    ``data.base.class_folders.parts_of_folder`` describes the layouts of folders. Files are split into parts before they
    are cut into windows, so no file has windows in two parts. The samples at the end of a file that do not fill a
    window are left out and counted in the notes.

    Amplitudes are from -1 to 1. Integers with b bits are divided by 2^(b - 1), so they have 2^b levels; those with more
    than ``waveforms.bits``, or more than 16, bits are rounded down to a level first. Floating-point numbers stay as
    they are unless ``waveforms.bits`` is given.

    Args:
        argument: path of the folder, relative to the current folder.
        waveforms: how the files are read.
        split: fractions and seed of the parts that are not official.
        access: has the progress callback.

    Raises:
        UsageError: if the folder has another layout or too few files, a file cannot be read, is constant or shorter
            than the window, files have different sampling rates or types, or the windows do not fit in memory.

    >>> import tempfile
    >>> from danlu.data.waveforms.wav_file import wav_bytes
    >>> folder = Path(tempfile.mkdtemp())
    >>> for number in range(10):
    ...     _ = (folder / f"{number}.wav").write_bytes(wav_bytes(torch.rand(100), 8000, 256))
    >>> data = read_waveforms(str(folder), Waveforms(window=32))
    >>> data.info.shape, data.info.levels, len(data.train), len(data.validation), len(data.test)
    ((32,), 256, 21, 3, 6)
    """
    access = access or Access()
    root = find_folder(argument, WAV_FILES)
    listing = list_files(root, WAV_FILES.suffixes, access.progress)
    folder = parts_of_folder(root, listing, WAV_FILES, split)
    reader = _Reader(root, waveforms, len(folder.files), access)
    train, validation, test = (reader.part(part) for part in folder.parts.values())
    reader.check_lengths()
    bits = reader.bits
    info = WaveformInfo(
        shape=(waveforms.window,),
        classes=len(folder.classes),
        class_names=tuple(map(printable, folder.classes)),
        range=range_of_levels(bits) if bits else (-1.0, 1.0),
        rate=reader.rate,
        levels=1 << bits if bits else 0,
        channels=waveforms.channels,
    )
    notes = (*note_on_ignored(listing), *reader.notes())
    return DataSet(f"wav:{printable(root.resolve().name)}", info, train, validation, test, notes)


class _Short(NamedTuple):
    """A file that is shorter than the window."""

    samples: int
    path: Path


class _Reader:
    """Reads the files of one data set, which must have one sampling rate and one type of samples.

    Args:
        root: the folder.
        settings: how the files are read.
        count: number of files, for the progress.
        access: has the progress callback.
    """

    def __init__(self, root: Path, settings: Waveforms, count: int, access: Access):
        self.root, self.settings, self.count, self.access = root, settings, count, access
        self.window, self.hop = settings.window, settings.hop or settings.window
        self.rate = self.bits = self.done = self.unused = self.bytes = 0
        self.rounded = False
        self.first: Path | None = None
        self.first_type = ""
        self.short: list[_Short] = []
        self.memory = available_memory()

    def part(self, files: FilesOfPart) -> Part:
        """The windows of the files of a part."""
        windows = [self._windows(self.root / file.path) for file in files.files]
        counts = torch.tensor([len(of_file) for of_file in windows], dtype=torch.int64)  # also of no files
        labels = {name: label.repeat_interleave(counts) for name, label in files.labeled().items()}
        x = torch.cat(windows) if windows else torch.empty(0, self.window)
        return Part({"waveform": x, **labels})

    def check_lengths(self) -> None:
        """Check that no file is shorter than the window.

        Raises:
            UsageError: if a file is.
        """
        if self.short:
            shortest = min(self.short)
            count = "1 file is" if len(self.short) == 1 else f"{len(self.short):,} files are"
            raise UsageError(
                f"{count} shorter than waveforms.window={self.window}: {_name(shortest.path)} has "
                f"{shortest.samples:,} samples; reduce the window, or remove such files",
                settings=("waveforms.window",),
            )

    def notes(self) -> list[str]:
        """Remarks on what was left out or rounded."""
        notes = []
        if self.rounded:
            notes.append(f"samples with more than {self.bits} bits are rounded down to {self.bits} bits")
        if self.unused:
            notes.append(f"{self.unused:,} samples at the ends of files do not fill a window and are left out")
        return notes

    def _windows(self, path: Path) -> Float[Tensor, "windows window"]:
        try:
            wav = read_wav(path)
        except UnreadableWav as error:
            raise UsageError(f"{_name(path)}: {error}") from error
        self._check_format(path, wav)
        x = to_amplitudes(wav, self.bits, self.settings.channels)
        if x.min() == x.max():
            raise UsageError(f"{_name(path)}: all samples have the amplitude {float(x[0]):g}; remove the file")
        self.done += 1
        self.access.progress("reading WAV files", self.done, self.count)
        if len(x) < self.window:
            self.short.append(_Short(len(x), path))
            return x.new_empty(0, self.window)
        windows = x.unfold(0, self.window, self.hop)
        self.unused += (len(x) - self.window) % self.hop
        self.bytes += 2 * windows.numel() * 4  # those of a part are copied into one tensor
        if self.bytes > self.memory:
            raise UsageError(
                f"the windows need more than the {self.memory:,} bytes of memory that are available; increase "
                f"waveforms.hop, or use fewer files",
                settings=("waveforms.hop",),
            )
        return windows.contiguous()

    def _check_format(self, path: Path, wav: Wav) -> None:
        """Check that a file has the sampling rate and the type of the first one, and enough bits."""
        wanted = self.settings.bits
        bits = wanted or min(wav.bits, MOST_BITS)
        if self.first is None:
            self.first, self.rate, self.bits, self.first_type = path, wav.rate, bits, wav.type_name
        if wav.rate != self.rate:
            raise UsageError(
                f"{_name(path)} has a sampling rate of {wav.rate:,} Hz, and {_name(self.first)} one of "
                f"{self.rate:,} Hz; all files must have the same rate"
            )
        if wanted and 0 < wav.bits < wanted:
            raise UsageError(
                f"{_name(path)} has {wav.type_name}, fewer than waveforms.bits={wanted}; use at most {wav.bits}",
                settings=("waveforms.bits",),
            )
        if bits != self.bits:
            raise UsageError(
                f"{_name(path)} has {wav.type_name}, and {_name(self.first)} has {self.first_type}; set waveforms.bits "
                f"to convert both",
                settings=("waveforms.bits",),
            )
        self.rounded = self.rounded or wav.bits > self.bits


def _name(path: Path) -> str:
    return printable(str(path))
