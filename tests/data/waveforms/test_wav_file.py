"""WAV files: every type of samples beside files written by the standard library; files that cannot be read."""

import struct
from contextlib import suppress

import numpy as np
import pytest
import torch

from danlu.data.waveforms.wav_file import UnreadableWav, read_wav, to_amplitudes, wav_bytes
from wav_writing import write_float, write_pcm

WIDTHS = {1: 8, 2: 16, 3: 24, 4: 32}
"""bits by the number of bytes"""


def extremes(bits, n=50):
    """The smallest and the largest integer, and random ones."""
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return np.array([low, high, 0, -1, 1, *np.random.default_rng(0).integers(low, high, n)], np.int64)


@pytest.mark.parametrize("width", WIDTHS)
def test_integers_are_divided_by_their_largest_power_of_two(width, tmp_path):
    bits, values = WIDTHS[width], extremes(WIDTHS[width])
    wav = read_wav(write_pcm(tmp_path / "a.wav", values, width, rate=11025))
    kept = min(bits, 16)
    assert wav.rate == 11025
    assert to_amplitudes(wav, kept).tolist() == [(int(v) >> (bits - kept)) / 2 ** (kept - 1) for v in values]


@pytest.mark.parametrize("width", WIDTHS)
def test_fewer_bits_round_down(width, tmp_path):
    bits, values = WIDTHS[width], extremes(WIDTHS[width])
    x = to_amplitudes(read_wav(write_pcm(tmp_path / "a.wav", values, width)), 5)
    exact = values / 2.0 ** (bits - 1)
    assert torch.equal(x, torch.from_numpy(np.floor(exact * 16) / 16).float())
    assert len(x.unique()) <= 32


def test_several_channels_are_averaged_or_the_first_is_taken(tmp_path):
    wav = read_wav(write_pcm(tmp_path / "a.wav", [[100, 50, -7], [-32768, -32768, -32768], [32767, 32766, 32767]]))
    assert (to_amplitudes(wav, 16) * 32768).tolist() == [47.0, -32768.0, 32766.0]  # rounded down
    assert (to_amplitudes(wav, 16, "first") * 32768).tolist() == [100.0, -32768.0, 32767.0]


def test_floating_point_numbers_stay_as_they_are_or_become_levels(tmp_path):
    values = [0.0, 1.0, -1.0, 0.2501, -0.2501, 1e-20]
    wav = read_wav(write_float(tmp_path / "a.wav", values))
    assert to_amplitudes(wav, 0).tolist() == torch.tensor(values).tolist()
    assert to_amplitudes(wav, 4).tolist() == [0.0, 0.875, -1.0, 0.25, -0.375, 0.0]


@pytest.mark.parametrize("levels", [0, 4, 256, 1 << 12, 1 << 16])
def test_written_amplitudes_are_read_again(levels, tmp_path):
    path, bits = tmp_path / "a.wav", (levels - 1).bit_length() if levels else 0
    index = torch.linspace(0, max(levels - 1, 1), 97, dtype=torch.float64)
    x = (index.floor() / (levels // 2) - 1 if levels else 2 * index - 1).float()
    path.write_bytes(wav_bytes(x, 4000, levels))
    wav = read_wav(path)
    assert (wav.rate, wav.bits) == (4000, 0 if not levels else 8 if levels <= 256 else 16)
    assert torch.equal(to_amplitudes(wav, bits), x)


def test_amplitudes_out_of_range_are_clipped_when_written(tmp_path):
    x = torch.tensor([1.5, -1.5, 1.0, torch.inf, torch.nan])
    for levels, largest in ((0, 1.0), (256, 127 / 128), (1 << 16, 1 - 2.0**-15)):
        (tmp_path / "a.wav").write_bytes(wav_bytes(x, 8000, levels))
        written = to_amplitudes(read_wav(tmp_path / "a.wav"), (levels - 1).bit_length() if levels else 0)
        assert written.tolist() == [largest, -1.0, largest, largest, 0.0]


def test_chunks_with_other_content_are_ignored(tmp_path):
    path = write_pcm(tmp_path / "a.wav", [1, 2, 3, 4])
    content = path.read_bytes()
    comment = b"LIST" + struct.pack("<I", 4) + b"text"
    path.write_bytes(content[:4] + struct.pack("<I", len(content) - 8 + len(comment)) + content[8:] + comment)
    assert len(read_wav(path).values) == 4


def cut(path):
    path.write_bytes(path.read_bytes()[:-3])
    return path


def text(path):
    path.write_text("hello, this is a text")
    return path


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (text, "not a readable WAV file: File format b'hell' not understood"),
        (lambda path: (path.write_bytes(b""), path)[1], "not a readable WAV file"),
        (lambda path: cut(write_pcm(path, range(50))), "not a readable WAV file: Reached EOF prematurely"),
        (lambda path: write_pcm(path, np.zeros((0, 1))), "it has no samples|not a readable WAV file"),
        (lambda path: write_float(path, [0.0] * 8, code=6), "not a readable WAV file: Unknown wave file format: ALAW$"),
        (
            lambda path: write_float(path, [0.0, 0.5, 1.5]),
            "sample 2 has the amplitude 1.5; floating-point samples must",
        ),
        (lambda path: write_float(path, [0.0, torch.nan]), "sample 1 has a value that is not a finite number"),
        (lambda path: write_float(path, [-torch.inf]), "sample 0 has a value that is not a finite number"),
        (lambda path: path, "No such file"),
    ],
)
def test_what_cannot_be_read_is_named_in_one_line(make, message, tmp_path):
    with pytest.raises(UnreadableWav, match=message) as error:
        read_wav(make(tmp_path / "a.wav"))
    assert "\n" not in str(error.value)


def test_damaged_headers_are_errors_of_one_kind(tmp_path):
    """Any byte of the header may be wrong."""
    content = write_pcm(tmp_path / "a.wav", range(40)).read_bytes()
    for place in range(44):
        for byte in (0, 1, 127, 255):
            damaged = bytearray(content)
            damaged[place] = byte
            (tmp_path / "b.wav").write_bytes(bytes(damaged))
            with suppress(UnreadableWav):
                assert read_wav(tmp_path / "b.wav").values.size
