"""Small image files that would take all memory or time, and large ones, which are not copied more than necessary."""

import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from danlu.data.images.decode import Unreadable, decode, header
from danlu.data.images.jpeg_scans import count_file_scans, count_scans
from danlu.limits import IMAGE_SIDE, JPEG_SCANS

SCAN, END = b"\xff\xda", b"\xff\xd9"


def jpeg(**options: object) -> bytes:
    file = BytesIO()
    pixels = np.arange(16 * 16, dtype=np.uint8).reshape(16, 16)
    Image.fromarray(pixels).save(file, "JPEG", **options)
    return file.getvalue()


def with_scans(count: int) -> bytes:
    """A progressive file whose last scan, with its table, is repeated."""
    content = jpeg(progressive=True)
    end = content.rindex(END)
    last = content[content.rindex(b"\xff\xc4", 0, content.rindex(SCAN)) : end]
    return content[:end] + last * (count - content.count(SCAN)) + END


def test_a_jpeg_file_with_very_many_scans(tmp_path: Path):
    """Each scan takes time for all pixels, however few bytes it has."""
    (tmp_path / "x.jpg").write_bytes(with_scans(JPEG_SCANS))
    decode(tmp_path / "x.jpg", (1, 16, 16))
    (tmp_path / "x.jpg").write_bytes(with_scans(JPEG_SCANS + 1))
    with pytest.raises(Unreadable, match="it has 101 scans, and at most 100 are allowed"):
        decode(tmp_path / "x.jpg", (1, 16, 16))


def test_only_the_scans_of_the_image_are_counted():
    content = jpeg(progressive=True)
    assert count_scans(content) == content.count(SCAN) == 6
    preview = b"\xff\xe1" + struct.pack(">H", 2 + len(content)) + content  # in the EXIF data
    assert count_scans(content[:2] + preview + content[2:]) == 6
    assert count_scans(content + SCAN * 1000) == 6  # for example the video of a camera
    entropy = b"\xff\x00\xff\xd0\xff\xff"  # a coded 255, the start of the next interval, a byte to fill up
    assert count_scans(content.replace(END, entropy + SCAN + END)) == 7
    assert count_scans(jpeg() + SCAN * 1000) == 1


def test_scans_before_a_second_kind_of_coding_are_counted():
    """The decoder finds the error only after it has decoded them."""
    sequential = jpeg()
    at = sequential.index(b"\xff\xc0")
    second = sequential[at : at + 2 + int.from_bytes(sequential[at + 2 : at + 4], "big")]
    assert count_scans(with_scans(JPEG_SCANS + 1).replace(END, second + END)) == JPEG_SCANS + 1


class Read(BytesIO):
    """A file that counts the bytes that are read."""

    count = 0

    def read(self, size: int | None = -1) -> bytes:
        content = super().read(size)
        self.count += len(content)
        return content


def test_a_large_sequential_file_is_not_read():
    large = b"\0" * 2_000_000
    for content, scans in ((jpeg(), 1), (jpeg(progressive=True), 6)):
        texts = (b"\xff\xfe\xff\xff" + bytes(65_533)) * 3  # comments, which are longer than the first part
        for inserted in (b"", texts):
            file = Read(content[:2] + inserted + content[2:] + large)
            assert count_file_scans(file) == scans
            assert (file.count < 70_000) == (scans == 1 and not inserted)
    for content in (b"", jpeg()[:20], jpeg(progressive=True)[:-2]):
        assert count_file_scans(BytesIO(content)) == count_scans(content)


@pytest.mark.parametrize("content", [b"", b"\xff", b"\xff\xd8\xff", b"\xff\xd8\xff\xda", b"\xff\xd8\xff\xe1\xff\xff"])
def test_the_scans_of_a_file_that_is_cut_off_are_counted(content: bytes):
    assert count_scans(content) == content.count(SCAN)


@pytest.mark.parametrize("size", [(IMAGE_SIDE + 1, 1), (1, IMAGE_SIDE + 1)])
def test_an_image_of_very_many_rows_or_columns(tmp_path: Path, size: tuple[int, int]):
    """Its rows would need more memory than its pixels."""
    path = tmp_path / "x.png"
    Image.new("1", (1, 1)).save(path)
    content = bytearray(path.read_bytes())
    content[16:24] = struct.pack(">II", *size)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    path.write_bytes(content)
    for read in header, lambda path: decode(path, (1, 1, 1)):
        with pytest.raises(Unreadable, match="a side of 1,000,001 pixels exceeds the limit of 1,000,000"):
            read(path)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_an_image_that_needs_no_conversion_is_not_copied(tmp_path: Path, mode: str, monkeypatch: pytest.MonkeyPatch):
    pixels = np.random.default_rng(5).integers(0, 256, (24, 20, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).convert(mode)
    image.save(tmp_path / "x.png")
    for name in ("convert", "crop", "paste"):
        monkeypatch.setattr(Image.Image, name, None)
    monkeypatch.setattr("danlu.data.images.decode.STRIP", 60)
    expected = np.asarray(image).reshape(24, 20, -1).transpose(2, 0, 1)
    assert np.array_equal(decode(tmp_path / "x.png", (len(expected), 24, 20)), expected)


def test_every_value_of_16_bits_is_rounded_exactly(tmp_path: Path):
    values = np.arange(1 << 16).reshape(256, 256)
    Image.fromarray(values.astype(np.uint16)).save(tmp_path / "x.png")
    assert np.array_equal(decode(tmp_path / "x.png", (1, 256, 256))[0], (2 * values + 257) // 514)


def test_an_image_larger_than_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise MemoryError

    Image.new("L", (2, 2)).save(tmp_path / "x.png")
    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
    with pytest.raises(Unreadable, match="there is not enough memory to decode it") as error:
        decode(tmp_path / "x.png", (1, 2, 2))
    assert error.value.transient
