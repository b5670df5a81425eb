"""Image files that are damaged, huge, strange, too few or elsewhere, as a user meets them on the command line."""

import os
import signal
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from commands import with_options
from danlu.app.cli import main
from danlu.data import Images, Split, read_folder
from danlu.data.images import decode, worker_pool

MLP = ("train", "mlp", "--epochs", "1", "--batch_size", "4", "--model.hidden", "8", "--data")


@pytest.fixture(autouse=True)
def _places(tmp_path, monkeypatch):
    monkeypatch.setenv("DANLU_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def photos(tmp_path):
    """Twenty cats, which are dark, and twenty dogs, which are light."""
    for name, shade in (("cat", 20), ("dog", 200)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(20):
            Image.new("L", (6, 6), shade + number).save(tmp_path / "photos" / name / f"{number:02}.png")
    return tmp_path / "photos"


def danlu(capsys, *words):
    """Exit code, and what was said on standard output and standard error."""
    with pytest.raises(SystemExit) as ended:
        main.main([*words])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return ended.value.code, out, err


def refused(capsys, photos, *settings):
    """What was said; nothing was made, neither a run nor an entry of the cache."""
    code, _, err = danlu(capsys, *MLP, f"folder:{photos}", *settings)
    assert code == 2
    assert not Path("runs").exists()
    assert not list(Path("cache").rglob("*.bin"))
    return err


def test_a_folder_of_images_trains(photos, capsys):
    code, out, err = danlu(capsys, *MLP, f"folder:{photos}", "--out", "run")
    assert (code, err) == (0, "")
    assert "28 train, 4 validation, 8 test; 1×6×6, 2 classes" in out


def bomb(path):
    """A file of a hundred bytes that says it has 10 000 000 000 pixels."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b""))


def test_corrupt_empty_and_mislabeled_files_are_listed_before_the_first_step(photos, capsys):
    whole = (photos / "cat" / "00.png").read_bytes()
    (photos / "cat" / "03.png").write_bytes(whole[: len(whole) // 2])
    (photos / "cat" / "04.png").write_bytes(b"")
    (photos / "dog" / "05.png").write_text("these are words")
    said = refused(capsys, photos).splitlines()
    assert said[0] == "danlu: 3 of 40 files cannot be read:"
    assert [line.split(": ")[0] for line in said[1:4]] == [
        f"  {photos}/{n}.png" for n in ("cat/03", "cat/04", "dog/05")
    ]
    assert "the file is text, 'these are words'" in said[3]
    assert "--images.unreadable skip" in said[-1]
    code, out, _ = danlu(capsys, *MLP, f"folder:{photos}", "--images.unreadable", "skip", "--out", "run")
    assert code == 0
    assert "3 of 40 files could not be read and were left out: cat/03.png (" in out


def test_of_many_damaged_files_the_first_ten_are_listed(photos, capsys):
    for path in sorted((photos / "dog").iterdir())[:14]:
        path.write_bytes(b"")
    said = refused(capsys, photos).splitlines()
    assert said[0] == "danlu: 14 of 40 files cannot be read:"
    assert (said[1], said[11]) == (f"  {photos}/dog/00.png: the file is empty", "  and 4 more")


@pytest.mark.filterwarnings("error")
def test_a_huge_picture_is_refused_by_its_header_and_the_limit_can_be_set(photos, capsys):
    bomb(photos / "cat" / "bomb.png")
    said = refused(capsys, photos)
    assert "bomb.png: 100000 × 100000 = 10,000,000,000 pixels exceed the limit of 100,000,000" in said
    assert "--images.largest" in said
    (photos / "cat" / "bomb.png").unlink()
    assert "6 × 6 = 36 pixels exceed the limit of 35" in refused(capsys, photos, "--images.largest", "35")
    assert danlu(capsys, *MLP, f"folder:{photos}", "--images.largest", "36", "--out", "run")[0] == 0


def test_a_mixed_bag_has_the_documented_values(tmp_path):
    """One file of each kind, 2×2 pixels of one color each; the values are worked out by hand."""
    bag = tmp_path / "bag"
    bag.mkdir()
    turned = Image.Exif()
    turned[0x0112] = 6
    palette = Image.new("P", (2, 2), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    halves = Image.fromarray(np.array([[10, 10], [90, 90]], dtype=np.uint8))
    frames = [Image.new("RGB", (2, 2), c) for c in ((255, 0, 0), (0, 0, 255))]
    Image.new("CMYK", (2, 2), (51, 0, 255, 102)).save(bag / "a.tif")
    Image.fromarray(np.full((2, 2), 32896, dtype=np.uint16)).save(bag / "b.png")
    palette.save(bag / "c.png")
    Image.new("RGBA", (2, 2), (40, 40, 40, 51)).save(bag / "d.png")
    halves.save(bag / "e.png", exif=turned)
    frames[0].save(bag / "f.gif", save_all=True, append_images=frames[1:])
    Image.new("1", (2, 2), 1).save(bag / "g.png")
    Image.new("LA", (2, 2), (0, 0)).save(bag / "h.png")
    data = read_folder(str(bag), split=Split(validation=0.15, test=0.15))
    assert (data.info.shape, len(data.train), len(data.validation), len(data.test)) == ((3, 2, 2), 6, 1, 1)
    parts = torch.cat([data.train.fields["image"], data.validation.fields["image"], data.test.fields["image"]])
    found = sorted(example.tolist() for example in parts)
    dark_at_the_right = [[[90, 10], [90, 10]]] * 3  # the row at the top of the file is at the right of the scene
    colors = [(122, 153, 0), (128,) * 3, (10, 20, 30), (212,) * 3, (255, 0, 0), (255,) * 3, (255,) * 3]
    expected = [[[[value] * 2] * 2 for value in color] for color in colors]
    assert found == sorted([*expected, dark_at_the_right])


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda p: None, r"bag has no images"),
        (lambda p: (p / "a.txt").write_text("x"), r"it has other files (1 .txt)"),
        (lambda p: Image.new("L", (2, 2)).save(p / "a.png"), "bag has 1 usable image, and at least 3"),
        (
            lambda p: [
                (
                    (p / k).mkdir(),
                    [Image.new("L", (2, 2)).save(p / k / f"{n}.png") for n in range(5) if k != "dog"],
                )
                for k in ("ape", "cat", "dog")
            ],
            "bag: no images in dog/ (images by class: ape 5, cat 5); add images or remove the folder",
        ),
    ],
)
def test_folders_with_too_little_in_them(tmp_path, capsys, make, expected):
    (tmp_path / "bag").mkdir()
    make(tmp_path / "bag")
    said = refused(capsys, tmp_path / "bag")
    assert expected in said
    assert said.count("\n") == 1


def test_one_class_is_nothing_to_tell_apart(photos, capsys):
    """It is a data set, for those who need no labels; who classifies says so."""
    for path in (photos / "dog").iterdir():
        path.unlink()
    (photos / "dog").rmdir()
    code, _, err = danlu(capsys, *MLP, f"folder:{photos}")
    assert code == 2
    assert "needs labels of at least two classes, folder:" in err
    assert read_folder(str(photos)).info.classes == 1


def test_fewer_images_than_a_batch(photos, capsys):
    code, _, err = danlu(capsys, *with_options(MLP[:-1], "--batch_size", "64"), "--data", f"folder:{photos}")
    assert code == 2
    assert "batch_size=64 is larger than the training part of 28 examples" in err


@pytest.mark.parametrize("kind", ["file", "folder", "broken"])
def test_links_that_lead_out_of_the_folder_are_refused(photos, capsys, tmp_path, kind):
    secret = tmp_path / "secret"
    secret.mkdir()
    Image.new("L", (6, 6), 1).save(secret / "a.png")
    target = {"file": secret / "a.png", "folder": secret, "broken": secret / "b.png"}[kind]
    link = photos / "cat" / ("x.png" if kind != "folder" else "x")
    for way in (target, os.path.relpath(target, link.parent)):
        link.unlink(missing_ok=True)
        link.symlink_to(way)
        said = refused(capsys, photos)
        assert f"{link} is a link to {target}, which is outside of the folder" in said


def test_links_within_the_folder_show_no_file_twice(photos):
    (photos / "cat" / "x.png").symlink_to("00.png")
    (photos / "dog" / "all").symlink_to("..")  # which would go on for ever
    data = read_folder(str(photos))
    assert len(data.train) + len(data.validation) + len(data.test) == 40
    assert data.notes == ("2 other files are ignored: 2 links",)


def test_the_folder_itself_can_be_a_link(photos, tmp_path):
    (tmp_path / "here").symlink_to(photos)
    data = read_folder(str(tmp_path / "here"))
    assert data.fingerprint() == read_folder(str(photos)).fingerprint()


DECODE = decode.decode
DECODER = """
import os, signal, time
from danlu.data.images import decode as pictures

def decode(path, **options):
    if path.endswith("dog/07.png"):
        os.kill(os.getpid(), signal.SIGKILL)
    if path.endswith("cat/11.png"):
        time.sleep(1000)
    return pictures.decode(path, **options)
"""


def test_files_that_end_or_stop_the_process_that_decodes_them_are_named(photos, tmp_path, monkeypatch, capsys):
    modules = tmp_path / "modules"  # the processes import nothing from the current folder
    modules.mkdir()
    (modules / "decoder_of_faults.py").write_text(DECODER)
    monkeypatch.syspath_prepend(modules)
    import decoder_of_faults

    monkeypatch.setattr(worker_pool, "FEW_FILES", 0)
    monkeypatch.setattr(worker_pool, "TIMEOUT", 3.0)
    monkeypatch.setattr(decode, "decode", decoder_of_faults.decode)
    said = refused(capsys, photos).splitlines()
    killed = f"two processes that read the file ended unexpectedly (signal 9, {signal.strsignal(9)})"
    assert said[:3] == [
        "danlu: 2 of 40 files cannot be read:",
        f"  {photos}/cat/11.png: not read within 3 seconds",
        f"  {photos}/dog/07.png: {killed}",
    ]
    left = read_folder(str(photos), Images(unreadable="skip"))
    assert sum(map(len, (left.train, left.validation, left.test))) == 38
    assert left.notes[-1].startswith("2 of 40 files could not be read and were left out")
    monkeypatch.setattr(decode, "decode", DECODE)
    whole = read_folder(str(photos), Images(unreadable="skip"))
    assert (sum(map(len, (whole.train, whole.validation, whole.test))), whole.notes) == (40, ())
