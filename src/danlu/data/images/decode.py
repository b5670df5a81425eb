"""Decode image files to bytes of one shape.

A file is converted as follows:

- The orientation of the camera (EXIF) is applied.
- The first image of an animation or of a file with several pages is used.
- 16-bit gray is scaled to 8 bits and rounded (v / 257), and so is 12-bit gray (v / 4095 · 255). Of 16-bit color, the
  upper byte of each channel is used.
- Transparent images are put on a white background.
- Palettes, CMYK and 1-bit images are converted to gray or RGB. Gray is 0.299 R + 0.587 G + 0.114 B. Color profiles are
  not applied.
- Images of another size are scaled with a Lanczos filter, and cropped at the center, padded with white, or stretched.

The format is recognized by the content of a file, not by its name. Vector formats and programs (EPS, WMF, SVG) and icon
files are not supported. This module does not import torch, so worker processes start fast.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from danlu.data.images.jpeg_scans import count_file_scans
from danlu.limits import IMAGE_SIDE, JPEG_SCANS
from danlu.storage.disk import looks_like
from danlu.storage.regular_file import open_regular

Fit = Literal["crop", "pad", "stretch"]

_FORMATS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png", ".apng"),
    "GIF": (".gif",),
    "WEBP": (".webp",),
    "BMP": (".bmp",),
    "DIB": (".dib",),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".pbm", ".pgm", ".ppm", ".pnm"),
    "MPO": (".mpo",),
    "AVIF": (".avif",),
    "JPEG2000": (".jp2", ".j2k"),
    "PCX": (".pcx",),
    "QOI": (".qoi",),
    "TGA": (".tga",),
}
SUFFIXES = frozenset(suffix for suffixes in _FORMATS.values() for suffix in suffixes)
"""suffixes of image files"""
LARGEST = 100_000_000
"""maximum number of pixels of an image by default"""

STRIP = 1 << 22
"""pixels that are converted at a time: a conversion needs up to 32 bytes for each"""
_MODES = {1: "L", 3: "RGB"}
_GRAY = {"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N"}
_SIMPLE = {"1", "L", "P", "RGB", "CMYK"}  # they have 8 bits or fewer
_GAP = 3.0  # much larger images are first reduced to this multiple of the final size: the same quality, but faster
_ROTATED = (5, 6, 7, 8)  # the EXIF orientations that exchange width and height
_BITS_PER_SAMPLE = 258
_lock = threading.RLock()  # Pillow's limits are module variables


class Unreadable(Exception):
    """A file cannot be used.

    Args:
        reason: the reason, which follows the file name in messages.
        transient: whether the cause may be the disk or the machine, so another attempt may succeed.
    """

    def __init__(self, reason: str, transient: bool = False):
        super().__init__(reason, transient)  # both, because pickle passes them to the constructor
        self.transient = transient

    def __str__(self) -> str:
        return self.args[0]


class Header(NamedTuple):
    """The header of an image file.

    Attributes:
        height: height in pixels, after the orientation is applied.
        width: width in pixels, after the orientation is applied.
        gray: whether the image is gray.
    """

    height: int
    width: int
    gray: bool


def header(path: str | os.PathLike[str], largest: int = LARGEST) -> Header:
    """Read the header of an image file without decoding the image.

    Args:
        path: path of the file.
        largest: maximum number of pixels.

    Raises:
        Unreadable: if the file is not an image, or has more than ``largest`` pixels, or more than
            ``limits.IMAGE_SIDE`` rows or columns.

    >>> import tempfile, pathlib
    >>> file = pathlib.Path(tempfile.mkdtemp(), "x.png")
    >>> Image.new("L", (3, 2)).save(file)
    >>> header(file)
    Header(height=2, width=3, gray=True)
    """
    with _opened(path, largest) as file:
        width, height = file.size
        if _orientation(file) in _ROTATED and file.format != "TIFF":  # Pillow applies the orientation of TIFF files
            width, height = height, width
        return Header(height, width, file.mode in _GRAY)


def decode(
    path: str | os.PathLike[str], shape: tuple[int, int, int], fit: Fit = "crop", largest: int = LARGEST
) -> UInt8[np.ndarray, "c h w"]:
    """Decode an image file and convert the image to a shape, as described in this module.

    Args:
        path: path of the file.
        shape: channels (1 for gray, 3 for RGB), height and width.
        fit: "crop" scales until the shorter side fits and crops at the center; "pad" scales until the complete image
            fits and pads with white; "stretch" scales each side independently.
        largest: maximum number of pixels of the file.

    Raises:
        Unreadable: if the file is not an image or is damaged, or has more than ``largest`` pixels, more than
            ``limits.IMAGE_SIDE`` rows or columns, or, as a JPEG file, more than ``limits.JPEG_SCANS`` scans.

    >>> import tempfile, pathlib
    >>> file = pathlib.Path(tempfile.mkdtemp(), "x.png")
    >>> Image.new("RGB", (8, 4), (255, 0, 51)).save(file)
    >>> decode(file, (3, 4, 4))[:, 0, 0].tolist()
    [255, 0, 51]
    """
    channels, height, width = shape
    with _opened(path, largest) as file:
        if file.format in ("JPEG", "MPO"):
            _check_scans(file)
        file.load()
        if _orientation(file) != 1:
            ImageOps.exif_transpose(file, in_place=True)
        image = _fitted(_converted(file, _MODES[channels]), width, height, fit)
    pixels = np.asarray(image).reshape(height, width, channels)
    return np.array(pixels.transpose(2, 0, 1), order="C")  # a copy, because Pillow's memory is read-only


@contextmanager
def _opened(path: str | os.PathLike[str], largest: int) -> Iterator[ImageFile.ImageFile]:
    """Open a file with Pillow, and convert all exceptions to ``Unreadable``.

    The decoders of Pillow raise exceptions of many types for damaged files.
    """
    try:
        with _own_limits(), open_regular(path) as content:
            if not content.read(1):
                raise Unreadable("the file is empty")
            with Image.open(content, formats=_formats()) as file:
                width, height = file.size
                if width * height > largest:
                    raise Unreadable(f"{width} × {height} = {width * height:,} pixels exceed the limit of {largest:,}")
                if max(width, height) > IMAGE_SIDE:
                    raise Unreadable(f"a side of {max(width, height):,} pixels exceeds the limit of {IMAGE_SIDE:,}")
                Image.MAX_IMAGE_PIXELS = largest / 2  # Pillow refuses twice this number: tiles larger than the image
                yield file
    except Unreadable:
        raise
    except UnidentifiedImageError:
        raise Unreadable(_file_type(path)) from None
    except MemoryError as error:
        raise Unreadable("there is not enough memory to decode it", transient=True) from error
    except Exception as error:
        from_system = isinstance(error, OSError) and error.errno is not None  # errors of Pillow have no number
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise Unreadable(reason or type(error).__name__, from_system) from error


@contextmanager
def _own_limits() -> Iterator[None]:
    """Disable Pillow's limits and warnings, and its setting on truncated files, within the context."""
    with _lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
        Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = None, False
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = before


def _formats() -> list[str]:
    """The formats that this build of Pillow can read."""
    Image.init()
    return [name for name in _FORMATS if name in Image.OPEN]


def _file_type(path: str | os.PathLike[str]) -> str:
    """Description of the content of a file that is not an image."""
    with open_regular(path) as file:
        start = file.read(200)
    file_type = looks_like(start)
    beginning = f", {start.lstrip()[:20].decode()!r}" if file_type == "text" else ""
    return (
        f"the file is {file_type}{beginning}" if file_type else "the file is truncated, or its format is not supported"
    )


def _check_scans(file: ImageFile.ImageFile) -> None:
    """Refuse a progressive JPEG file with very many scans, each of which takes time for the whole image."""
    content: Any = file.fp
    position = content.tell()
    scans = count_file_scans(content)
    content.seek(position)
    if scans > JPEG_SCANS:
        raise Unreadable(f"it has {scans:,} scans, and at most {JPEG_SCANS} are allowed")


def _orientation(file: Image.Image) -> Any:
    """The EXIF orientation; 1 (upright) if the EXIF data is missing or damaged."""
    try:
        return Image.Image.getexif(file).get(0x0112, 1)  # the method of PNG files would decode the image
    except Exception:
        return 1


def _converted(file: ImageFile.ImageFile, mode: str) -> Image.Image:
    """An image with 8 bits, on white and in a mode. It is converted in strips if the steps need several copies."""
    if file.mode in _SIMPLE and not file.has_transparency_data:
        return file if file.mode == mode else file.convert(mode)
    width, height = file.size
    rows = max(1, STRIP // max(1, width))
    if rows >= height:
        return _on_white(_in_eight_bits(file, file)).convert(mode)
    image = Image.new(mode, file.size, None)  # every strip is written below
    for top in range(0, height, rows):
        strip = file.crop((0, top, width, min(height, top + rows)))
        image.paste(_on_white(_in_eight_bits(strip, file)).convert(mode), (0, top))
    return image


def _in_eight_bits(image: Image.Image, file: ImageFile.ImageFile) -> Image.Image:
    """Scale 16-bit images to 8 bits; Pillow would clip them at 255."""
    if image.mode not in ("I", "F") and not image.mode.startswith("I;16"):
        return image
    if image.mode == "F" or (image.mode == "I" and file.format not in ("PNG", "PPM")):
        raise Unreadable(f"pixels of mode {image.mode} have an unknown range")
    values = np.asarray(image).astype(np.float32)  # precise enough: v / 257 is never closer to a half than 1 / 514
    bits = getattr(file, "tag_v2", {}).get(_BITS_PER_SAMPLE)
    if bits is not None and tuple(np.atleast_1d(bits)) == (12,):
        values *= 65535 / 4095
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        values[values == transparent] = 65535
    values /= 257
    return Image.fromarray(np.rint(values, values).clip(0, 255, values).astype(np.uint8))


def _on_white(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image
    image = image if image.mode == "RGBA" else image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)


def _fitted(image: Image.Image, width: int, height: int, fit: Fit) -> Image.Image:
    image_width, image_height = image.size
    if fit == "pad":
        scale = min(width / image_width, height / image_height)
        inside = max(1, round(image_width * scale)), max(1, round(image_height * scale))
        padded = Image.new(image.mode, (width, height), "white")
        padded.paste(_scaled(image, inside), ((width - inside[0]) // 2, (height - inside[1]) // 2))
        return padded
    if fit == "crop" and image_width * height > width * image_height:
        cut = width * image_height / height
        left = int((image_width - cut) / 2)  # an integer, so a crop without scaling does not blur
        return _scaled(image, (width, height), (float(left), 0.0, left + cut, float(image_height)))
    if fit == "crop":
        cut = height * image_width / width
        top = int((image_height - cut) / 2)
        return _scaled(image, (width, height), (0.0, float(top), float(image_width), top + cut))
    return _scaled(image, (width, height))


def _scaled(
    image: Image.Image, size: tuple[int, int], box: tuple[float, float, float, float] | None = None
) -> Image.Image:
    return image.resize(size, Image.Resampling.LANCZOS, box=box, reducing_gap=_GAP)
