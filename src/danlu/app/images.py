"""Image files as inputs of a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from danlu.data.dataset import DataInfo
from danlu.errors import RunError, UsageError

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm"}
_MODES = {1: "L", 3: "RGB"}


def find_images(paths: list[str | Path]) -> list[Path]:
    """The files that are named, and for a folder the images in it, sorted.

    Raises:
        UsageError: if something is not there, or a folder has no images.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
            if not inside:
                raise UsageError(f"{path} holds no images (looked for {', '.join(sorted(SUFFIXES))})")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise UsageError(f"there is no file {path}")
    return found


def read_image(path: Path, info: DataInfo, invert: bool = False) -> Float[Tensor, "c h w"]:
    """An image as a model wants it: turned upright, grey or RGB on white, resized, scaled to the range of the data.

    Of an animation the first picture is taken. Grey of 16 bits is scaled to 8; other numbers have no known range.

    Args:
        path: a file that Pillow reads.
        info: shape (channels, height, width) and range.
        invert: dark on light becomes light on dark.

    Raises:
        UsageError: if the model takes no images.
        RunError: if the file is no image, or a damaged one.
    """
    if info.kind != "images" or info.shape[0] not in _MODES:
        raise UsageError(f"this model takes {info.kind} of shape {info.shape}, not image files")
    channels, height, width = info.shape
    try:
        with Image.open(path) as file:
            image = _in_eight_bits(ImageOps.exif_transpose(file), path)
            if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            image = image.convert(_MODES[channels]).resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise RunError(f"{path} cannot be read as an image: {error}") from error
    if invert:
        image = ImageOps.invert(image)
    low, high = info.range
    pixels = torch.from_numpy(np.array(image, dtype=np.float32)).view(height, width, channels).permute(2, 0, 1)
    return low + pixels / 255 * (high - low)


def _in_eight_bits(image: Image.Image, path: Path) -> Image.Image:
    """Pillow cuts off what is above 255 where it should scale."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        return Image.fromarray((np.asarray(image, dtype=np.float64) / 257).round().clip(0, 255).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise RunError(f"{path} cannot be read as an image: its pixels are {image.mode} numbers of no known range")
    return image
