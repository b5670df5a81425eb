"""Image files as inputs of a model, and generated images as files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from danlu.app.console.progress import Screen
from danlu.app.files.file_writer import FileWriter, Form, ImageGrid, npy
from danlu.app.files.find_files import find_files
from danlu.app.files.image_grid import as_bytes, make_grid, png
from danlu.app.files.inputs import Input
from danlu.data.base.dataset import DataInfo
from danlu.data.images.background import background_is
from danlu.data.images.decode import LARGEST, SUFFIXES, Unreadable, decode, header
from danlu.data.images.info import ImageInfo
from danlu.errors import RunError, UsageError


def find_images(paths: list[str | Path]) -> list[Path]:
    """The given files, and for a folder its images in sorted order.

    Raises:
        UsageError: if a path does not exist, or a folder has no images.
    """
    return find_files(paths, SUFFIXES, "image files")


def read_image(path: Path, info: DataInfo, invert: bool = False, largest: int = LARGEST) -> Float[Tensor, "c h w"]:
    """Read an image as an input of a model: decoded as in ``folder:PATH``, scaled to the range of the data.

    Args:
        path: a file that Pillow can read.
        info: shape (channels, height, width), range, and how images of other shapes are fitted.
        invert: invert dark on light to light on dark.
        largest: maximal number of pixels of the image.

    Raises:
        UsageError: if the inputs of the model are not images.
        RunError: if the file is not an image, is damaged, or is too large.
    """
    if not isinstance(info, ImageInfo) or not info.viewable:
        raise UsageError(f"this model takes {info.description}, not image files")
    channels, height, width = info.shape
    try:
        pixels = torch.from_numpy(decode(path, (channels, height, width), info.fit, largest)).float()
    except Unreadable as error:
        raise RunError(f"{path}: not a readable image: {error}") from error
    low, high = info.range
    return low + (255 - pixels if invert else pixels) / 255 * (high - low)


def read_images(
    files: Iterable[str | Path],
    info: DataInfo,
    invert: bool,
    encoding: str,
    screen: Screen,
    display: Callable[[str], str],
) -> Iterator[Input]:
    """Each image of files and folders as an input; arguments as in ``inputs.inputs_of``.

    Prints a warning if most images are dark on light and the training images were light on dark, or the reverse.
    """
    count = opposite = 0
    for path in find_images(list(files)):
        try:
            x = read_image(path, info, invert)[None]
        except RunError as error:  # the other files are still read
            yield Input([str(path)], None, str(error))
            continue
        count, opposite = count + 1, opposite + _has_opposite_background(x, info)
        yield Input([str(path)], x)
    if isinstance(info, ImageInfo) and 2 * opposite > count:
        screen.say(_warning_of_background(opposite, count, info, invert))


def _has_opposite_background(x: Tensor, info: DataInfo) -> bool:
    """Whether an image is light at its border and those of the training were dark, or the reverse."""
    if not isinstance(info, ImageInfo) or info.background is None:
        return False
    return bool(background_is(x, "light" if info.background == "dark" else "dark", info))


def _warning_of_background(opposite: int, count: int, info: ImageInfo, invert: bool) -> str:
    found = "light" if info.background == "dark" else "dark"
    fix = "leave out --invert" if invert else "--invert inverts them (in Python: invert=True)"
    have = "the image has" if count == 1 else f"{opposite:,} of {count:,} images have"
    inverted = ", inverted," if invert else ""
    return f"warning: {have}{inverted} a {found} background, and the training images had a {info.background} one; {fix}"


def say_resized(
    paths: Iterable[str | Path], info: DataInfo, screen: Screen, display: Callable[[str], str] = str
) -> None:
    """Print a note for each image that has another size than the images of a model.

    Args:
        paths: images, or folders of images.
        info: the inputs of the model; if they are no images, nothing is printed.
        screen: prints the notes.
        display: replaces the path of standard input by its name, see ``with_standard_input``.
    """
    if info.image_size is None:
        return
    height, width = info.image_size
    for path in find_images(list(paths)):
        try:
            found = header(path)
        except Unreadable:  # reported when it is read
            continue
        if (found.height, found.width) != (height, width):
            screen.say(
                f"{display(str(path))}: {found.width}×{found.height} pixels; resized to {width}×{height}, the size of "
                f"the model's images"
            )


def _content(form: Form, x: Tensor, info: DataInfo, grid: ImageGrid | None, known: np.ndarray | None) -> bytes:
    if form == "array":
        return npy(x.cpu().numpy())
    grid = grid or ImageGrid(x)
    return png(make_grid(grid.images, grid.columns, info.range, grid.heads))


def _files(x: Tensor, info: DataInfo) -> list[bytes]:
    return [png(as_bytes(image, info.range).permute(1, 2, 0)) for image in x]


WRITER = FileWriter(
    examples="images",
    forms={".png": "grid", ".npy": "array", "/": "folder"},
    endings=".png (an image grid), .npy (an array) or / (a folder of images)",
    writable=lambda info: info.viewable,
    content=_content,
    files=_files,
)
