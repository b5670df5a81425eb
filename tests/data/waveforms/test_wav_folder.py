"""A folder of WAV files as a data set: windows, parts by file, classes, and what is refused."""

import numpy as np
import pytest
import torch

from danlu.data import Split, TrainingData, Waveforms, read_waveforms
from danlu.data.base.dataset import PARTS
from danlu.data.kinds import info_from_json
from danlu.data.waveforms import wav_folder
from danlu.data.waveforms.info import WaveformInfo
from danlu.errors import UsageError
from danlu.recipes import as_recipe
from danlu.recipes.config.build import build
from danlu.storage.access import Access
from wav_writing import write_float, write_pcm

WINDOW = Waveforms(window=10)


def numbered(folder, count=10, samples=45, offset=0):
    """Files with the integers 100 k, 100 k + 1, …, so that a sample tells its file and its place."""
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(count):
        write_pcm(folder / f"{k:02}.wav", 100 * (k + offset) + np.arange(samples))
    return folder


def integers(part):
    return (part["waveform"] * 32768).round().long()


def test_windows_are_cut_from_each_file(tmp_path):
    data = read_waveforms(str(numbered(tmp_path / "a")), WINDOW)
    x = torch.cat([integers(data.part(name)) for name in PARTS])
    x = x[x[:, 0].argsort()]
    expected = [list(range(100 * k + start, 100 * k + start + 10)) for k in range(10) for start in (0, 10, 20, 30)]
    assert x.tolist() == expected
    assert data.notes == ("50 samples at the ends of files do not fill a window and are left out",)
    assert data.name == "wav:a"


@pytest.mark.parametrize("hop", [1, 3, 10, 14, 40])
def test_the_hop_is_the_distance_of_windows(hop, tmp_path):
    data = read_waveforms(str(numbered(tmp_path / "a")), Waveforms(window=10, hop=hop))
    first = sorted(integers(data.train)[:, 0].tolist())
    files = sorted({k // 100 for k in first})
    assert first == [100 * k + start for k in files for start in range(0, 36, hop)]


def test_a_file_is_in_one_part_only(tmp_path):
    data = read_waveforms(str(numbered(tmp_path / "a", 20)), Waveforms(window=10, hop=2))
    files = [{k // 100 for k in integers(data.part(name))[:, 0].tolist()} for name in PARTS]
    assert [len(one) for one in files] == [14, 2, 4]
    assert len(set.union(*files)) == 20


def test_subfolders_are_classes(tmp_path):
    for label, name in enumerate(("drum", "flute")):
        numbered(tmp_path / "a" / name, 10, offset=50 * label)
    data = read_waveforms(str(tmp_path / "a"), WINDOW)
    assert (data.info.classes, data.info.class_names) == (2, ("drum", "flute"))
    for name in PARTS:
        part = data.part(name)
        assert part["label"].tolist() == (integers(part)[:, 0] >= 5000).long().tolist()


@pytest.mark.parametrize("empty", ["validation", "test"])
def test_a_part_without_files_has_no_labels(empty, tmp_path):
    for label, name in enumerate(("drum", "flute")):
        numbered(tmp_path / "a" / name, 10, offset=50 * label)
    data = read_waveforms(str(tmp_path / "a"), WINDOW, Split(**{empty: 0}))
    assert len(data.part(empty)) == 0
    assert data.part(empty)["label"].dtype == data.train["label"].dtype == torch.int64


def test_parts_can_be_folders(tmp_path):
    for number, name in enumerate(("train", "val", "test")):
        numbered(tmp_path / "a" / name, 3, offset=10 * number)
    data = read_waveforms(str(tmp_path / "a"), WINDOW)
    assert [int(integers(data.part(name)).min()) // 1000 for name in PARTS] == [0, 1, 2]


def test_the_description_of_integers(tmp_path):
    data = read_waveforms(str(numbered(tmp_path / "a")), WINDOW)
    assert data.info == WaveformInfo((10,), range=(-1.0, 1 - 2.0**-15), rate=8000, levels=1 << 16)
    assert data.info.spacing == 2.0**-15
    assert info_from_json(data.info.to_json()) == data.info


def test_values_are_on_the_levels_of_the_description(tmp_path):
    for k in range(10):
        write_pcm(tmp_path / f"{k}.wav", np.random.default_rng(k).integers(-32768, 32767, 30))
    info, x = (
        (data := read_waveforms(str(tmp_path), Waveforms(window=10, bits=6))).info,
        data.train["waveform"].double(),
    )
    assert info.levels == 64
    steps = (x - info.range[0]) / info.spacing
    assert torch.equal(steps, steps.round())
    assert ((steps >= 0) & (steps <= 63)).all()


def test_floating_point_numbers_are_continuous(tmp_path):
    source = np.random.default_rng(0)
    for k in range(10):
        write_float(tmp_path / f"{k}.wav", source.uniform(-1, 1, 30))
    data = read_waveforms(str(tmp_path), WINDOW)
    assert (data.info.levels, data.info.spacing, data.info.range) == (0, None, (-1.0, 1.0))
    assert read_waveforms(str(tmp_path), Waveforms(window=10, bits=8)).info.levels == 256


def test_many_bits_are_rounded_with_a_note(tmp_path):
    for k in range(10):
        write_pcm(tmp_path / f"{k}.wav", np.arange(20) * 300 + k, width=3)
    data = read_waveforms(str(tmp_path), WINDOW)
    assert data.notes == ("samples with more than 16 bits are rounded down to 16 bits",)
    assert data.info.levels == 1 << 16


def test_the_sampling_rate_is_part_of_the_fingerprint(tmp_path):
    for rate in (8000, 16000):
        (tmp_path / str(rate)).mkdir()
        for k in range(10):
            write_pcm(tmp_path / str(rate) / f"{k}.wav", np.arange(20) + k, rate=rate)
    prints = {read_waveforms(str(tmp_path / str(rate)), WINDOW).fingerprint() for rate in (8000, 16000)}
    assert len(prints) == 2


def one_more(**how):
    def change(folder):
        write_pcm(folder / "odd.wav", **{"values": np.arange(20), **how})

    return change


def replace_by(write):
    def change(folder):
        for path in folder.iterdir():
            path.unlink()
        write(folder)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (one_more(rate=16000), r"odd\.wav has a sampling rate of 16,000 Hz, and .*\d\.wav one of 8,000 Hz; all files"),
        (one_more(width=1), r"odd\.wav has 8-bit integers, and .*\.wav has 16-bit integers; set waveforms\.bits"),
        (
            lambda folder: write_float(folder / "odd.wav", np.linspace(0, 1, 20)),
            r"odd\.wav has floating-point numbers, and .*\.wav has 16-bit integers; set waveforms\.bits to convert",
        ),
        (
            lambda folder: write_float(folder / "odd.wav", [0.1] * 15 + [torch.nan]),
            r"odd\.wav: sample 15 has a value that is not a finite number",
        ),
        (
            one_more(values=np.arange(9)),
            r"1 file is shorter than waveforms\.window=10: .*odd\.wav has 9 samples; reduce",
        ),
        (one_more(values=[7] * 20), r"odd\.wav: all samples have the amplitude 0\.00021362.*; remove the file"),
        (lambda folder: (folder / "odd.wav").write_text("text"), r"odd\.wav: not a readable WAV file"),
        (replace_by(lambda folder: None), r"has no WAV files in a supported format; supported suffixes: \.wav, \.wave"),
        (
            replace_by(lambda folder: (folder / "a.mp3").write_text("")),
            r"it has other files \(1 \.mp3\); convert mp3 files to WAV",
        ),
        (
            replace_by(lambda folder: (folder / "a.png").write_text("")),
            r"it has other files \(1 \.png\); for images, write folder: before the path",
        ),
        (
            replace_by(lambda folder: (folder / "a.txt").write_text("")),
            r"it has other files \(1 \.txt\); for text, write text: before the path",
        ),
        (
            replace_by(lambda folder: write_pcm(folder / "a.wav", np.arange(30))),
            r"has 1 usable WAV file, and at least 3 are needed",
        ),
    ],
)
def test_a_folder_that_cannot_be_used_is_an_error_in_one_line(change, message, tmp_path):
    folder = numbered(tmp_path / "a", 5)
    change(folder)
    with pytest.raises(UsageError, match=message) as error:
        # all files are for training, so the order does not depend on the split
        read_waveforms(str(folder), WINDOW, Split(validation=0, test=0))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("first", ["-a", "z"])
def test_bits_convert_files_of_both_types(first, tmp_path):
    folder = numbered(tmp_path / "a", 5)
    write_float(folder / f"{first}.wav", np.linspace(0, 1, 20))
    assert read_waveforms(str(folder), Waveforms(window=10, bits=12)).info.levels == 1 << 12


def test_more_bits_than_a_file_has_are_an_error(tmp_path):
    for k in range(10):
        write_pcm(tmp_path / f"{k}.wav", np.arange(20) + k, width=1)
    with pytest.raises(UsageError, match=r"8-bit integers, fewer than waveforms\.bits=12; use at most 8") as error:
        read_waveforms(str(tmp_path), Waveforms(window=10, bits=12))
    assert error.value.settings == ("waveforms.bits",)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("", "the data set wav needs the path of a folder, for example wav:PATH"),
        ("nowhere", "folder not found: nowhere"),
        ("a.wav", r"wav:a\.wav is a file; give the folder that contains it"),
    ],
)
def test_an_argument_that_is_no_folder_is_an_error(argument, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_pcm(tmp_path / "a.wav", range(20))
    with pytest.raises(UsageError, match=message):
        read_waveforms(argument)


def test_windows_that_do_not_fit_in_memory_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(wav_folder, "available_memory", lambda: 20_000)
    read_waveforms(str(numbered(tmp_path / "a")), WINDOW)
    with pytest.raises(UsageError, match=r"need more than the 20,000 bytes of memory .* increase waveforms\.hop"):
        read_waveforms(str(tmp_path / "a"), Waveforms(window=10, hop=1))


def test_a_folder_of_waveforms_read_as_images_says_what_to_type(tmp_path):
    with pytest.raises(UsageError, match="for waveforms, write wav: before the path"):
        TrainingData(data=f"folder:{numbered(tmp_path / 'a')}").load()


def test_progress_is_reported(tmp_path):
    seen = []
    access = Access(progress=lambda task, done, total: seen.append((task, done, total)))
    read_waveforms(str(numbered(tmp_path / "a")), WINDOW, access=access)
    assert seen[-1] == ("reading WAV files", 10, 10)


def test_a_recipe_of_images_refuses_waveforms_and_names_the_kind():
    with pytest.raises(UsageError, match="this recipe needs data of kind images or table; tones is of kind waveforms"):
        build(as_recipe("mlp", {"data": "tones"}))
