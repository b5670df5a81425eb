"""Image files as inputs: the right values from every kind of file."""

import io
import re

import numpy as np
import pytest
import torch
from PIL import Image

from danlu.app.console.progress import Screen
from danlu.app.files.image_files import find_images, read_image
from danlu.app.files.image_grid import make_grid
from danlu.app.files.inputs import inputs_of
from danlu.data import digits
from danlu.data.base.dataset import DataSet, Part
from danlu.data.images.background import with_background
from danlu.data.images.info import ImageInfo
from danlu.data.settings import DataSettings
from danlu.data.tables.info import TableInfo
from danlu.data.text.info import TextInfo
from danlu.errors import RunError, UsageError

GRAY = ImageInfo((1, 4, 4))
COLOR = ImageInfo((3, 4, 4), range=(-1.0, 1.0))


def gray(tmp_path, image, name="x.png"):
    image.save(tmp_path / name)
    return read_image(tmp_path / name, GRAY)


@pytest.mark.parametrize("value", [0, 1, 128, 255])
def test_eight_bits(tmp_path, value):
    assert torch.equal(gray(tmp_path, Image.new("L", (4, 4), value)), torch.full((1, 4, 4), value / 255))


@pytest.mark.parametrize("value", [0, 32768, 65535])
def test_sixteen_bits_are_scaled_and_not_cut_off(tmp_path, value):
    image = Image.fromarray(np.full((4, 4), value, dtype=np.uint16))
    expected = torch.full((1, 4, 4), value / 65535)
    torch.testing.assert_close(gray(tmp_path, image), expected, rtol=0, atol=0.5 / 255)
    assert read_image(tmp_path / "x.png", COLOR).mean() == pytest.approx(2 * value / 65535 - 1, abs=1 / 255)


def test_numbers_of_no_known_range_are_refused(tmp_path):
    with pytest.raises(RunError, match=r"x.tif: not a readable image: pixels of mode F"):
        gray(tmp_path, Image.fromarray(np.full((4, 4), 0.5, dtype=np.float32)), "x.tif")


def test_transparent_is_white_and_palettes_and_bits_are_gray(tmp_path):
    assert gray(tmp_path, Image.new("RGBA", (4, 4), (0, 0, 0, 0))).eq(1).all()
    assert gray(tmp_path, Image.new("RGBA", (4, 4), (0, 0, 0, 255))).eq(0).all()
    assert gray(tmp_path, Image.new("L", (4, 4), 77).convert("P")).eq(77 / 255).all()
    assert gray(tmp_path, Image.new("1", (4, 4), 1)).eq(1).all()
    assert gray(tmp_path, Image.new("CMYK", (4, 4), (0, 0, 0, 255)), "x.jpg").max() < 0.1


def test_the_camera_was_held_upright(tmp_path):
    """Orientation 6: the picture has to be turned by a quarter to the right."""
    pixels = np.zeros((4, 4), dtype=np.uint8)
    pixels[0] = 255  # a white line at the top of the file
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "x.png", exif=exif)
    expected = torch.zeros(1, 4, 4)
    expected[:, :, 3] = 1  # is at the right of the scene
    assert torch.equal(read_image(tmp_path / "x.png", GRAY), expected)


def test_ranges_colors_and_inversion(tmp_path):
    Image.new("RGB", (4, 4), (255, 0, 51)).save(tmp_path / "x.png")
    image = read_image(tmp_path / "x.png", COLOR)
    torch.testing.assert_close(image[:, 0, 0], torch.tensor([1.0, -1.0, -0.6]))
    torch.testing.assert_close(read_image(tmp_path / "x.png", COLOR, invert=True), -image)


def test_what_takes_no_images_says_so(tmp_path):
    Image.new("L", (4, 4)).save(tmp_path / "x.png")
    with pytest.raises(UsageError, match=r"takes rows with 5 columns"):
        read_image(tmp_path / "x.png", TableInfo((5,)))


def test_folders_are_searched_also_below(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    for name in ("a/2.png", "a/b/1.jpg", "a/note.txt"):
        (tmp_path / name).write_bytes(b"")
    assert [p.name for p in find_images([tmp_path / "a"])] == ["2.png", "1.jpg"]
    with pytest.raises(UsageError, match="has no image files"):
        find_images([_empty(tmp_path)])
    with pytest.raises(UsageError, match="no such file"):
        find_images([tmp_path / "missing.png"])


def _empty(folder):
    (folder / "empty").mkdir()
    return folder / "empty"


@pytest.mark.parametrize("shape", [(0, 1, 4, 4), (3, 2, 4, 4)])
def test_a_grid_needs_gray_or_colored_images(shape):
    with pytest.raises(ValueError, match=re.escape(f"(n, 1 or 3, height, width) with n > 0, got {shape}")):
        make_grid(torch.zeros(shape))


def test_inputs_that_are_no_files_are_for_python():
    info = TextInfo(vocabulary=5)
    with pytest.raises(UsageError, match=r"which cannot be read from files; use it in Python: danlu\.load"):
        inputs_of(["t.txt"], info, False, "utf-8", Screen(quiet=True))


def read(files, invert=False, background="dark"):
    """The lines that are printed when files are read for a model of images with a background."""
    lines = io.StringIO()
    info = ImageInfo((1, 8, 8), background=background)
    assert all(one.x is not None for one in inputs_of(files, info, invert, "utf-8", Screen(file=lines), str))
    return lines.getvalue()


def test_images_with_the_other_background_are_one_warning(tmp_path):
    ink = np.zeros((8, 8), dtype=np.uint8)
    ink[2:6, 2:6] = 255
    (tmp_path / "light").mkdir()
    Image.fromarray(ink).save(tmp_path / "dark.png")
    for number in range(3):
        Image.fromarray(255 - ink).save(tmp_path / "light" / f"{number}.png")
    warning = "warning: 3 of 3 images have a light background, and the training images had a dark one; --invert"
    assert read([tmp_path / "light"]).startswith(warning)
    assert "the image has, inverted, a light background" in read([tmp_path / "dark.png"], invert=True)
    assert read([tmp_path / "dark.png"]).count("\n") == read([tmp_path / "light"], invert=True).count("\n") == 0
    assert read([tmp_path / "light"], background="light") == read([tmp_path / "light"], background=None) == ""
    assert "had a light one" in read([tmp_path / "dark.png"], background="light")


def test_only_drawings_have_a_background_that_nearly_all_images_share():
    source = torch.Generator().manual_seed(0)
    photos = torch.rand(50, 3, 8, 8, generator=source)
    for x, expected in ((photos, None), (photos * 0.2, "dark"), (1 - photos * 0.2, "light")):
        part = Part({"image": x})
        assert with_background(DataSet("some", ImageInfo((3, 8, 8)), part, part, part)).background == expected
    assert [with_background(data).background for data in (digits(), DataSettings(data="glyphs").load())] == ["dark"] * 2
