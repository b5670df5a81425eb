"""Image files as bytes of one shape: what becomes of every kind of file, and which are refused.

What becomes of a file:

- a camera's orientation (EXIF) is applied, so that the picture is upright;
- of an animation, and of a file with several pages, the first picture is taken;
- gray of 16 bits is scaled to 8 and rounded (v / 257), of 12 bits too (v / 4095 · 255); of colors of 16 bits a
  channel the upper byte is taken;
- what is transparent lies on white;
- palettes, CMYK and bits become gray or RGB; gray is 0.299 R + 0.587 G + 0.114 B; color profiles are not applied;
- pictures of another size are scaled by Lanczos' filter, then cut to the middle, bordered with white, or stretched.

The content decides what a file is, not its name. Formats that hold drawings or programs (EPS, WMF, SVG) or icons of
many sizes are not read. This file does without torch, so that the processes that decode start fast.
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

from danlu.storage.disk import looks_like

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
"""how the names of image files end"""
LARGEST = 100_000_000
"""pixels of the largest picture that is opened, if nothing else is said"""

_MODES = {1: "L", 3: "RGB"}
_GRAY = {"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N"}
_GAP = 3.0  # a picture that is much too large is first averaged to this many times its size: as good, and faster
_ON_ITS_SIDE = (5, 6, 7, 8)  # the EXIF orientations that exchange width and height
_BITS_PER_SAMPLE = 258
_one_at_a_time = threading.RLock()  # Pillow's limits are variables of its modules


class Unreadable(Exception):
    """Why a file cannot be used, as a half-sentence that follows its name.

    Args:
        reason: the half-sentence.
        passing: whether it may lie in the disk or the machine and not in the file, which may be readable another time.
    """

    def __init__(self, reason: str, passing: bool = False):
        super().__init__(reason, passing)  # both, so that it can be sent from one process to another
        self.passing = passing

    def __str__(self) -> str:
        return self.args[0]


class Header(NamedTuple):
    """What a file says about its picture.

    Attributes:
        height: in pixels, when it is upright.
        width: in pixels.
        gray: whether it can only hold shades of gray.
    """

    height: int
    width: int
    gray: bool


def header(path: str | os.PathLike[str], largest: int = LARGEST) -> Header:
    """What a file says about its picture, without decoding it.

    Args:
        path: of the file.
        largest: pixels that it may have.

    Raises:
        Unreadable: if it is no picture, or too large a one.

    >>> import tempfile, pathlib
    >>> file = pathlib.Path(tempfile.mkdtemp(), "x.png")
    >>> Image.new("L", (3, 2)).save(file)
    >>> header(file)
    Header(height=2, width=3, gray=True)
    """
    with _opened(path, largest) as file:
        width, height = file.size
        if _orientation(file) in _ON_ITS_SIDE and file.format != "TIFF":  # which Pillow turns when it opens it
            width, height = height, width
        return Header(height, width, file.mode in _GRAY)


def decode(
    path: str | os.PathLike[str], shape: tuple[int, int, int], fit: Fit = "crop", largest: int = LARGEST
) -> UInt8[np.ndarray, "c h w"]:
    """The picture in a file, as described above.

    Args:
        path: of the file.
        shape: channels (1 for gray, 3 for RGB), height and width.
        fit: "crop" scales until the shorter side fits and cuts to the middle; "pad" scales until the whole fits and
            borders it with white; "stretch" scales each side by itself.
        largest: pixels that the file's picture may have.

    Raises:
        Unreadable: if the file is no picture, a damaged one or too large a one.

    >>> import tempfile, pathlib
    >>> file = pathlib.Path(tempfile.mkdtemp(), "x.png")
    >>> Image.new("RGB", (8, 4), (255, 0, 51)).save(file)
    >>> decode(file, (3, 4, 4))[:, 0, 0].tolist()
    [255, 0, 51]
    """
    channels, height, width = shape
    with _opened(path, largest) as file:
        file.load()
        if _orientation(file) != 1:
            ImageOps.exif_transpose(file, in_place=True)
        image = _on_white(_in_eight_bits(file)).convert(_MODES[channels])
    pixels = np.asarray(_fitted(image, width, height, fit)).reshape(height, width, channels)
    return np.array(pixels.transpose(2, 0, 1), order="C")  # a copy, for Pillow's own memory is read-only


@contextmanager
def _opened(path: str | os.PathLike[str], largest: int) -> Iterator[ImageFile.ImageFile]:
    """A file as Pillow sees it before it decodes; whatever Pillow raises about it is a reason that it is unreadable.

    A decoder that meets damage may raise nearly anything, and every bit of it means the same to the user.
    """
    try:
        with _own_limits(), open(path, "rb") as content:
            if not content.read(1):
                raise Unreadable("it is empty")
            with Image.open(content, formats=_formats()) as file:
                width, height = file.size
                if width * height > largest:
                    raise Unreadable(f"it has {width} × {height} = {width * height:,} pixels; largest is {largest:,}")
                Image.MAX_IMAGE_PIXELS = largest / 2  # Pillow refuses twice that: tiles that are larger than the whole
                yield file
    except Unreadable:
        raise
    except UnidentifiedImageError:
        raise Unreadable(f"it is no picture that can be read: {_instead(path)}") from None
    except Exception as error:
        of_the_system = isinstance(error, OSError) and error.errno is not None  # Pillow's own have no number
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise Unreadable(reason or type(error).__name__, of_the_system or isinstance(error, MemoryError)) from error


@contextmanager
def _own_limits() -> Iterator[None]:
    """Set Pillow's own limits and warnings aside, and whatever somebody has told it about truncated files."""
    with _one_at_a_time, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
        Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = None, False
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = before


def _formats() -> list[str]:
    """Those that this Pillow can read: some need libraries that it was built without."""
    Image.init()
    return [name for name in _FORMATS if name in Image.OPEN]


def _instead(path: str | os.PathLike[str]) -> str:
    with open(path, "rb") as file:
        start = file.read(200)
    kind = looks_like(start)
    words = f", {start.lstrip()[:20].decode()!r}" if kind == "text" else ""
    return f"it holds {kind}{words}" if kind else "it is cut off, or of another format"


def _orientation(file: Image.Image) -> Any:
    """As the camera was held; a damaged record says nothing."""
    try:
        return Image.Image.getexif(file).get(0x0112, 1)  # that of PNG files would decode the picture
    except Exception:
        return 1


def _in_eight_bits(image: ImageFile.ImageFile) -> Image.Image:
    """Pillow cuts off what is above 255 where it should scale."""
    if image.mode not in ("I", "F") and not image.mode.startswith("I;16"):
        return image
    if image.mode == "F" or (image.mode == "I" and image.format not in ("PNG", "PPM")):
        raise Unreadable(f"its pixels are {image.mode} numbers of no known range")
    values = np.asarray(image).astype(np.float64)
    bits = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE)
    if bits is not None and tuple(np.atleast_1d(bits)) == (12,):
        values *= 65535 / 4095
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        values[values == clear] = 65535
    return Image.fromarray((values / 257).round().clip(0, 255).astype(np.uint8))


def _on_white(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)


def _fitted(image: Image.Image, width: int, height: int, fit: Fit) -> Image.Image:
    across, down = image.size
    if fit == "pad":
        scale = min(width / across, height / down)
        inside = max(1, round(across * scale)), max(1, round(down * scale))
        page = Image.new(image.mode, (width, height), "white")
        page.paste(_scaled(image, inside), ((width - inside[0]) // 2, (height - inside[1]) // 2))
        return page
    if fit == "crop" and across * height > width * down:
        cut = width * down / height
        left = int((across - cut) / 2)  # a whole number, so that a cut alone does not blur
        return _scaled(image, (width, height), (float(left), 0.0, left + cut, float(down)))
    if fit == "crop":
        cut = height * across / width
        top = int((down - cut) / 2)
        return _scaled(image, (width, height), (0.0, float(top), float(across), top + cut))
    return _scaled(image, (width, height))


def _scaled(
    image: Image.Image, size: tuple[int, int], box: tuple[float, float, float, float] | None = None
) -> Image.Image:
    return image.resize(size, Image.Resampling.LANCZOS, box=box, reducing_gap=_GAP)
