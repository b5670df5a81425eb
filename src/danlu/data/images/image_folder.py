"""Data sets from a folder of the user's images, with one subfolder per class, or without classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from danlu.data.base.class_folders import parts_of_folder
from danlu.data.base.dataset import DataSet, Part
from danlu.data.base.folder_listing import (
    MAX_NAMES,
    FileEntry,
    FileType,
    Listing,
    find_folder,
    list_files,
    note_on_ignored,
)
from danlu.data.base.number_target import NumberTarget, fitted_target
from danlu.data.base.split_settings import Split
from danlu.data.images.decode import SUFFIXES
from danlu.data.images.decode_cache import decode_files
from danlu.data.images.info import ImageInfo
from danlu.data.images.number_file import read_numbers
from danlu.data.images.settings import Images
from danlu.errors import UsageError
from danlu.printable import printable
from danlu.storage.access import Access

IMAGE_FILES = FileType(
    one="image",
    many="images",
    file="image file",
    dataset="folder",
    suffixes=frozenset(SUFFIXES),
    hints={
        ".txt": "for text, write text: before the path",
        ".wav": "for waveforms, write wav: before the path",
    },
)


def read_folder(
    argument: str = "", images: Images = Images(), split: Split = Split(), access: Access | None = None
) -> DataSet:
    """The images in a folder: ``image`` is (n, channels, height, width) in bytes; ``label`` (n,) if there are classes.

    With ``images.numbers`` there is ``target`` (n,) in place of a label, the standardized number of each image.

    ``data.base.class_folders.parts_of_folder`` describes the layouts of folders, and the module ``data.images.decode``
    the conversion of the files.

    Files are decoded once, to the cache, and are mapped from there. Hidden files, links, and files without the suffix
    of an image format are ignored and counted in the notes. Links to files outside of the folder are refused.

    Args:
        argument: path of the folder, relative to the current folder.
        images: how the files are read.
        split: fractions and seed of the parts that are not official.
        access: has the cache and the progress callback.

    Raises:
        UsageError: if the folder has another layout or too few images, or files cannot be read.
        RunError: if the decoded images cannot be written.

    >>> import tempfile
    >>> from PIL import Image
    >>> photos = Path(tempfile.mkdtemp())
    >>> for name in ("cat", "dog"):
    ...     (photos / name).mkdir()
    ...     for number in range(10):
    ...         Image.new("L", (6, 4), number).save(photos / name / f"{number}.png")
    >>> data = read_folder(str(photos))
    >>> data.info.shape, data.info.class_names, len(data.train), len(data.validation), len(data.test)
    ((1, 4, 6), ('cat', 'dog'), 14, 2, 4)
    """
    access = access or Access()
    root = find_folder(argument, IMAGE_FILES)
    listing = list_images(root, access.progress)
    folder = parts_of_folder(root, listing, IMAGE_FILES, split)
    files = folder.files
    name, numbers = ("", {}) if images.numbers is None else read_numbers(Path(images.numbers).expanduser(), files)
    if numbers and folder.classes:
        raise UsageError(
            f"{root} has one subfolder per class, and images.numbers gives a number for each image; put all images "
            f"into one folder, or leave images.numbers out",
            settings=("images.numbers",),
        )
    decoded = decode_files(root, files, images, access)
    folder = folder.without(decoded.left_out)
    values = [np.array([numbers[file.path] for file in part.files]) for part in folder.parts.values() if numbers]
    target = fitted_target(name, values[0], str(images.numbers)) if numbers else None
    bounds = torch.tensor([0, *(len(part.files) for part in folder.parts.values())]).cumsum(0).tolist()
    train, validation, test = (
        Part(
            {"image": decoded.images[start:stop], **part.labeled(), **_standardized(target, number)},
            sources={"image": decoded.source} if decoded.source else {},
        )
        for part, number, start, stop in zip(
            folder.parts.values(), values or (None, None, None), bounds, bounds[1:], strict=False
        )
    )
    info = ImageInfo(
        shape=tuple(decoded.images.shape[1:]),
        classes=len(folder.classes),
        class_names=tuple(map(printable, folder.classes)),
        fit=images.fit,
        target=target,
    )
    resized = (decoded.resized,) if decoded.resized else ()
    notes = (*note_on_ignored(listing), *resized, *decoded.notes, *_note_on_left_out(decoded.left_out, files))
    name = f"folder:{printable(root.resolve().name)}"
    return DataSet(name, info, train, validation, test, notes, problems=resized)


def _standardized(target: NumberTarget | None, numbers: np.ndarray | None) -> dict[str, Tensor]:
    """The field ``target`` of a part; empty without numbers."""
    if target is None or numbers is None:
        return {}
    return {"target": torch.from_numpy(((numbers - target.shift) / target.scale).astype(np.float32))}


def list_images(root: Path, progress: Callable[[str, int, int | None], None]) -> Listing:
    """List the image files in a folder, recognized by their suffixes; see ``list_files``."""
    return list_files(root, IMAGE_FILES.suffixes, progress)


def _note_on_left_out(left_out: dict[int, str], files: Sequence[FileEntry]) -> list[str]:
    lines = sorted((files[number].path, reason) for number, reason in left_out.items())
    few = [f"{printable(path)} ({reason})" for path, reason in lines[:MAX_NAMES]]
    more = [f"and {len(lines) - MAX_NAMES:,} more"] if len(lines) > MAX_NAMES else []
    count = f"{len(lines):,} of {len(files):,} files could not be read and were left out"
    return [f"{count}: {', '.join(few + more)}"] if lines else []
