"""The layout of a folder of files: one subfolder per class, or none, and folders of official parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from jaxtyping import Int64
from torch import Tensor

from danlu.data.base.folder_listing import MAX_NAMES, FileEntry, FileType, Listing, count_of, other_content
from danlu.errors import UsageError, nearest
from danlu.printable import printable

_PART_OF = {"train": "train", "validation": "validation", "val": "validation", "valid": "validation", "test": "test"}


@dataclass(frozen=True)
class FilesOfPart:
    """Files of one part.

    Attributes:
        files: the files in order.
        labels: class of each file; 0 without classes.
        classes: names of the classes in the order of the labels; empty without classes.
    """

    files: Sequence[FileEntry]
    labels: Int64[Tensor, "n"]
    classes: tuple[str, ...]

    def take(self, index: Int64[Tensor, "..."]) -> FilesOfPart:
        """The files with these numbers, in this order."""
        return FilesOfPart([self.files[number] for number in index.tolist()], self.labels[index], self.classes)

    def labeled(self) -> dict[str, Tensor]:
        """The field ``label`` of the files; empty without classes."""
        return {"label": self.labels} if self.classes else {}


def groups_of_folder(root: Path, listing: Listing, of_type: FileType) -> dict[str, FilesOfPart]:
    """The files of each official part; without official parts, all files as the training part.

    Args:
        root: the folder.
        listing: its content.
        of_type: the type of the files.

    Raises:
        UsageError: if the folder has another layout.
    """
    if not listing.files:
        raise UsageError(f"{root} has no {of_type.many}{other_content(of_type, listing)}")
    folders = _official_folders(root, listing, of_type)
    names = {part: _class_names(root, folder, listing, of_type) for part, folder in folders.items()}
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


def _official_folders(root: Path, listing: Listing, of_type: FileType) -> dict[str, str]:
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
            f"{root} has {_names(part_folders)} and {count_of(of_type, loose)} outside of them; move the files into "
            f"the folders"
        )
    return folders


def _class_names(root: Path, folder: str, listing: Listing, of_type: FileType) -> tuple[str, ...]:
    """Names of the subfolders of a folder, each with at least one file; empty if there are no subfolders."""
    where, start = root / folder, f"{folder}/" if folder else ""
    below = [path.removeprefix(start) for path in listing.folders if path.startswith(start)]
    names = sorted(name for name in below if "/" not in name)
    count = Counter(file.path[len(start) :].partition("/")[0] for file in listing.files if file.path.startswith(start))
    loose = sorted(count.keys() - set(names))
    if not count:
        raise UsageError(f"{where} has no {of_type.many}{other_content(of_type, listing)}")
    if loose and names:
        raise UsageError(
            f"{where} has {count_of(of_type, loose)} beside the folders {_names(names)}; put every {of_type.one} into "
            f"the folder of its class, or all {of_type.many} into one folder without classes"
        )
    empty = [name for name in names if not count[name]]
    if empty:
        counts = ", ".join(f"{printable(name)} {number:,}" for name, number in sorted(count.items())[:MAX_NAMES])
        raise UsageError(
            f"{where}: no {of_type.many} in {_names(empty)} ({of_type.many} by class: {counts}); add {of_type.many} or "
            f"remove the folder"
        )
    for name, following in pairwise(sorted(names, key=printable)):
        if printable(name) == printable(following):
            raise UsageError(f"{where} has two folders whose name is printed as {printable(name)}; rename one of them")
    return tuple(names)


def _group(listing: Listing, folder: str, classes: tuple[str, ...]) -> FilesOfPart:
    start = f"{folder}/" if folder else ""
    files = [file for file in listing.files if file.path.startswith(start)]
    label_of = {name: label for label, name in enumerate(classes)}
    labels = [label_of.get(file.path[len(start) :].partition("/")[0], 0) for file in files]
    return FilesOfPart(files, torch.tensor(labels, dtype=torch.int64), classes)


def _names(names: Sequence[str]) -> str:
    """The names of the first folders, for messages."""
    return ", ".join(f"{printable(name)}/" for name in names[:MAX_NAMES]) + (", …" if len(names) > MAX_NAMES else "")
