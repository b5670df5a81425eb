"""WAV files as inputs of a model and as results: rates and types that do not fit, windows, names."""

import io

import numpy as np
import pytest
import torch

from danlu.app.console.progress import Screen
from danlu.app.files.file_writer import FileWriter
from danlu.app.files.inputs import inputs_of
from danlu.app.files.outputs import find_destination, write
from danlu.app.files.wav_files import WRITER, find_wavs, read_windows
from danlu.data import Split, Waveforms, read_waveforms
from danlu.data.kinds import info_from_json
from danlu.data.tables.info import TableInfo
from danlu.data.waveforms.info import WaveformInfo, range_of_levels
from danlu.errors import RunError, UsageError
from wav_writing import write_float, write_pcm

EIGHT_BITS = WaveformInfo((10,), range=range_of_levels(8), rate=8000, levels=256)
CONTINUOUS = WaveformInfo((10,), rate=8000)


def test_a_file_is_cut_into_windows_without_overlap(tmp_path):
    values = np.arange(35) - 20
    x = read_windows(write_pcm(tmp_path / "a.wav", values, width=1), EIGHT_BITS)
    assert (128 * x).tolist() == [list(range(start - 20, start - 10)) for start in (0, 10, 20)]


def test_more_bits_are_rounded_down_and_channels_averaged(tmp_path):
    x = read_windows(write_pcm(tmp_path / "a.wav", [[300, 301], [255, 255]] * 5), EIGHT_BITS)
    assert (128 * x[0]).tolist() == [1.0, 0.0] * 5


@pytest.mark.parametrize("channels", ["mean", "first"])
def test_channels_are_converted_as_in_training(channels, tmp_path):
    stereo = np.random.default_rng(0).integers(-99, 99, (10, 40, 2))
    for number, values in enumerate(stereo):
        write_pcm(tmp_path / f"{number}.wav", values)
    data = read_waveforms(str(tmp_path), Waveforms(window=10, channels=channels), Split(validation=0, test=0))
    info = info_from_json(data.info.to_json())
    x = torch.cat([read_windows(path, info) for path in find_wavs([tmp_path])])
    assert torch.equal(x.sort(0).values, data.train["waveform"].sort(0).values)


def test_inputs_have_the_name_of_the_file_and_the_place(tmp_path):
    write_pcm(tmp_path / "a.wav", range(10), width=1)
    write_pcm(tmp_path / "b.wav", range(25), width=1)
    write_pcm(tmp_path / "c.wav", range(9), width=1)
    found = list(inputs_of([tmp_path], EIGHT_BITS, False, "utf-8", Screen(True, io.StringIO())))
    assert [one.names for one in found] == [
        [str(tmp_path / "a.wav")],
        [f"{tmp_path / 'b.wav'}, samples 0 to 9", f"{tmp_path / 'b.wav'}, samples 10 to 19"],
        [str(tmp_path / "c.wav")],
    ]
    assert found[2].x is None
    assert "c.wav: it has 9 samples, fewer than the 10 of an input of the model" in found[2].error


@pytest.mark.parametrize(
    ("write_file", "info", "message"),
    [
        (
            lambda p: write_pcm(p, range(20), rate=4000),
            EIGHT_BITS,
            "its sampling rate is 4,000 Hz, and the model has 8,0",
        ),
        (
            lambda p: write_pcm(p, range(20)),
            CONTINUOUS,
            "it has 16-bit integers, and the model has floating-point numb",
        ),
        (
            lambda p: write_pcm(p, range(20), width=1),
            WaveformInfo((10,), range=range_of_levels(16), levels=1 << 16),
            "it has 8-bit integers, and the model has 16 bits",
        ),
        (lambda p: p.write_text("x"), EIGHT_BITS, "not a readable WAV file"),
    ],
)
def test_a_file_that_does_not_fit_is_an_error_with_its_name(write_file, info, message, tmp_path):
    write_file(tmp_path / "a.wav")
    with pytest.raises(RunError, match=f"a.wav: {message}"):
        read_windows(tmp_path / "a.wav", info)


def test_floating_point_files_fit_both_kinds_of_models(tmp_path):
    path = write_float(tmp_path / "a.wav", np.linspace(-1, 1, 10))
    assert read_windows(path, CONTINUOUS).double().numpy() == pytest.approx(np.linspace(-1, 1, 10)[None])
    assert torch.equal((128 * read_windows(path, EIGHT_BITS)).frac(), torch.zeros(1, 10))


def test_paths_without_waveforms_are_errors(tmp_path):
    with pytest.raises(UsageError, match=r"has no WAV files; allowed endings: \.wav, \.wave"):
        find_wavs([tmp_path])
    with pytest.raises(UsageError, match="no such file or folder"):
        find_wavs([tmp_path / "a.wav"])
    with pytest.raises(UsageError, match="this model takes rows with 3 columns, not WAV files"):
        read_windows(tmp_path, TableInfo((3,)))


@pytest.mark.parametrize("info", [EIGHT_BITS, CONTINUOUS], ids=["8 bits", "continuous"])
def test_written_waveforms_are_read_again_as_a_data_set(info, tmp_path):
    x = torch.rand(12, 10) * 2 - 1
    x = (128 * x).floor() / 128 if info.levels else x
    for name in ("one.wav", "many/"):
        write(find_destination(f"{tmp_path / name}{'/' * name.endswith('/')}", "model", "samples", info), x, info)
    assert torch.equal(read_windows(tmp_path / "one.wav", info), x)
    assert sorted(path.name for path in (tmp_path / "many").iterdir())[:2] == ["0000.wav", "0001.wav"]
    data = read_waveforms(str(tmp_path / "many"), Waveforms(window=10), Split(validation=0, test=0))
    assert torch.equal(data.train["waveform"], x)
    assert data.info == info


def test_the_writer_has_an_array_and_the_default_is_a_sound(tmp_path):
    x = torch.rand(3, 10)
    assert isinstance(WRITER, FileWriter)
    write(find_destination(tmp_path / "a.npy", "model", "samples", CONTINUOUS), x, CONTINUOUS)
    assert np.array_equal(np.load(tmp_path / "a.npy"), x.numpy())
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.json").write_text("{}")
    assert find_destination(None, run, "samples", CONTINUOUS).path == run / "samples.wav"
    with pytest.raises(UsageError, match=r"this model generates waveforms; the name must end in \.wav \(all waveforms"):
        find_destination(tmp_path / "a.png", "model", "samples", CONTINUOUS)


def test_a_terminal_gets_no_waveform_but_rows(monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    with pytest.raises(UsageError, match="a terminal cannot show a waveform; write to a file") as caught:
        find_destination("-", "model", "samples", CONTINUOUS)
    assert caught.value.settings == ("out=FILE.wav",)
    assert find_destination("-", "model", "samples", TableInfo((3,))).path is None
