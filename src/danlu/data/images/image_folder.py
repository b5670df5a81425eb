"""Image files of the user's own: a folder of them, with a sub-folder for each class or without classes."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Int64
from torch import Tensor

from danlu.data.base.dataset import DataSet, Part
from danlu.data.base.split import Split, refuse_unused_fraction, stratified_split
from danlu.data.images.decode import SUFFIXES
from danlu.data.images.decode_cache import FileEntry, decode_files, printable
from danlu.data.images.info import ImageInfo
from danlu.data.images.settings import Images
from danlu.errors import UsageError, nearest
from danlu.storage.access import Access

FEWEST_IMAGES = 3
"""one for each part"""

_PART_OF = {"train": "train", "validation": "validation", "val": "validation", "valid": "validation", "test": "test"}
_OF_THE_SYSTEM = {"thumbs.db", "desktop.ini", "__macosx", "@eadir", "__pycache__"}
_NAMED = 5  # things that a note names


def read_folder(
    argument: str = "", images: Images = Images(), split: Split = Split(), access: Access | None = None
) -> DataSet:
    """The image files below a folder: ``image`` is (n, channels, height, width) in bytes, ``label`` (n,) if there are
    classes.

    Three layouts are known. With a sub-folder for each class, ``cat/…`` and ``dog/…``, the classes are the names of
    the sub-folders in sorted order, and files may lie deeper in them. Without sub-folders there are no labels. And with
    ``train/``, ``validation/`` (or ``val/``, ``valid/``) and ``test/``, each of which is laid out in one of these ways,
    the parts are official; what is missing of the last two is split off ``train/``. Parts are split by the shares and
    seed of ``split``, every class alike. What becomes of each kind of file is said in ``data.pictures``.

    Files are decoded once and mapped from the cache after that. Hidden files, links, and files whose names are not
    those of images are left alone and counted in the notes; links that lead out of the folder are refused.

    Args:
        argument: path of the folder, relative to the current one.
        images: how to read the files.
        split: shares and seed of the parts that are not official.
        access: has the cache, and is told of progress.

    Raises:
        UsageError: if the folder is not laid out like this, has too few images, or files cannot be read.
        RunError: if the decoded files cannot be kept.

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
            refuse_unused_fraction(split, part, f"{root} has a folder of its own for it")
    parts = _parted(root, groups, split)
    files = [file for part in parts.values() for file in part.files]
    done = decode_files(root, files, images, access)
    parts = _without(parts, done.left_out)
    _check(root, parts, split, groups.keys())
    classes = next(iter(parts.values())).classes
    ends = torch.tensor([0, *(len(part.files) for part in parts.values())]).cumsum(0).tolist()
    train, validation, test = (
        Part({"image": done.images[start:stop], **part.labeled()}, mapped=done.mapped)
        for part, start, stop in zip(parts.values(), ends, ends[1:], strict=False)
    )
    info = ImageInfo(
        shape=tuple(done.images.shape[1:]),
        classes=len(classes),
        class_names=tuple(map(printable, classes)),
        fit=images.fit,
    )
    notes = (*_about_others(listing), *done.notes, *_about_left_out(done.left_out, files))
    return DataSet(f"folder:{printable(root.resolve().name)}", info, train, validation, test, notes)


def _root(argument: str) -> Path:
    if not argument:
        raise UsageError("after folder comes the path of a folder, as in folder:photos")
    root = Path(argument).expanduser()
    if root.is_file():
        raise UsageError(f"folder:{argument} names a file; name the folder that it lies in")
    if not root.is_dir():
        beside = [path.name for path in root.parent.iterdir() if path.is_dir()] if root.parent.is_dir() else []
        raise UsageError(f"there is no folder {argument}" + (f"; {nearest(root.name, beside)}" if beside else ""))
    return root


class Listing(NamedTuple):
    """What a folder holds.

    Attributes:
        files: those whose names are those of images, sorted by path.
        folders: paths of the folders in it, and in those.
        others: how many of each kind were left alone.
    """

    files: list[FileEntry]
    folders: set[str]
    others: Counter[str]


def list_images(root: Path, progress: Callable[[str, int, int | None], None]) -> Listing:
    """The image files below a folder by their names; none is opened.

    Args:
        root: the folder.
        progress: is told how many have been found.

    Raises:
        UsageError: if a folder cannot be listed, or a link leads out of it.
    """
    listing, inside = Listing([], set(), Counter()), os.path.realpath(root)
    waiting = [""]
    while waiting:
        below = waiting.pop()
        try:
            with os.scandir(root / below) as entries:
                for entry in entries:
                    if _take(listing, entry, below + entry.name, inside):
                        waiting.append(f"{below}{entry.name}/")
        except OSError as error:
            raise UsageError(f"{printable(str(root / below))} cannot be listed: {error.strerror or error}") from error
        progress("list", len(listing.files), None)
    progress("list", len(listing.files), len(listing.files))
    listing.files.sort()
    return listing


def _take(listing: Listing, entry: os.DirEntry[str], path: str, inside: str) -> bool:
    """Put an entry where it belongs; whether it is a folder to go into."""
    _, dot, end = entry.name.rpartition(".")
    suffix = dot + end.lower() if dot else ""
    if entry.name.startswith(".") or entry.name.lower() in _OF_THE_SYSTEM:
        listing.others["hidden"] += 1
    elif entry.is_symlink():
        _check_inside(entry, inside)
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


def _check_inside(link: os.DirEntry[str], inside: str) -> None:
    """A link within the folder would only show a file twice; one that leads out could show any file of the system."""
    target = os.path.realpath(link.path)
    if not Path(target).is_relative_to(inside):
        raise UsageError(
            f"{printable(link.path)} is a link to {printable(target)}, which lies outside of the folder; "
            f"links that lead out are not followed: copy what it points to, or remove it"
        )


@dataclass(frozen=True)
class _Group:
    """Files that belong together.

    Attributes:
        files: in order.
        labels: class of each; 0 if there are none.
        classes: their names in the order of the labels; none for files without classes.
    """

    files: Sequence[FileEntry]
    labels: Int64[Tensor, "n"]
    classes: tuple[str, ...]

    def take(self, index: Int64[Tensor, "..."]) -> _Group:
        return _Group([self.files[number] for number in index.tolist()], self.labels[index], self.classes)

    def labeled(self) -> dict[str, Tensor]:
        return {"label": self.labels} if self.classes else {}


def _groups(root: Path, listing: Listing) -> dict[str, _Group]:
    """The files of each official part, or all of them as those to split."""
    if not listing.files:
        raise UsageError(f"{root} holds no images{_instead(listing)}")
    places = _official(root, listing)
    names = {part: _class_names(root, place, listing) for part, place in places.items()}
    classes = names["train"]
    for part, some in names.items():
        if bool(some) != bool(classes):
            raise UsageError(
                f"{root / places['train']} has {_layout(classes)} and {root / places[part]} has {_layout(some)}; "
                f"lay out all parts alike"
            )
        for name in some:
            if name not in classes:
                where = root / places[part] / printable(name)
                raise UsageError(f"{where} is a class that {places['train']}/ does not have; {nearest(name, classes)}")
    return {part: _group(listing, place, classes) for part, place in places.items()}


def _layout(classes: Sequence[str]) -> str:
    return "a sub-folder for each class" if classes else "no sub-folders"


def _official(root: Path, listing: Listing) -> dict[str, str]:
    """The folder of each official part; the whole, to be split, where there are none."""
    top = sorted(path for path in listing.folders if "/" not in path)
    named = [name for name in top if name.lower() in _PART_OF]
    rest = [name for name in top if name.lower() not in _PART_OF]
    if not named or (rest and len(named) == 1):  # a class may be called train, or test
        return {"train": ""}
    if rest:
        raise UsageError(
            f"{root} holds {_names(named)}, which look like parts, and {_names(rest)} beside them; put each class into "
            f"train/, validation/ and test/, or move elsewhere what is no part"
        )
    places: dict[str, str] = {}
    for name in named:
        part = _PART_OF[name.lower()]
        if part in places:
            raise UsageError(f"{root} holds {places[part]}/ and {name}/, which both mean {part}; keep one of them")
        places[part] = name
    if "train" not in places:
        raise UsageError(f"{root} holds {_names(named)} and no train/; there is nothing to learn from")
    loose = [file.path for file in listing.files if "/" not in file.path]
    if loose:
        raise UsageError(f"{root} holds {_names(named)} and {_files(loose)} beside them; move each into one of them")
    return places


def _class_names(root: Path, place: str, listing: Listing) -> tuple[str, ...]:
    """The sub-folders of a place, each with at least one image; none if its images lie in it."""
    where, start = root / place, f"{place}/" if place else ""
    below = [path.removeprefix(start) for path in listing.folders if path.startswith(start)]
    names = sorted(name for name in below if "/" not in name)
    count = Counter(file.path[len(start) :].partition("/")[0] for file in listing.files if file.path.startswith(start))
    loose = sorted(count.keys() - set(names))
    if not count:
        raise UsageError(f"{where} holds no images{_instead(listing)}")
    if loose and names:
        raise UsageError(
            f"{where} holds {_files(loose)} beside the folders {_names(names)}; put every image into the folder of its "
            f"class, or all into one folder without classes"
        )
    empty = [name for name in names if not count[name]]
    if empty:
        has = ", ".join(f"{printable(name)} {number:,}" for name, number in sorted(count.items())[:_NAMED])
        raise UsageError(f"{where} holds no images in {_names(empty)} (images by class: {has}); fill or remove it")
    return tuple(names)


def _group(listing: Listing, place: str, classes: tuple[str, ...]) -> _Group:
    start = f"{place}/" if place else ""
    files = [file for file in listing.files if file.path.startswith(start)]
    label_of = {name: label for label, name in enumerate(classes)}
    labels = [label_of.get(file.path[len(start) :].partition("/")[0], 0) for file in files]
    return _Group(files, torch.tensor(labels, dtype=torch.int64), classes)


def _parted(root: Path, groups: dict[str, _Group], split: Split) -> dict[str, _Group]:
    """Train, validation, test: the official ones, and what is missing of them split off train."""
    shares = {"validation": split.validation, "test": split.test}
    missing = [part for part in shares if part not in groups]
    cuts = (1.0 - sum(shares[part] for part in missing), *(shares[part] for part in missing))
    indices = stratified_split(groups["train"].labels, cuts, split.seed)
    whole = groups["train"]
    parts = {**groups, **{part: whole.take(i) for part, i in zip(("train", *missing), indices, strict=True)}}
    parts = {part: parts[part] for part in ("train", "validation", "test")}
    _check(root, parts, split, groups.keys())
    return parts


def _without(parts: dict[str, _Group], left_out: dict[int, str]) -> dict[str, _Group]:
    """The parts without files that are known by their numbers in all of them."""
    if not left_out:
        return parts
    kept, start = {}, 0
    for name, part in parts.items():
        good = [number for number in range(len(part.files)) if start + number not in left_out]
        kept[name] = part.take(torch.tensor(good, dtype=torch.int64))
        start += len(part.files)
    return kept


def _check(root: Path, parts: dict[str, _Group], split: Split, official: Collection[str]) -> None:
    """Every part that is wanted has an image, and every class one to learn from."""
    total = sum(len(part.files) for part in parts.values())
    if total < FEWEST_IMAGES:
        images = "1 image" if total == 1 else f"{total} images"
        raise UsageError(f"{root} holds {images} that can be used, and at least {FEWEST_IMAGES} are needed")
    train = parts["train"]
    for label, name in enumerate(train.classes):
        if not (train.labels == label).any():
            count = sum(int((part.labels == label).sum()) for part in parts.values())
            raise UsageError(
                f"{root}: the class {printable(name)} has {count} of {total:,} images, and none of them is for "
                f"training; add images of it, or lower --split.validation and --split.test"
            )
    for name, share in (("train", 1.0), ("validation", split.validation), ("test", split.test)):
        if not len(parts[name].files) and (share or name in official):
            classes = f" in {len(train.classes)} classes" if train.classes else ""
            raise UsageError(
                f"{root}: of {total:,} images{classes} none is left for the {name} part; add images, change "
                f"--split.validation and --split.test, or put images for it into {root / name}/"
            )


def _names(names: Sequence[str]) -> str:
    """Folders, of many the first."""
    return ", ".join(f"{printable(name)}/" for name in names[:_NAMED]) + (", …" if len(names) > _NAMED else "")


def _files(names: Sequence[str]) -> str:
    """How many image files, and of many the first."""
    few = ", ".join(map(printable, names[:_NAMED])) + (", …" if len(names) > _NAMED else "")
    return f"{len(names):,} image file{'s' * (len(names) > 1)} ({few})"


def _instead(listing: Listing) -> str:
    """What a folder without images holds."""
    kinds = f"; it holds other files ({_kinds(listing)})" if listing.others else ""
    text = "; texts are read with text: before the path" if listing.others[".txt"] else ""
    return f" that danlu reads{kinds}{text}; their names end in {', '.join(sorted(SUFFIXES))}"


def _kinds(listing: Listing) -> str:
    few = listing.others.most_common(_NAMED)
    more = listing.others.total() - sum(count for _, count in few)
    return ", ".join([f"{count:,} {printable(kind)}" for kind, count in few] + [f"{more:,} more"] * bool(more))


def _about_others(listing: Listing) -> list[str]:
    count = listing.others.total()
    return [f"{count:,} other file{'s were' if count > 1 else ' was'} left alone: {_kinds(listing)}"] if count else []


def _about_left_out(left_out: dict[int, str], files: Sequence[FileEntry]) -> list[str]:
    lines = sorted((files[number].path, reason) for number, reason in left_out.items())
    few = [f"{printable(path)} ({reason})" for path, reason in lines[:_NAMED]]
    more = [f"and {len(lines) - _NAMED:,} more"] if len(lines) > _NAMED else []
    count = f"{len(lines):,} of {len(files):,} files could not be read and were left out"
    return [f"{count}: {', '.join(few + more)}"] if lines else []
