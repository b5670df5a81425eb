"""One image file as bytes: every kind of file against values worked out by hand, and what is refused."""

import os
import struct
import warnings
import zlib
from functools import partial

import numpy as np
import pytest
from PIL import Image, ImageFile

from danlu.data.images import worker_pool
from danlu.data.images.decode import Header, Unreadable, decode, header
from danlu.data.images.worker_pool import map_files


def png(path, width, height, color_type, bits, rows, chunks=()):
    """A PNG file made by hand: its scan lines are given as bytes, each to be preceded by filter 0."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, bits, color_type, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    parts = [chunk(b"IHDR", head), *(chunk(*c) for c in chunks), chunk(b"IDAT", data), chunk(b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return path


def saved(path, image, **options):
    image.save(path, **options)
    return path


def gray(path, height=1, width=1):
    return decode(path, (1, height, width))[0].tolist()


def rgb(path):
    """Of a picture of one pixel."""
    return decode(path, (3, 1, 1))[:, 0, 0].tolist()


@pytest.mark.parametrize(
    ("inks", "expected"),
    [  # red is (1 - C)(1 - K), and so on
        ((0, 0, 0, 0), [255, 255, 255]),
        ((255, 0, 0, 0), [0, 255, 255]),
        ((0, 0, 0, 255), [0, 0, 0]),
        ((51, 0, 255, 102), [122, 153, 0]),  # 0.8 · 0.6 · 255 = 122.4
    ],
)
def test_cmyk(tmp_path, inks, expected):
    path = saved(tmp_path / "x.tif", Image.new("CMYK", (1, 1), inks))
    assert rgb(path) == expected
    assert not header(path).gray


@pytest.mark.parametrize(("value", "expected"), [(0, 0), (128, 0), (129, 1), (32896, 128), (65535, 255), (65406, 254)])
def test_gray_of_16_bits_is_scaled_and_rounded(tmp_path, value, expected):
    """v / 257: 128 / 257 = 0.498, 129 / 257 = 0.502, 65406 / 257 = 254.498."""
    big = struct.pack(">H", value)
    assert gray(png(tmp_path / "x.png", 1, 1, 0, 16, [big])) == [[expected]]
    (tmp_path / "x.pgm").write_bytes(b"P5\n1 1\n65535\n" + big)
    for order in "<>":
        tiff(tmp_path / f"{order}.tif", order, 16, struct.pack(f"{order}H", value))
    for path in map(tmp_path.joinpath, ("x.png", "x.pgm", "<.tif", ">.tif")):
        assert gray(path) == [[expected]]
        assert header(path) == Header(1, 1, True)


@pytest.mark.parametrize(("value", "expected"), [(0, 0), (4095, 255), (819, 51), (2048, 128)])  # 127.53
def test_gray_of_12_bits(tmp_path, value, expected):
    path = tiff(tmp_path / "x.tif", "<", 12, struct.pack(">H", value << 4))
    assert gray(path) == [[expected]]


def tiff(path, order, bits, pixel):
    """A TIFF file of one gray pixel made by hand; the pixel is given as two bytes."""
    tags = [
        (256, 4, 1),  # width
        (257, 4, 1),  # height
        (258, 3, bits),
        (259, 3, 1),  # not compressed
        (262, 3, 1),  # black is zero
        (273, 4, 8),  # where the pixel is
        (277, 3, 1),  # samples per pixel
        (278, 4, 1),  # rows per strip
        (279, 4, 2),  # bytes
    ]
    pack = struct.pack
    entries = b"".join(
        pack(order + "HHI", tag, kind, 1) + (pack(order + "H", v) + b"\0\0" if kind == 3 else pack(order + "I", v))
        for tag, kind, v in tags
    )
    start = (b"II" if order == "<" else b"MM") + pack(order + "HI", 42, 10) + pixel
    path.write_bytes(start + pack(order + "H", len(tags)) + entries + pack(order + "I", 0))
    return path


def test_colors_of_16_bits_give_their_upper_bytes(tmp_path):
    pixel = struct.pack(">HHH", 0x1234, 0x80FF, 0xFF00)
    assert rgb(png(tmp_path / "x.png", 1, 1, 2, 16, [pixel])) == [0x12, 0x80, 0xFF]


@pytest.mark.parametrize(("alpha", "expected"), [(0, 255), (255, 40), (51, 212)])  # 0.2 · 40 + 0.8 · 255 = 212
def test_transparent_is_white(tmp_path, alpha, expected):
    for mode, pixel in (("RGBA", (40, 40, 40, alpha)), ("LA", (40, alpha))):
        path = saved(tmp_path / "x.png", Image.new(mode, (1, 1), pixel))
        assert gray(path) == [[expected]]
        assert rgb(path) == [expected] * 3
        assert header(path).gray == (mode == "LA")


def test_transparent_colors_of_files_without_alpha_are_white(tmp_path):
    def clear(*values):
        return [(b"tRNS", struct.pack(f">{len(values)}H", *values))]

    assert gray(png(tmp_path / "1.png", 2, 1, 0, 8, [bytes([7, 9])], clear(7)), 1, 2) == [[255, 9]]
    deep = struct.pack(">HH", 257 * 7, 257 * 9)
    assert gray(png(tmp_path / "2.png", 2, 1, 0, 16, [deep], clear(257 * 7)), 1, 2) == [[255, 9]]
    assert rgb(png(tmp_path / "3.png", 1, 1, 2, 8, [bytes([1, 2, 3])], clear(1, 2, 3))) == [255, 255, 255]
    assert rgb(png(tmp_path / "4.png", 1, 1, 2, 8, [bytes([1, 2, 4])], clear(1, 2, 3))) == [1, 2, 4]


def test_palettes(tmp_path):
    colors = bytes([10, 20, 30, 200, 100, 50, 0, 0, 0])
    path = png(tmp_path / "x.png", 3, 1, 3, 8, [bytes([1, 0, 2])], [(b"PLTE", colors), (b"tRNS", bytes([255, 255, 0]))])
    assert decode(path, (3, 1, 3))[:, 0].T.tolist() == [[200, 100, 50], [10, 20, 30], [255, 255, 255]]
    assert header(path) == Header(1, 3, False)


def test_bits(tmp_path):
    path = png(tmp_path / "x.png", 8, 1, 0, 1, [bytes([0b10110001])])
    assert gray(path, 1, 8) == [[255, 0, 255, 255, 0, 0, 0, 255]]
    assert header(path) == Header(1, 8, True)


@pytest.mark.parametrize(("color", "expected"), [((255, 0, 0), 76), ((0, 255, 0), 150), ((0, 0, 255), 29)])
def test_gray_of_a_color_is_its_luma(tmp_path, color, expected):
    """0.299 · 255 = 76.2, 0.587 · 255 = 149.7, 0.114 · 255 = 29.1."""
    assert gray(saved(tmp_path / "x.png", Image.new("RGB", (1, 1), color))) == [[expected]]


def test_gray_becomes_three_equal_colors(tmp_path):
    assert rgb(saved(tmp_path / "x.png", Image.new("L", (1, 1), 77))) == [77, 77, 77]


UPRIGHT = {  # what EXIF 2.3 says of row 0 and column 0 of the file, done to the file's rows and columns
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.T,
    6: lambda a: a[::-1].T,
    7: lambda a: a[::-1, ::-1].T,
    8: lambda a: a.T[::-1],
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("suffix", ["png", "tif", "webp", "jpg"])
def test_the_camera_was_held_upright(tmp_path, orientation, suffix):
    """A picture of 2×3 blocks of 16×16 pixels of one shade each, so that it survives JPEG."""
    shades = np.array([[0, 50, 100], [150, 200, 250]], dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"webp": {"lossless": True}, "jpg": {"quality": 100}}.get(suffix, {})
    path = saved(tmp_path / f"x.{suffix}", Image.fromarray(shades.repeat(16, 0).repeat(16, 1)), exif=exif, **options)
    expected = UPRIGHT[orientation](shades)
    height, width = expected.shape
    assert header(path)[:2] == (16 * height, 16 * width)
    centers = decode(path, (1, 16 * height, 16 * width))[0, 8::16, 8::16]
    np.testing.assert_allclose(centers.astype(int), expected.astype(int), atol=1 if suffix == "jpg" else 0)


def test_an_orientation_that_comes_after_the_pixels_counts(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    record = exif.tobytes().removeprefix(b"Exif\0\0")
    path = png(tmp_path / "x.png", 2, 1, 0, 8, [bytes([1, 2])])
    content, chunk = path.read_bytes(), b"eXIf" + record
    end = struct.pack(">I", len(record)) + chunk + struct.pack(">I", zlib.crc32(chunk)) + content[-12:]
    path.write_bytes(content[:-12] + end)
    assert gray(path, 2, 1) == [[1], [2]]


def test_a_damaged_orientation_says_nothing(tmp_path):
    path = png(tmp_path / "x.png", 2, 1, 0, 8, [bytes([1, 2])], [(b"eXIf", b"II*\0\xff\xff")])
    assert gray(path, 1, 2) == [[1, 2]]
    assert header(path) == Header(1, 2, True)


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif"])
def test_the_first_picture_of_several_is_taken(tmp_path, suffix):
    frames = [Image.new("RGB", (4, 4), color) for color in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    options = {"lossless": True} if suffix == "webp" else {}
    path = saved(tmp_path / f"x.{suffix}", frames[0], save_all=True, append_images=frames[1:], **options)
    with Image.open(path) as file:
        assert file.n_frames == 3
    assert (decode(path, (3, 4, 4)) == np.array([255, 0, 0])[:, None, None]).all()


def test_the_content_decides_and_not_the_name(tmp_path):
    """Every format that danlu knows by name can be read under another name too."""
    image = Image.new("RGB", (2, 2), (255, 0, 51))
    for suffix in (".png", ".bmp", ".gif", ".tif", ".ppm", ".tga", ".webp"):
        path = saved(tmp_path / f"x{suffix}", image, **({"lossless": True} if suffix == ".webp" else {}))
        path = path.rename(tmp_path / "picture.jpg")
        assert decode(path, (3, 2, 2))[:, 1, 1].tolist() == [255, 0, 51], suffix


STRIPES = np.array([[0, 40, 80, 120], [10, 50, 90, 130]], dtype=np.uint8)  # 2 high, 4 wide


@pytest.mark.parametrize(
    ("fit", "size", "expected"),
    [
        ("crop", (2, 2), [[40, 80], [50, 90]]),
        ("crop", (2, 3), [[0, 40, 80], [10, 50, 90]]),  # of an odd rest the larger half is cut off at the end
        ("crop", (1, 4), [[0, 40, 80, 120]]),
        ("pad", (4, 4), [[255] * 4, [0, 40, 80, 120], [10, 50, 90, 130], [255] * 4]),
        ("pad", (2, 6), [[255, 0, 40, 80, 120, 255], [255, 10, 50, 90, 130, 255]]),
        ("pad", (3, 4), [[0, 40, 80, 120], [10, 50, 90, 130], [255] * 4]),
        ("stretch", (2, 4), STRIPES.tolist()),
    ],
)
def test_fits_that_need_no_scaling_keep_every_value(tmp_path, fit, size, expected):
    path = saved(tmp_path / "x.png", Image.fromarray(STRIPES))
    assert decode(path, (1, *size), fit)[0].tolist() == expected


@pytest.mark.parametrize("upright", [False, True])
@pytest.mark.parametrize(
    ("fit", "expected"),
    [
        ("crop", [71 + 16 * j for j in range(8)]),  # column j is the middle of columns 32 + 8j to 39 + 8j
        ("pad", [15 + 32 * j for j in range(8)]),  # of columns 16j to 16j + 15
        ("stretch", [15 + 32 * j for j in range(8)]),
    ],
)
def test_fits_that_scale(tmp_path, fit, expected, upright):
    """A ramp, 64 high and 128 wide, with the shade 2i in column i; a filter leaves it a ramp but for its ends."""
    ramp = np.tile(2 * np.arange(128, dtype=np.uint8), (64, 1))
    path = saved(tmp_path / "x.png", Image.fromarray(ramp.T if upright else ramp))
    found = decode(path, (1, 8, 8), fit)[0].astype(int)
    found = found.T if upright else found
    inner = found[2:6] if fit == "pad" else found
    assert (inner == inner[0]).all()
    np.testing.assert_allclose(inner[0, 3:5], expected[3:5], atol=1)
    np.testing.assert_allclose(inner[0], expected, atol=1 if fit == "crop" else 8)
    assert fit != "pad" or (found[[0, 1, 6, 7]] == 255).all()


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("shape", [(1, 500), (500, 1), (1, 1), (3, 7), (300, 200)])
def test_any_shape_becomes_the_wanted_one(tmp_path, fit, shape):
    path = saved(tmp_path / "x.png", Image.fromarray(np.full(shape, 90, dtype=np.uint8)))
    found = decode(path, (1, 8, 6), fit)
    assert found.shape == (1, 8, 6)
    assert set(np.unique(found)) <= ({90, 255} if fit == "pad" else {90})


def test_a_header_is_read_without_decoding(tmp_path, monkeypatch):
    path = saved(tmp_path / "x.png", Image.new("RGB", (30, 20)))
    monkeypatch.setattr(ImageFile.ImageFile, "load", None)
    assert header(path) == Header(20, 30, False)


@pytest.mark.unchecked
@pytest.mark.parametrize("read", [header, lambda path: decode(path, (1, 1, 1))])
def test_huge_pictures_are_refused_by_their_headers(tmp_path, read):
    """A file of a hundred bytes that says it has 10 000 000 000 pixels; nothing is allocated and nobody is warned."""
    path = png(tmp_path / "x.png", 100_000, 100_000, 0, 8, [b""])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(
            Unreadable, match=r"100000 × 100000 = 10,000,000,000 pixels exceed the limit of 100,000,000"
        ):
            read(path)


def test_the_limit_is_ours_and_exact(tmp_path, monkeypatch):
    """Pillow would warn above its own limit, and refuse above twice that."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5)
    path = saved(tmp_path / "x.png", Image.new("L", (5, 4), 3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decode(path, (1, 4, 5), largest=20).tolist() == [[[3] * 5] * 4]
        with pytest.raises(Unreadable, match="20 pixels exceed the limit of 19"):
            decode(path, (1, 4, 5), largest=19)
    assert Image.MAX_IMAGE_PIXELS == 5, "what others have set is as it was"


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "webp", "bmp", "tif", "ppm", "tga"])
@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.95])
def test_files_that_are_cut_off(tmp_path, suffix, fraction, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)  # somebody else may want gray areas
    noise = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    content = saved(tmp_path / f"x.{suffix}", Image.fromarray(noise)).read_bytes()
    path = tmp_path / f"cut.{suffix}"
    path.write_bytes(content[: int(len(content) * fraction)])
    with pytest.raises(Unreadable):
        decode(path, (3, 40, 30))
    assert ImageFile.LOAD_TRUNCATED_IMAGES


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"hello, I am a text\n", "the file is text, 'hello, I am a text"),
        (b"\n<!DOCTYPE html><html>404</html>", "the file is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "the file is a Git LFS pointer"),
        (b"\x00\x01\x02\x03" * 50, "the file is truncated, or its format is not supported"),
        (
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
            "the file is text",
        ),  # which Ghostscript would be run for
    ],
)
def test_what_is_no_picture(tmp_path, content, reason):
    path = tmp_path / "x.png"
    path.write_bytes(content)
    for read in (header, partial(decode, shape=(1, 2, 2))):
        with pytest.raises(Unreadable, match=reason):
            read(path)


def test_a_changed_byte_in_the_pixels_is_noticed_where_the_format_has_checksums(tmp_path):
    path = saved(tmp_path / "x.png", Image.effect_noise((50, 50), 80))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x40
    path.write_bytes(content)
    with pytest.raises(Unreadable):
        decode(path, (1, 50, 50))


def test_numbers_of_no_known_range(tmp_path):
    path = saved(tmp_path / "x.tif", Image.new("F", (2, 2), 0.5))
    with pytest.raises(Unreadable, match="pixels of mode F have an unknown range"):
        decode(path, (1, 2, 2))


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(Unreadable, match="No such file"):
        header(tmp_path / "x.png")


JOBS = """
import os, signal, time
from pathlib import Path
from danlu.data.images.decode import Unreadable

def length(path):
    name = os.path.basename(path)
    if name.startswith("exit"):
        os._exit(9)
    if name.startswith("kill"):
        os.kill(os.getpid(), signal.SIGKILL)
    if name.startswith("hang"):
        time.sleep(1000)
    if name.startswith("bad"):
        raise Unreadable("it is bad")
    if name.startswith("slow"):
        time.sleep(0.5)
    if name.startswith("once", name.startswith("slow-") * 5) and not os.path.exists(path):
        Path(path).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return len(name), os.getpid()

def lost(path):
    raise RuntimeError("nobody expects this")
"""


@pytest.fixture
def jobs(tmp_path, monkeypatch):
    """A module with jobs that go wrong, which other processes can import."""
    (tmp_path / "jobs_that_fail.py").write_text(JOBS)
    monkeypatch.syspath_prepend(tmp_path)
    import jobs_that_fail

    return jobs_that_fail


def outcome(job, paths, **options):
    """What became of each file; the numbers say that each came once."""
    results = list(map_files(job, paths, **options))
    assert sorted(number for number, _ in results) == list(range(len(paths)))
    return [str(r) if isinstance(r, Unreadable) else r[0] for _, r in sorted(results, key=lambda pair: pair[0])]


def test_processes_change_nothing(jobs):
    paths = [f"{'bad' * (n % 7 == 3)}{'x' * n}" for n in range(60)]
    expected = ["it is bad" if n % 7 == 3 else n for n in range(60)]
    for workers in (0, 1, 3):
        assert outcome(jobs.length, paths, workers=workers) == expected


def test_processes_are_others_and_end(jobs):
    results = map_files(jobs.length, ["x"] * 40, workers=2)
    process = next(results)[1][1]
    assert process != os.getpid()
    results.close()
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


@pytest.mark.parametrize(("name", "how"), [("exit", "exit code 9"), ("kill", "signal 9, Killed")])
def test_a_file_that_ends_its_process_is_named_and_the_others_are_read(jobs, name, how):
    paths = ["x" * n for n in range(1, 40)]
    paths[5] = paths[20] = name
    expected = list(range(1, 40))
    expected[5] = expected[20] = f"two processes that read the file ended unexpectedly ({how})"
    assert outcome(jobs.length, paths, workers=2) == expected


def test_files_of_an_ended_process_are_read_by_one_that_was_idle(jobs, tmp_path):
    paths = ["x"] * 17  # a batch of 16 for one process, one file for the other
    paths[15] = str(tmp_path / "slow-once")  # the other process is idle when this one ends its process
    expected = [1] * 17
    expected[15] = len("slow-once")
    assert outcome(jobs.length, paths, workers=2) == expected


def test_a_process_that_somebody_else_ends_costs_no_file(jobs, tmp_path):
    paths = ["x" * n for n in range(1, 30)]
    paths[3] = str(tmp_path / "once")
    expected = list(range(1, 30))
    expected[3] = 4
    assert outcome(jobs.length, paths, workers=1) == expected


def test_a_file_that_takes_for_ever_is_named_and_the_others_are_read(jobs):
    paths = ["x" * n for n in range(1, 40)]
    paths[5] = paths[20] = "hang"
    expected = list(range(1, 40))
    expected[5] = expected[20] = "not read within 2 seconds"
    assert outcome(jobs.length, paths, workers=2, timeout=2.0) == expected


@pytest.mark.parametrize("executable", ["/bin/false", "/nowhere/python"])
def test_where_no_process_can_be_started_this_one_does_the_work(jobs, monkeypatch, executable):
    monkeypatch.setattr("sys.executable", executable)
    results = list(map_files(jobs.length, ["x", "bad", "xx"], workers=2))
    assert [results[0][1], results[2][1]] == [(1, os.getpid()), (2, os.getpid())]


def test_an_error_of_our_own_is_not_hidden(jobs):
    with pytest.raises(RuntimeError, match="nobody expects this"):
        list(map_files(jobs.lost, ["x"]))


def test_few_files_start_no_process(jobs, monkeypatch):
    monkeypatch.setattr(worker_pool, "FEW_FILES", 3)
    own = {result[1] for _, result in map_files(jobs.length, ["x"] * 3)}
    others = {result[1] for _, result in map_files(jobs.length, ["x"] * 4)}
    assert own == {os.getpid()}
    assert os.getpid() not in others


def test_a_script_without_a_guard_is_not_run_again(tmp_path):
    """What multiprocessing would do: the script counts its runs."""
    import subprocess
    import sys

    script = tmp_path / "script.py"
    script.write_text(
        "import os\nfrom danlu.data.images.worker_pool import map_files\n"
        f"open({str(tmp_path / 'runs')!r}, 'a').write('x')\n"
        "print(sum(1 for _ in map_files(os.path.basename, ['x'] * 40, workers=2)))\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    assert (done.stdout, (tmp_path / "runs").read_text()) == ("40\n", "x")


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_images_converted_in_strips_are_equal(mode, tmp_path, monkeypatch):
    pixels = np.random.default_rng(3).integers(0, 256, (24, 20, 4), dtype=np.uint8)
    if mode == "I;16":
        image, form = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257 + pixels[..., 1]), "png"
    else:
        image, form = Image.fromarray(pixels).convert(mode), "tiff" if mode == "CMYK" else "png"
    if mode == "P":
        image.save(tmp_path / "x.png", transparency=5)
    else:
        image.save(tmp_path / f"x.{form}")
    for channels in (1, 3):
        monkeypatch.setattr("danlu.data.images.decode.STRIP", 1 << 22)
        whole = decode(tmp_path / f"x.{form}", (channels, 24, 20))
        for pixels_at_once in (7, 60):
            monkeypatch.setattr("danlu.data.images.decode.STRIP", pixels_at_once)
            assert np.array_equal(decode(tmp_path / f"x.{form}", (channels, 24, 20)), whole)
