"""The files of a folder by class and by part: official parts, or a random split."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from danlu.data.base.folder_layout import FilesOfPart, groups_of_folder
from danlu.data.base.folder_listing import FileEntry, FileType, Listing
from danlu.data.base.split import refuse_seed_without_split, refuse_unused_split, stratified_split
from danlu.data.base.split_settings import Split
from danlu.errors import UsageError
from danlu.printable import printable

MIN_FILES = 3
"""one for each part"""


@dataclass(frozen=True)
class FolderParts:
    """The files of a folder in three parts.

    Attributes:
        root: the folder.
        of_type: the type of the files.
        split: fractions and seed of the parts that are not official.
        parts: the files of each part, in the order train, validation, test.
        official: names of the parts that have a folder of their own.
    """

    root: Path
    of_type: FileType
    split: Split
    parts: Mapping[str, FilesOfPart]
    official: Collection[str]

    @property
    def files(self) -> list[FileEntry]:
        """The files of all parts, part by part."""
        return [file for part in self.parts.values() for file in part.files]

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; empty without classes."""
        return self.parts["train"].classes

    def without(self, left_out: Collection[int]) -> FolderParts:
        """The parts without some of the files, given by their numbers in ``files``.

        Raises:
            UsageError: if a part is then empty, or a class has no training file.
        """
        if not left_out:
            return self
        kept, start = {}, 0
        for name, part in self.parts.items():
            readable = [number for number in range(len(part.files)) if start + number not in left_out]
            kept[name] = part.take(torch.tensor(readable, dtype=torch.int64))
            start += len(part.files)
        rest = replace(self, parts=kept)
        _check(rest)
        return rest


def parts_of_folder(root: Path, listing: Listing, of_type: FileType, split: Split) -> FolderParts:
    """Divide the files of a folder into three parts.

    Three layouts are supported. With one subfolder per class, such as ``cat/`` and ``dog/``, the classes are the names
    of the subfolders in sorted order; files can be in deeper folders. Without subfolders, there are no labels. With
    ``train/``, ``validation/`` (or ``val/``, ``valid/``) and ``test/``, each of which has one of these two layouts, the
    parts are official; a missing validation or test part is split off ``train/``. Splits are stratified by class.

    Args:
        root: the folder.
        listing: its content.
        of_type: the type of the files.
        split: fractions and seed of the parts that are not official.

    Raises:
        UsageError: if the folder has another layout or too few files.
    """
    groups = groups_of_folder(root, listing, of_type)
    for part in ("validation", "test"):
        if part in groups:
            refuse_unused_split(split, part, f"{root} has a folder for the {part} part")
    refuse_seed_without_split(split, (getattr(split, part) for part in ("validation", "test") if part not in groups))
    fractions = {"validation": split.validation, "test": split.test}
    missing = [part for part in fractions if part not in groups]
    cuts = (1.0 - sum(fractions[part] for part in missing), *(fractions[part] for part in missing))
    indices = stratified_split(groups["train"].labels, cuts, split.seed)
    train = groups["train"]
    parts = {**groups, **{part: train.take(i) for part, i in zip(("train", *missing), indices, strict=True)}}
    result = FolderParts(
        root, of_type, split, {part: parts[part] for part in ("train", "validation", "test")}, groups.keys()
    )
    _check(result)
    return result


def _check(folder: FolderParts) -> None:
    """Check that no part is empty, and that every class has a training file."""
    root, parts, (one, many) = folder.root, folder.parts, folder.of_type[:2]
    total = len(folder.files)
    if total < MIN_FILES:
        usable = f"1 usable {one}" if total == 1 else f"{total} usable {many}"
        raise UsageError(f"{root} has {usable}, and at least {MIN_FILES} are needed")
    train = parts["train"]
    for label, name in enumerate(train.classes):
        if not (train.labels == label).any():
            count = sum(int((part.labels == label).sum()) for part in parts.values())
            raise UsageError(
                f"{root}: class {printable(name)} has {count} of {total:,} {many}, and none in the training part; "
                f"add {many} of this class, or reduce split.validation and split.test",
                settings=("split.validation", "split.test"),
            )
    fractions = {"train": 1.0, "validation": folder.split.validation, "test": folder.split.test}
    for name, fraction in fractions.items():
        if not len(parts[name].files) and (fraction or name in folder.official):
            classes = f" in {len(train.classes)} classes" if train.classes else ""
            raise UsageError(
                f"{root}: the {name} part would be empty ({total:,} {many}{classes}); add {many}, change "
                f"split.validation and split.test, or put {many} of this part into {root / name}/",
                settings=("split.validation", "split.test"),
            )
