"""Files of a folder that are the parts of a text by their names, such as train.txt, ptb.valid.txt, wiki.test.tokens."""

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


class Official(NamedTuple):
    """The files of a folder that are parts.

    Attributes:
        files: of each part that has one.
        others: names of the files of text that are none.
    """

    files: Mapping[str, Path]
    others: tuple[str, ...]


def find_official_files(folder: Path) -> Official | None:
    """The parts of a text that a folder has files for: train, and validation or test or both; None if it has not.

    A file is called after its part, with .txt, .tokens or .raw behind it, and before it, if there is anything, the name
    of the set, the same for all.

    Raises:
        UsageError: if there is nothing to learn from, two files are the same part, or two sets lie there.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("wiki.train.tokens", "wiki.valid.tokens", "about.txt"):
    ...     _ = (folder / name).write_text("a line\\n")
    >>> found = find_official_files(folder)
    >>> sorted(found.files), found.others
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
                f"{folder} holds {files[part].name} and {path.name}, which both mean {part}; keep one of them"
            )
        files[part] = path
    known = [files for files in sets.values() if len(files) > 1]  # one file alone may be any text of that name
    if not known:
        return None
    if len(known) > 1:
        names = ", ".join(next(iter(files.values())).name for files in known)
        raise UsageError(f"{folder} holds the parts of several texts ({names}, …); put each into a folder of its own")
    files = known[0]
    if "train" not in files:
        has = ", ".join(path.name for path in files.values())
        raise UsageError(f"{folder} holds {has} and no file to train on; add one that is called train.txt like these")
    texts = sorted(path for path in folder.rglob("*.txt") if path not in files.values())
    return Official(files, tuple(str(path.relative_to(folder)) for path in texts if not path.name.startswith(".")))


def official_spans(folder: Path, found: Official, shares: Sequence[float]) -> list[tuple[Span, ...]]:
    """The spans of all three parts; what has no file is the end of the training file, by its share.

    Args:
        folder: which no link may lead out of.
        found: its files.
        shares: of all three parts; those with a file count for nothing.

    Raises:
        UsageError: if a file is empty, or cannot be read.
    """
    documents = {part: document_of(path, folder) for part, path in found.files.items()}
    for part, document in documents.items():
        if not document.size:
            raise UsageError(f"{document.name} is empty, and is the {part} part; fill it or remove it")
    missing = [part for part in PARTS[1:] if part not in documents]
    cuts = [share for part, share in zip(PARTS, shares, strict=True) if part in missing]
    train, *rest = split_documents([documents["train"]], [1.0 - sum(cuts), *cuts])
    spans = {part: (whole(document),) for part, document in documents.items()}
    spans |= {"train": train, **dict(zip(missing, rest, strict=True))}
    return [spans[part] for part in PARTS]


def official_notes(found: Official, spans: Sequence[Sequence[Span]]) -> tuple[str, ...]:
    """What the user should know: which file is which part, and what was left alone."""
    said = [
        f"{part} is {found.files[part].name}" if part in found.files else f"{part} is the end of the training file"
        for part, some in zip(PARTS, spans, strict=True)
        if some
    ]
    count = len(found.others)
    left = f"{count:,} other text{'s were' if count > 1 else ' was'} left alone: {few(found.others, 5)}"
    return ("; ".join(said), *([left] if count else []))
