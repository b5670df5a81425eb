"""Official parts of a text, recognized by file names such as train.txt, ptb.valid.txt and wiki.test.tokens."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from danlu.data.base.dataset import PARTS
from danlu.data.text.text_files import Span, document_of, split_documents, whole
from danlu.errors import UsageError, few

_PART_OF = {"train": "train", "validation": "validation", "valid": "validation", "val": "validation", "test": "test"}
_NAME = re.compile(rf"(?:(?P<set>.+)\.)?(?P<part>{'|'.join(_PART_OF)})\.(?:txt|tokens|raw)", re.IGNORECASE)


class OfficialParts(NamedTuple):
    """The files of the official parts in a folder.

    Attributes:
        files: the file of each part that has one.
        others: names of the other text files.
    """

    files: Mapping[str, Path]
    others: tuple[str, ...]


def find_official_parts(folder: Path) -> OfficialParts | None:
    """Find the files of the official parts in a folder: train, and validation or test or both.

    A file is named after its part, with the suffix .txt, .tokens or .raw, and optionally with the name of the data set
    before it, as in ``wiki.train.tokens``.

    Returns:
        The files, or None if the folder does not have official parts.

    Raises:
        UsageError: if there is no training file, two files are the same part, or there are several data sets.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("wiki.train.tokens", "wiki.valid.tokens", "about.txt"):
    ...     _ = (folder / name).write_text("a line\\n")
    >>> official = find_official_parts(folder)
    >>> sorted(official.files), official.others
    (['train', 'validation'], ('about.txt',))
    """
    sets: dict[str, dict[str, Path]] = {}
    for path in sorted(folder.iterdir()):
        name = _NAME.fullmatch(path.name)
        if name is None or path.name.startswith(".") or not path.is_file():
            continue
        part, files = _PART_OF[name["part"].lower()], sets.setdefault(name["set"] or "", {})
        if part in files:
            raise UsageError(
                f"{folder} has two files for the {part} part, {files[part].name} and {path.name}; keep one of them"
            )
        files[part] = path
    candidates = [files for files in sets.values() if len(files) > 1]  # a single file may be any text with such a name
    if not candidates:
        return None
    if len(candidates) > 1:
        names = ", ".join(next(iter(files.values())).name for files in candidates)
        raise UsageError(f"{folder} has the parts of several texts ({names}, …); use one folder per text")
    files = candidates[0]
    if "train" not in files:
        names = ", ".join(path.name for path in files.values())
        raise UsageError(f"{folder} has {names} but no training file; add a file such as train.txt")
    texts = sorted(path for path in folder.rglob("*.txt") if path not in files.values())
    return OfficialParts(files, tuple(str(path.relative_to(folder)) for path in texts if not path.name.startswith(".")))


def official_spans(folder: Path, official: OfficialParts, fractions: Sequence[float]) -> list[tuple[Span, ...]]:
    """The spans of the three parts; a part without a file is split off the end of the training file.

    Args:
        folder: the folder; links to files outside of it are refused.
        official: the files of the parts.
        fractions: fractions of the three parts; those of parts with a file are ignored.

    Raises:
        UsageError: if a file is empty or cannot be read.
    """
    documents = {part: document_of(path, folder) for part, path in official.files.items()}
    for part, document in documents.items():
        if not document.size:
            raise UsageError(f"{document.name} is the {part} part, but it is empty; add text to it, or remove it")
    missing = [part for part in PARTS[1:] if part not in documents]
    cuts = [fraction for part, fraction in zip(PARTS, fractions, strict=True) if part in missing]
    train, *rest = split_documents([documents["train"]], [1.0 - sum(cuts), *cuts])
    spans = {part: (whole(document),) for part, document in documents.items()}
    spans |= {"train": train, **dict(zip(missing, rest, strict=True))}
    return [spans[part] for part in PARTS]


def official_notes(official: OfficialParts, spans: Sequence[Sequence[Span]]) -> tuple[str, ...]:
    """Notes for the user: the file of each part, and the files that are not used."""
    notes = [
        f"{part} is {official.files[part].name}"
        if part in official.files
        else f"{part} is the end of the training file"
        for part, part_spans in zip(PARTS, spans, strict=True)
        if part_spans
    ]
    count = len(official.others)
    unused = f"{count:,} other text file{'s are' if count > 1 else ' is'} not used: {few(official.others, 5)}"
    return ("; ".join(notes), *([unused] if count else []))
