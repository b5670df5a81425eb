"""Data sets from a folder of the user's images, with one subfolder per class, or without classes."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Int64
from torch import Tensor

from danlu.data.base.dataset import DataSet, Part
from danlu.data.base.split import refuse_seed_without_split, refuse_unused_split, stratified_split
from danlu.data.base.split_settings import Split
from danlu.data.images.decode import SUFFIXES
from danlu.data.images.decode_cache import FileEntry, decode_files
from danlu.data.images.info import ImageInfo
from danlu.data.images.settings import Images
from danlu.errors import UsageError, nearest
from danlu.printable import printable
from danlu.storage.access import Access

MIN_IMAGES = 3
"""one for each part"""

_PART_OF = {"train": "train", "validation": "validation", "val": "validation", "valid": "validation", "test": "test"}
_SYSTEM_FILES = {"thumbs.db", "desktop.ini", "__macosx", "@eadir", "__pycache__"}
_MAX_NAMES = 5  # maximum number of names in a message


def read_folder(
    argument: str = "", images: Images = Images(), split: Split = Split(), access: Access | None = None
) -> DataSet:
    """The images in a folder: ``image`` is (n, channels, height, width) in bytes; ``label`` (n,) if there are classes.

    Three layouts are supported. With one subfolder per class, such as ``cat/`` and ``dog/``, the classes are the names
    of the subfolders in sorted order; files can be in deeper folders. Without subfolders, there are no labels. With
    ``train/``, ``validation/`` (or ``val/``, ``valid/``) and ``test/``, each of which has one of these two layouts, the
    parts are official; a missing validation or test part is split off ``train/``. Splits are stratified by class. The
    module ``data.images.decode`` describes the conversion of the files.

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
    root = _root(argument)
    listing = list_images(root, access.progress)
    groups = _groups(root, listing)
    for part in ("validation", "test"):
        if part in groups:
            refuse_unused_split(split, part, f"{root} has a folder for the {part} part")
    refuse_seed_without_split(split, (getattr(split, part) for part in ("validation", "test") if part not in groups))
    parts = _split(root, groups, split)
    files = [file for part in parts.values() for file in part.files]
    decoded = decode_files(root, files, images, access)
    parts = _without(parts, decoded.left_out)
    _check(root, parts, split, groups.keys())
    classes = next(iter(parts.values())).classes
    bounds = torch.tensor([0, *(len(part.files) for part in parts.values())]).cumsum(0).tolist()
    train, validation, test = (
        Part(
            {"image": decoded.images[start:stop], **part.labeled()},
            sources={"image": decoded.source} if decoded.source else {},
        )
        for part, start, stop in zip(parts.values(), bounds, bounds[1:], strict=False)
    )
    info = ImageInfo(
        shape=tuple(decoded.images.shape[1:]),
        classes=len(classes),
        class_names=tuple(map(printable, classes)),
        fit=images.fit,
    )
    notes = (*_note_on_ignored(listing), *decoded.notes, *_note_on_left_out(decoded.left_out, files))
    return DataSet(f"folder:{printable(root.resolve().name)}", info, train, validation, test, notes)


def _root(argument: str) -> Path:
    if not argument:
        raise UsageError("the data set folder needs the path of a folder, for example folder:photos")
    root = Path(argument).expanduser()
    if root.is_file():
        raise UsageError(f"folder:{argument} is a file; give the folder that contains it")
    if not root.is_dir():
        neighbors = [path.name for path in root.parent.iterdir() if path.is_dir()] if root.parent.is_dir() else []
        hint = nearest(root.name, neighbors)
        raise UsageError(f"folder not found: {argument}" + (f"; {hint}" if hint.endswith("?") else ""))
    return root


class Listing(NamedTuple):
    """The content of a folder.

    Attributes:
        files: files with the suffix of an image format, sorted by path.
        folders: paths of the subfolders, down to two levels.
        others: number of ignored files by type.
    """

    files: list[FileEntry]
    folders: set[str]
    others: Counter[str]


def list_images(root: Path, progress: Callable[[str, int, int | None], None]) -> Listing:
    """List the image files in a folder, recognized by their suffixes.

    Args:
        root: the folder.
        progress: progress callback, called with the number of files.

    Raises:
        UsageError: if a folder cannot be listed, or a link refers to a file outside of the folder.
    """
    listing, real_root = Listing([], set(), Counter()), os.path.realpath(root)
    waiting = [""]
    while waiting:
        below = waiting.pop()
        try:
            with os.scandir(root / below) as entries:
                for entry in entries:
                    if _take(listing, entry, below + entry.name, real_root):
                        waiting.append(f"{below}{entry.name}/")
        except OSError as error:
            raise UsageError(f"{printable(str(root / below))} cannot be listed: {error.strerror or error}") from error
        progress("listing files", len(listing.files), None)
    progress("listing files", len(listing.files), len(listing.files))
    listing.files.sort()
    return listing


def _take(listing: Listing, entry: os.DirEntry[str], path: str, real_root: str) -> bool:
    """Add an entry of a folder to the listing. Returns whether it is a folder to be listed."""
    _, dot, end = entry.name.rpartition(".")
    suffix = dot + end.lower() if dot else ""
    if entry.name.startswith(".") or entry.name.lower() in _SYSTEM_FILES:
        listing.others["hidden"] += 1
    elif entry.is_symlink():
        _check_inside(entry, real_root)
        listing.others["links"] += 1
    elif entry.is_dir(follow_symlinks=False):
        if path.count("/") < 2:
            listing.folders.add(path)
        return True
    elif suffix not in SUFFIXES or not entry.is_file(follow_symlinks=False):
        listing.others[suffix or "without a suffix"] += 1
    else:
        state = entry.stat(follow_symlinks=False)
        listing.files.append(FileEntry(path, state.st_size, state.st_mtime_ns, state.st_ctime_ns))
    return False


def _check_inside(link: os.DirEntry[str], real_root: str) -> None:
    """Refuse links to files outside of the folder, which could be any file of the system."""
    target = os.path.realpath(link.path)
    if not Path(target).is_relative_to(real_root):
        raise UsageError(
            f"{printable(link.path)} is a link to {printable(target)}, which is outside of the folder; "
            f"replace the link by a copy of the file, or remove it"
        )


@dataclass(frozen=True)
class _Group:
    """Files of one part.

    Attributes:
        files: the files in order.
        labels: class of each file; 0 without classes.
        classes: names of the classes in the order of the labels; empty without classes.
    """

    files: Sequence[FileEntry]
    labels: Int64[Tensor, "n"]
    classes: tuple[str, ...]

    def take(self, index: Int64[Tensor, "..."]) -> _Group:
        return _Group([self.files[number] for number in index.tolist()], self.labels[index], self.classes)

    def labeled(self) -> dict[str, Tensor]:
        return {"label": self.labels} if self.classes else {}


def _groups(root: Path, listing: Listing) -> dict[str, _Group]:
    """The files of each official part; without official parts, all files as the training part."""
    if not listing.files:
        raise UsageError(f"{root} has no images{_other_content(listing)}")
    folders = _official_folders(root, listing)
    names = {part: _class_names(root, folder, listing) for part, folder in folders.items()}
    classes = names["train"]
    for part, part_classes in names.items():
        if bool(part_classes) != bool(classes):
            raise UsageError(
                f"{root / folders['train']} has {_layout(classes)}, and {root / folders[part]} has "
                f"{_layout(part_classes)}; all parts must have the same layout"
            )
        for name in part_classes:
            if name not in classes:
                folder = root / folders[part] / printable(name)
                raise UsageError(f"{folder}: {folders['train']}/ has no class of this name; {nearest(name, classes)}")
    return {part: _group(listing, folder, classes) for part, folder in folders.items()}


def _layout(classes: Sequence[str]) -> str:
    return "one subfolder per class" if classes else "no subfolders"


def _official_folders(root: Path, listing: Listing) -> dict[str, str]:
    """The folder of each official part; without official parts, the root as that of the training part."""
    top = sorted(path for path in listing.folders if "/" not in path)
    part_folders = [name for name in top if name.lower() in _PART_OF]
    others = [name for name in top if name.lower() not in _PART_OF]
    if not part_folders or (others and len(part_folders) == 1):  # a class can have the name train or test
        return {"train": ""}
    if others:
        raise UsageError(
            f"{root} has the folders {_names(part_folders)}, which look like parts, and {_names(others)}; put each "
            f"class into train/, validation/ and test/, or move the other folders elsewhere"
        )
    folders: dict[str, str] = {}
    for name in part_folders:
        part = _PART_OF[name.lower()]
        if part in folders:
            raise UsageError(
                f"{root} has two folders for the {part} part, {folders[part]}/ and {name}/; keep one of them"
            )
        folders[part] = name
    if "train" not in folders:
        raise UsageError(f"{root} has {_names(part_folders)} but no train/, which is needed for training")
    loose = [file.path for file in listing.files if "/" not in file.path]
    if loose:
        raise UsageError(
            f"{root} has {_names(part_folders)} and {_files(loose)} outside of them; move the files into the folders"
        )
    return folders


def _class_names(root: Path, folder: str, listing: Listing) -> tuple[str, ...]:
    """Names of the subfolders of a folder, each with at least one image; empty if there are no subfolders."""
    where, start = root / folder, f"{folder}/" if folder else ""
    below = [path.removeprefix(start) for path in listing.folders if path.startswith(start)]
    names = sorted(name for name in below if "/" not in name)
    count = Counter(file.path[len(start) :].partition("/")[0] for file in listing.files if file.path.startswith(start))
    loose = sorted(count.keys() - set(names))
    if not count:
        raise UsageError(f"{where} has no images{_other_content(listing)}")
    if loose and names:
        raise UsageError(
            f"{where} has {_files(loose)} beside the folders {_names(names)}; put every image into the folder of its "
            f"class, or all images into one folder without classes"
        )
    empty = [name for name in names if not count[name]]
    if empty:
        counts = ", ".join(f"{printable(name)} {number:,}" for name, number in sorted(count.items())[:_MAX_NAMES])
        raise UsageError(
            f"{where}: no images in {_names(empty)} (images by class: {counts}); add images or remove the folder"
        )
    for name, following in pairwise(sorted(names, key=printable)):
        if printable(name) == printable(following):
            raise UsageError(f"{where} has two folders whose name is printed as {printable(name)}; rename one of them")
    return tuple(names)


def _group(listing: Listing, folder: str, classes: tuple[str, ...]) -> _Group:
    start = f"{folder}/" if folder else ""
    files = [file for file in listing.files if file.path.startswith(start)]
    label_of = {name: label for label, name in enumerate(classes)}
    labels = [label_of.get(file.path[len(start) :].partition("/")[0], 0) for file in files]
    return _Group(files, torch.tensor(labels, dtype=torch.int64), classes)


def _split(root: Path, groups: dict[str, _Group], split: Split) -> dict[str, _Group]:
    """Train, validation, test: the official parts, with missing ones split off the training part."""
    fractions = {"validation": split.validation, "test": split.test}
    missing = [part for part in fractions if part not in groups]
    cuts = (1.0 - sum(fractions[part] for part in missing), *(fractions[part] for part in missing))
    indices = stratified_split(groups["train"].labels, cuts, split.seed)
    train = groups["train"]
    parts = {**groups, **{part: train.take(i) for part, i in zip(("train", *missing), indices, strict=True)}}
    parts = {part: parts[part] for part in ("train", "validation", "test")}
    _check(root, parts, split, groups.keys())
    return parts


def _without(parts: dict[str, _Group], left_out: dict[int, str]) -> dict[str, _Group]:
    """The parts without the files that were left out, given by their numbers over all parts."""
    if not left_out:
        return parts
    kept, start = {}, 0
    for name, part in parts.items():
        readable = [number for number in range(len(part.files)) if start + number not in left_out]
        kept[name] = part.take(torch.tensor(readable, dtype=torch.int64))
        start += len(part.files)
    return kept


def _check(root: Path, parts: dict[str, _Group], split: Split, official: Collection[str]) -> None:
    """Check that no part is empty, and that every class has a training image."""
    total = sum(len(part.files) for part in parts.values())
    if total < MIN_IMAGES:
        images = "1 usable image" if total == 1 else f"{total} usable images"
        raise UsageError(f"{root} has {images}, and at least {MIN_IMAGES} are needed")
    train = parts["train"]
    for label, name in enumerate(train.classes):
        if not (train.labels == label).any():
            count = sum(int((part.labels == label).sum()) for part in parts.values())
            raise UsageError(
                f"{root}: class {printable(name)} has {count} of {total:,} images, and none in the training part; "
                f"add images of this class, or reduce split.validation and split.test",
                settings=("split.validation", "split.test"),
            )
    for name, fraction in (("train", 1.0), ("validation", split.validation), ("test", split.test)):
        if not len(parts[name].files) and (fraction or name in official):
            classes = f" in {len(train.classes)} classes" if train.classes else ""
            raise UsageError(
                f"{root}: the {name} part would be empty ({total:,} images{classes}); add images, change "
                f"split.validation and split.test, or put images of this part into {root / name}/",
                settings=("split.validation", "split.test"),
            )


def _names(names: Sequence[str]) -> str:
    """The names of the first folders, for messages."""
    return ", ".join(f"{printable(name)}/" for name in names[:_MAX_NAMES]) + (", …" if len(names) > _MAX_NAMES else "")


def _files(names: Sequence[str]) -> str:
    """The number of image files and the names of the first ones, for messages."""
    few = ", ".join(map(printable, names[:_MAX_NAMES])) + (", …" if len(names) > _MAX_NAMES else "")
    return f"{len(names):,} image file{'s' * (len(names) > 1)} ({few})"


def _other_content(listing: Listing) -> str:
    """The other content of a folder without images, and the supported suffixes, for messages."""
    others = f"; it has other files ({_kinds(listing)})" if listing.others else ""
    text = "; for text, write text: before the path" if listing.others[".txt"] else ""
    return f" in a supported format{others}{text}; supported suffixes: {', '.join(sorted(SUFFIXES))}"


def _kinds(listing: Listing) -> str:
    few = listing.others.most_common(_MAX_NAMES)
    more = listing.others.total() - sum(count for _, count in few)
    return ", ".join([f"{count:,} {printable(kind)}" for kind, count in few] + [f"{more:,} more"] * bool(more))


def _note_on_ignored(listing: Listing) -> list[str]:
    count = listing.others.total()
    return [f"{count:,} other file{'s are' if count > 1 else ' is'} ignored: {_kinds(listing)}"] if count else []


def _note_on_left_out(left_out: dict[int, str], files: Sequence[FileEntry]) -> list[str]:
    lines = sorted((files[number].path, reason) for number, reason in left_out.items())
    few = [f"{printable(path)} ({reason})" for path, reason in lines[:_MAX_NAMES]]
    more = [f"and {len(lines) - _MAX_NAMES:,} more"] if len(lines) > _MAX_NAMES else []
    count = f"{len(lines):,} of {len(files):,} files could not be read and were left out"
    return [f"{count}: {', '.join(few + more)}"] if lines else []
