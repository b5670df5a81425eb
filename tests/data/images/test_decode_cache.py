"""Files decoded once: the cache is used, made anew when it must be, and never seen half-written."""

import errno
import gc
import json
import os
import re
import shutil
import signal
import sys
import time
from collections import namedtuple
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from commands import start_code
from danlu.data import Images
from danlu.data.images import decode, worker_pool
from danlu.data.images import decode_cache as cache
from danlu.data.images.decode_cache import decode_files
from danlu.data.images.image_folder import list_images
from danlu.errors import RunError, UsageError
from danlu.storage import Access, cache_entries, contents
from danlu.storage.access import no_progress
from danlu.storage.contents import file_digest
from danlu.storage.regular_file import open_regular

DECODE = decode.decode


@pytest.fixture(autouse=True)
def shelf(tmp_path, monkeypatch):
    """Where entries lie."""
    monkeypatch.setenv("DANLU_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "decoded"


@pytest.fixture
def photos(tmp_path):
    """Twelve files of 3×4 pixels, each of the shade of its number."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(12):
        Image.new("L", (4, 3), number).save(folder / f"{number:02}.png")
    return folder


def load(photos, access=None, **images):
    return decode_files(photos, list_images(photos, no_progress).files, Images(**images), access or Access())


def shades(found):
    """Of each example, which must be of one shade."""
    flat = found.images.flatten(1)
    assert (flat == flat[:, :1]).all()
    return flat[:, 0].tolist()


def refuse_to_decode(monkeypatch):
    def refuse(*args, **options):
        raise AssertionError("was asked to decode")

    monkeypatch.setattr(decode, "decode", refuse)
    monkeypatch.setattr(decode, "header", refuse)


def test_the_second_time_nothing_is_decoded(photos, monkeypatch, shelf):
    first = load(photos)
    assert (first.images.shape, first.images.dtype, shades(first)) == ((12, 1, 3, 4), torch.uint8, list(range(12)))
    refuse_to_decode(monkeypatch)
    second = load(photos)
    assert torch.equal(second.images, first.images)
    assert second[1:] == first[1:] == ({}, (), (), first.source, "")
    assert first.source


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_examples_are_mapped_and_take_no_memory(photos, shelf):
    """The tensor lies in a region of memory that the system fills from the file; a view of it does too."""
    images = load(photos).images
    path = str(next(shelf.iterdir()) / "images.bin")
    with open("/proc/self/maps") as file:
        regions = [line.split()[0].split("-") for line in file if line.rstrip().endswith(path)]
    inside = [int(start, 16) <= images[5:].data_ptr() < int(end, 16) for start, end in regions]
    assert sum(inside) == 1
    images[0] = 99  # which nobody should do, and which does no harm
    assert Path(path).read_bytes() == bytes(number for number in range(12) for _ in range(12))


def test_more_than_the_memory_can_hold_is_mapped(tmp_path):
    """A file of twice the machine's memory, which takes no room on the disk, for nothing was written to it."""
    size = 2 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with open(tmp_path / "x", "wb") as file:
        file.truncate(size)
    images = cache.map_file(tmp_path / "x")
    assert (len(images), images[-1].item()) == (size, 0)


def same_size(path):
    """Other pixels in a file of the same number of bytes, with the same time of modification."""
    state = path.stat()
    Image.new("L", (4, 3), 200).save(path)
    assert path.stat().st_size == state.st_size
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda p: Image.new("L", (4, 3), 200).save(p / "03.png"), [0, 1, 2, 200, *range(4, 12)]),
        (lambda p: same_size(p / "03.png"), [0, 1, 2, 200, *range(4, 12)]),
        (lambda p: (p / "03.png").unlink(), [0, 1, 2, *range(4, 12)]),
        (lambda p: (p / "03.png").rename(p / "99.png"), [0, 1, 2, *range(4, 12), 3]),
        (lambda p: Image.new("L", (4, 3), 200).save(p / "99.png"), [*range(12), 200]),
    ],
)
def test_it_is_decoded_anew_when_a_file_changes(photos, change, expected):
    assert shades(load(photos)) == list(range(12))
    change(photos)
    assert shades(load(photos)) == expected


def test_settings_that_matter_have_entries_of_their_own(photos, shelf):
    for settings in ({}, {"size": (2,)}, {"size": (2, 3)}, {"color": "rgb"}, {"fit": "pad"}):
        load(photos, **settings)
    assert len(list(shelf.iterdir())) == 5
    load(photos, unreadable="skip")
    assert len(list(shelf.iterdir())) == 5


def test_the_order_is_that_of_the_list(photos):
    files = list_images(photos, no_progress).files
    order = [5, 3, 11, 0, 1, 2, 4, 6, 10, 9, 8, 7]
    found = decode_files(photos, [files[number] for number in order], Images(), Access())
    assert shades(found) == order


def truncated(entry):
    os.truncate(entry / "images.bin", 50)


def written_to(entry):
    with open(entry / "images.bin", "r+b") as file:
        file.write(b"\x63")


def another_page(entry, **changes):
    page = json.loads((entry / "page.json").read_text())
    (entry / "page.json").write_text(json.dumps({**page, **changes}))


@pytest.mark.parametrize(
    "damage",
    [
        truncated,
        written_to,
        lambda entry: (entry / "images.bin").unlink(),
        lambda entry: (entry / "page.json").unlink(),
        lambda entry: (entry / "page.json").write_text("{"),
        lambda entry: (entry / "page.json").write_text("[1]"),
        lambda entry: os.truncate(entry / "page.json", 0),
        partial(another_page, format=99),
        partial(another_page, shape=[12, 1, 4, 3]),
        partial(another_page, left_out=[[3, "it is gone"]]),
        lambda entry: (shutil.rmtree(entry), entry.write_text("a file")),
    ],
)
def test_a_damaged_entry_is_made_anew(photos, damage, shelf):
    assert shades(load(photos)) == list(range(12))
    (entry,) = shelf.iterdir()
    damage(entry)
    again = load(photos)
    assert (shades(again), tuple(again.images.shape)) == (list(range(12)), (12, 1, 3, 4))
    assert [path.name for path in shelf.iterdir()] == [entry.name], "and nothing lies about"


def test_other_processes_change_nothing(photos, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    for number in range(40):
        Image.fromarray(rng.integers(0, 256, (5 + number % 3, 7, 3), dtype=np.uint8)).save(photos / f"n{number:02}.png")
    (photos / "n05.png").write_bytes(b"")
    here = load(photos, unreadable="skip")
    monkeypatch.setenv("DANLU_CACHE", str(tmp_path / "other"))
    monkeypatch.setattr(worker_pool, "FEW_FILES", 0)
    there = load(photos, unreadable="skip")
    assert torch.equal(here.images, there.images)
    assert here[1:-2] == there[1:-2]
    assert here.left_out == {17: "the file is empty"}


def test_the_size_of_most_files_is_taken_or_a_square(photos):
    Image.new("L", (8, 6), 3).save(photos / "x.png")
    found = load(photos)
    assert tuple(found.images.shape) == (13, 1, 3, 4)
    assert found.resized == (
        "the files have 2 sizes, from 3×4 to 6×8 (height×width); they are resized to 3×4 and cropped at the center "
        "where the shape differs. --images.size sets another size, --images.fit another way"
    )
    assert load(photos).resized == found.resized  # from the cache
    for number in range(10):
        Image.new("L", (5, 5), 3).save(photos / f"y{number}.png")
    assert tuple(load(photos).images.shape[1:]) == (1, 3, 4)  # 12 of 23
    for number in range(10, 20):
        Image.new("L", (9, 5 + number), 3).save(photos / f"y{number}.png")
    assert tuple(load(photos).images.shape[1:]) == (1, 5, 5)  # the shorter sides: 12 of 3, 10 of 5, 1 of 6, 10 of 9
    assert load(photos, size=(7,)).resized == ""


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_large_images_become_squares_of_64(tmp_path, fit):
    for number in range(10):
        Image.new("RGB", (90, 70), (number, 0, 0)).save(tmp_path / f"{number}.png")
    found = load(tmp_path, fit=fit)
    assert tuple(found.images.shape) == (10, 3, 64, 64)
    assert found.resized.startswith("the files are 70×90 (height×width); they are resized to 64×64 and ")
    assert fit[:4] in found.resized
    assert tuple(load(tmp_path, size=(70, 90)).images.shape) == (10, 3, 70, 90)


def test_color_is_what_the_files_need(photos):
    Image.fromarray(np.full((3, 4), 257 * 9, dtype=np.uint16)).save(photos / "deep.png")
    Image.new("LA", (4, 3), (3, 255)).save(photos / "la.png")
    Image.new("1", (4, 3), 1).save(photos / "bit.png")
    assert load(photos).images.shape[1] == 1
    assert load(photos, color="rgb").images.shape[1] == 3
    Image.new("RGB", (4, 3), (3, 3, 3)).save(photos / "rgb.png")
    assert load(photos).images.shape[1] == 3
    assert load(photos, color="gray").images.shape[1] == 1


def damage_some(photos):
    (photos / "02.png").write_bytes(b"")
    (photos / "07.png").write_bytes((photos / "08.png").read_bytes()[:40] + b"not a picture")
    (photos / "11.png").write_text("a text")


@pytest.mark.parametrize("settings", [{}, {"size": (3, 4), "color": "gray"}])  # with and without a look at headers
def test_unreadable_files_are_all_named_and_nothing_is_kept(photos, settings, shelf):
    damage_some(photos)
    with pytest.raises(UsageError) as refused:
        load(photos, **settings)
    lines = str(refused.value).split("\n")
    assert lines[0] == "3 of 12 files cannot be read:"
    assert [line.partition(": ")[0] for line in lines[1:4]] == [f"  {photos}/{n}.png" for n in ("02", "07", "11")]
    assert lines[1].endswith(": the file is empty")
    assert "set images.unreadable to skip" in lines[-1]
    assert refused.value.settings == ("images.unreadable=skip", "images.largest")
    assert list(shelf.iterdir()) == []


@pytest.mark.parametrize("settings", [{}, {"size": (3, 4), "color": "gray"}])
def test_unreadable_files_are_left_out_when_that_is_asked_for(photos, settings, monkeypatch):
    damage_some(photos)
    found = load(photos, unreadable="skip", **settings)
    assert shades(found) == [0, 1, 3, 4, 5, 6, 8, 9, 10]
    assert sorted(found.left_out) == [2, 7, 11]
    with pytest.raises(UsageError, match="3 of 12"):
        load(photos, **settings)  # what was skipped before is not skipped when it is not asked for
    refuse_to_decode(monkeypatch)
    again = load(photos, unreadable="skip", **settings)
    assert torch.equal(again.images, found.images)
    assert again[1:] == found[1:]


@pytest.mark.parametrize("settings", [{}, {"size": (3, 4), "color": "gray"}])
@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), MemoryError()])
def test_what_may_have_passed_is_tried_again(photos, monkeypatch, settings, error):
    """A disk that fails for a while; a file that is damaged stays out, and is not looked at again."""
    (photos / "05.png").write_bytes(b"")
    failing, opened = {"03.png", "07.png"}, []

    def open_(path):
        opened.append(Path(path).name)
        if Path(path).name in failing:
            raise error
        return open_regular(path)

    monkeypatch.setattr(decode, "open_regular", open_)
    read = partial(load, photos, unreadable="skip", **settings)
    assert shades(read()) == [0, 1, 2, 4, 6, 8, 9, 10, 11]
    opened.clear()
    still = read()
    assert (shades(still), sorted(still.left_out)) == ([0, 1, 2, 4, 6, 8, 9, 10, 11], [3, 5, 7])
    assert set(opened) == failing
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")  # processes of one run have the same data, whatever the disk does
    opened.clear()
    failing.remove("03.png")
    assert shades(read()) == [0, 1, 2, 4, 6, 8, 9, 10, 11]
    assert not opened
    monkeypatch.delenv("TORCHELASTIC_RUN_ID")
    assert shades(read()) == [0, 1, 2, 3, 4, 6, 8, 9, 10, 11]
    failing.clear()
    assert shades(read()) == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11]
    opened.clear()
    assert (shades(read()), opened) == ([0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11], [])


def test_only_the_first_ten_are_named(photos):
    for path in photos.iterdir():
        path.write_bytes(b"")
    for unreadable in ("refuse", "skip"):  # there is nothing that could be left over
        with pytest.raises(UsageError) as refused:
            load(photos, unreadable=unreadable)
        lines = str(refused.value).split("\n")
        assert (len(lines), lines[0], lines[11]) == (13, "12 of 12 files cannot be read:", "  and 2 more")


def test_file_names_of_any_bytes(photos):
    strange = os.fsdecode(b"\xff\n\x1b.png")
    Image.new("L", (4, 3), 77).save(photos / strange)
    assert shades(load(photos))[-1] == 77
    (photos / strange).write_bytes(b"")
    with pytest.raises(UsageError, match=re.escape(r"/\udcff\n\x1b.png: the file is empty")) as refused:
        load(photos)
    assert str(refused.value).isascii()


def test_progress_is_told(photos):
    told = []
    load(photos, Access(progress=lambda *words: told.append(words)))
    assert told == [("reading headers", 12, 12), ("decoding images", 12, 12)]


def test_a_full_disk_is_noticed_before_anything_is_decoded(photos, monkeypatch, shelf):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: namedtuple("Usage", "total used free")(1, 1, 143))
    with pytest.raises(RunError, match=rf"{shelf} \(144 bytes\): No space left on device.*DANLU_CACHE"):
        load(photos)
    assert list(shelf.iterdir()) == []


def test_a_disk_that_is_full_while_it_is_written(photos, shelf, monkeypatch):
    def write(rows, row, pixels):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(cache._Rows, "__setitem__", write)
    with pytest.raises(RunError, match=r"\(144 bytes\): No space left on device"):
        load(photos)
    assert list(shelf.iterdir()) == []


def test_a_disk_that_is_full_before_anything_is_written(photos, shelf, monkeypatch):
    def full(**settings):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(cache.tempfile, "TemporaryFile", full)
    with pytest.raises(RunError, match=rf"{shelf}.*: No space left on device"):
        load(photos)
    assert list(shelf.iterdir()) == []


def test_an_entry_that_cannot_be_read_after_it_was_written(photos, shelf, monkeypatch):
    monkeypatch.setattr(cache, "_read", lambda folder, key: None)
    with pytest.raises(RunError, match=rf"{shelf}/\w+ was written but cannot be read; remove it and try again"):
        load(photos)


LOAD = """
from pathlib import Path
from danlu.data.images.decode_cache import decode_files
from danlu.data.images.image_folder import list_images
from danlu.data.images.settings import Images
from danlu.storage.access import Access, no_progress
photos = Path({!r})
def load():
    return decode_files(photos, list_images(photos, no_progress).files, Images(), Access())
"""


def start(code, photos):
    return start_code(LOAD.format(str(photos)) + code)


def test_a_system_that_refuses_to_write_more(photos, shelf):
    """The limit is the system's own, and it is met in the middle of the file."""
    for number in range(60):
        Image.new("L", (32, 32), number).save(photos / f"x{number}.png")
    process = start(
        "import resource\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))\n"
        "try: load()\n"
        "except Exception as error: print(type(error).__name__, error)",
        photos,
    )
    assert re.match(r"RunError .*decoded \(73,728 bytes\): File too large", process.ended())
    assert list(shelf.iterdir()) == []


def test_two_processes_at_once_both_end_well(photos, shelf):
    processes = [start("print(load().images.flatten(1)[:, 0].tolist())", photos) for _ in range(2)]
    assert [process.ended() for process in processes] == [f"{list(range(12))}\n"] * 2
    assert len(list(shelf.iterdir())) == 1


def test_who_comes_second_waits_and_finds_the_work_done(photos, monkeypatch, tmp_path):
    """The first process stands still in the middle of its work until the second has been seen to wait."""
    gate = tmp_path / "gate"
    process = start(
        "import time\n"
        "from danlu.data.images import decode as pictures\n"
        "usual = pictures.decode\n"
        "def slow(*args, **options):\n"
        "    print('at it', flush=True)\n"
        f"    while not Path({str(gate)!r}).exists(): time.sleep(0.01)\n"
        "    return usual(*args, **options)\n"
        "pictures.decode = slow\n"
        "load()",
        photos,
    )
    process.wait_to_say("at it\n")
    told = []

    def tell(*words):
        told.append(words)
        gate.touch()

    refuse_to_decode(monkeypatch)
    assert shades(load(photos, Access(progress=tell))) == list(range(12))
    process.ended()
    waiting = "waiting for another process that reads the same files"
    assert (told[0], told[-1]) == ((waiting, 0, None), (waiting, 1, 1))


def test_without_locks_two_processes_end_well_too(photos, monkeypatch, shelf):
    """While this process decodes, another one finishes the same entry."""
    monkeypatch.setattr(cache_entries, "_lock", lambda *args, **options: None)
    usual, found = cache._Decoder._write_page, []

    def later(work, *args):
        monkeypatch.setattr(cache._Decoder, "_write_page", usual)
        found.append(load(photos))
        return usual(work, *args)

    monkeypatch.setattr(cache._Decoder, "_write_page", later)
    found.append(load(photos))
    assert [shades(some) for some in found] == [list(range(12))] * 2
    assert len(list(shelf.iterdir())) == 1


def test_what_a_killed_process_leaves_is_removed_and_what_a_living_one_makes_is_not(photos, tmp_path, shelf):
    """One is killed in the middle of its work; another decodes other files meanwhile."""
    others = tmp_path / "others"
    shutil.copytree(photos, others)
    code = (
        "import time\n"
        "from danlu.data.images import decode as pictures\n"
        "def stop(*args, **options):\n"
        "    print('at it', flush=True)\n"
        "    time.sleep(1000)\n"
        "pictures.decode = stop\n"
        "load()"
    )
    killed, living = start(code, photos), start(code, others)
    for process in (killed, living):
        process.wait_to_say("at it\n")
    assert len(list(shelf.glob(".making-*"))) == 2
    killed.signal(signal.SIGKILL)
    killed.wait()
    assert shades(load(photos)) == list(range(12))
    (left,) = shelf.glob(".making-*")
    Image.new("L", (4, 3), 1).save(photos / "12.png")  # so that the next entry has another key
    load(photos)
    assert list(shelf.glob(".making-*")) == [left]
    living.signal(signal.SIGKILL)
    living.wait()
    Image.new("L", (4, 3), 1).save(photos / "13.png")
    load(photos)
    assert [path for path in shelf.iterdir() if path.name.startswith(".")] == []


def test_where_nothing_can_be_written_files_are_decoded_into_memory(photos, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DANLU_CACHE", str(tmp_path / "file"))
    damage_some(photos)
    found = load(photos, unreadable="skip")
    assert shades(found) == [0, 1, 3, 4, 5, 6, 8, 9, 10]
    assert not found.source
    assert found.notes == (
        f"{tmp_path}/file/decoded cannot be written (Not a directory); the files are decoded again at each start",
    )


def test_too_much_for_memory(photos, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DANLU_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(cache, "IN_MEMORY", 143)
    refuse = decode.decode
    monkeypatch.setattr(decode, "decode", None)
    with pytest.raises(
        RunError,
        match=r"cannot be written \(Not a directory\).*144 bytes of decoded images do not fit in memory; .*DANLU_CACHE",
    ):
        load(photos)
    monkeypatch.setattr(decode, "decode", refuse)
    monkeypatch.setattr(cache, "IN_MEMORY", 144)
    assert shades(load(photos)) == list(range(12))


def test_an_entry_in_a_cache_that_cannot_be_written_is_used(photos, monkeypatch, shelf):
    load(photos)

    def refuse(*args, **options):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    assert load(photos).source
    assert not load(photos, size=(2,)).source


def test_no_other_user_can_read_the_entries_or_replace_them(photos, shelf):
    shelf.mkdir(parents=True)
    shelf.chmod(0o777)  # as a folder of an earlier version, or of a careless umask
    load(photos)
    assert shelf.stat().st_mode & 0o777 == 0o700


def test_changed_bytes_are_noticed_although_size_and_time_are_the_same(photos, shelf):
    images = load(photos).images.clone()
    (entry,) = shelf.iterdir()
    state = (entry / "images.bin").stat()
    with (entry / "images.bin").open("r+b") as file:
        file.seek(7)
        file.write(b"\xff")
    os.utime(entry / "images.bin", ns=(state.st_atime_ns, state.st_mtime_ns))
    assert torch.equal(load(photos).images, images)


def test_the_bytes_are_read_once_and_again_after_the_cache_was_copied(photos, shelf, monkeypatch):
    read = []
    monkeypatch.setattr(contents, "file_digest", lambda path: read.append(path) or file_digest(path))
    images = load(photos).images.clone()
    load(photos)
    assert len(read) == 0
    shutil.copytree(shelf, shelf.with_name("copy"))
    shutil.rmtree(shelf)
    shelf.with_name("copy").rename(shelf)
    assert torch.equal(load(photos).images, images)
    load(photos)
    assert len(read) == 1


def test_one_file_at_a_time_is_in_memory(tmp_path, monkeypatch):
    """Decoding 60 files of a megabyte each takes little more memory than one of them."""
    import tracemalloc

    monkeypatch.setattr(decode, "decode", lambda path, shape, **options: np.zeros(shape, np.uint8))
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(60):
        (photos / f"{number}.png").touch()
    tracemalloc.start()
    try:
        found = load(photos, size=(1024, 1024), color="gray")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.images.shape == (60, 1, 1024, 1024)
    assert peak < 8 << 20


def test_the_worker_that_a_file_ends_is_not_the_end(tmp_path, photos, monkeypatch):
    """A decoder that ends its process at one file, in other processes: that file is named, the others are kept."""
    (tmp_path / "decoder_that_dies.py").write_text(
        "import os, signal\n"
        "from danlu.data.images import decode as pictures\n"
        "def decode(path, **options):\n"
        "    if path.endswith('03.png'): os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return pictures.decode(path, **options)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import decoder_that_dies

    monkeypatch.setattr(worker_pool, "FEW_FILES", 0)
    monkeypatch.setattr(decode, "decode", decoder_that_dies.decode)
    found = load(photos, unreadable="skip")
    assert shades(found) == [0, 1, 2, *range(4, 12)]
    assert found.left_out == {
        3: f"two processes that read the file ended unexpectedly (signal 9, {signal.strsignal(9)})"
    }
    with pytest.raises(UsageError, match=r"1 of 12 files.*\n.*03.png: two processes that read the file ended"):
        load(photos)
    monkeypatch.setattr(decode, "decode", DECODE)  # it was not the file that ended it: memory was short, say
    assert shades(load(photos, unreadable="skip")) == list(range(12))


# --- entries that nobody uses -----------------------------------------------------------------------------------------


def aged(entry, days):
    """The entry as if it had been used last so many days ago."""
    then = time.time() - days * 24 * 3600
    os.utime(entry / "page.json", (then, then))


def more(photos, number):
    """The same files and another one: a new entry is made of them."""
    Image.new("L", (4, 3), number).save(photos / f"{number}.png")
    return load(photos)


def made(shelf):
    return {path.name for path in shelf.iterdir() if path.name[0] != "."}


def test_an_entry_that_was_not_used_for_a_month_goes_when_another_is_made(photos, shelf):
    load(photos)
    (old,) = shelf.iterdir()
    aged(old, 31)
    more(photos, 12)
    assert old.name not in made(shelf)
    (kept,) = shelf.iterdir()  # nor is anything else left of it
    aged(kept, 29)
    more(photos, 13)
    assert kept.name in made(shelf)
    assert len(made(shelf)) == 2


def test_to_use_an_entry_is_to_keep_it(photos, shelf, tmp_path):
    load(photos)
    (old,) = shelf.iterdir()
    aged(old, 31)
    assert shades(load(photos)) == list(range(12))
    aside = shutil.copytree(photos, tmp_path / "others")
    more(aside, 12)
    assert old.name in made(shelf)
    assert len(made(shelf)) == 2


def test_an_entry_that_is_mapped_is_kept_however_old(photos, shelf):
    held = load(photos)
    (old,) = shelf.iterdir()
    aged(old, 1000)
    view = held.images[3:]
    del held
    more(photos, 12)
    assert old.name in made(shelf)
    assert view.flatten().tolist() == [number for number in range(3, 12) for _ in range(12)]
    del view
    gc.collect()
    more(photos, 13)
    assert old.name not in made(shelf)


def test_an_entry_that_another_process_maps_or_makes_is_kept(photos, shelf, tmp_path):
    """Another process has trained on one for long; a third makes the other one anew."""
    import fcntl

    others = shutil.copytree(photos, tmp_path / "others")
    code = "import time\nfound = load()\nprint('mapped', flush=True)\ntime.sleep(1000)"
    process = start(code, others)
    process.wait_to_say("mapped\n")
    (mapped,) = shelf.iterdir()
    load(photos)
    (locked,) = set(shelf.iterdir()) - {mapped}
    gc.collect()
    for entry in (mapped, locked):
        aged(entry, 31)
    with (shelf / f".{locked.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        more(photos, 12)
        assert {mapped.name, locked.name} < made(shelf)
    process.signal(signal.SIGKILL)
    process.wait()
    more(photos, 13)
    assert not {mapped.name, locked.name} & made(shelf)


def test_what_cannot_be_removed_is_no_matter(photos, shelf):
    (shelf / "something else").mkdir(parents=True)
    (shelf / "a file").write_text("of somebody's")
    load(photos)
    assert {"something else", "a file"} < made(shelf)
