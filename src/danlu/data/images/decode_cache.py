"""Files that are decoded once: one file of bytes in the cache, from which every later start maps its examples.

An entry is a folder ``decoded/KEY`` with ``images.bin``, the examples one after another, and ``page.json``, which says
what they are. The key is the SHA-256 of the settings and of each file's path, size and times of change. It is not that
of the content, because every start would then read all files, which takes as long as decoding them where the disk is
slow; who changes a file changes its times, also if he puts the modification time back, for the system keeps the other.
The entry is made under another name, synced to disk and renamed, so that it is there whole or not at all, and one
whose bytes were cut off or written to since is made anew. Entries may be removed at any time; who makes one removes
those that were not used for 30 days, but none that is mapped by a process. Files that were left out for a reason that
may have passed, a disk that failed for instance, are tried again at each start; if one can be read, all is made anew.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from danlu.data.images import decode
from danlu.data.images.decode import Header, Unreadable
from danlu.data.images.settings import Images
from danlu.data.images.worker_pool import default_workers, map_files
from danlu.errors import RunError, UsageError
from danlu.storage.access import Access
from danlu.storage.atomic import publish, temporary_folder
from danlu.storage.cache_entries import locked_entry, mark_used, remove_unused
from danlu.storage.disk import sync
from danlu.storage.memory_map import map_file

FORMAT = 1
IN_MEMORY = 1 << 30
"""bytes that are decoded into memory where the cache cannot be written"""
_BYTES, _PAGE = "images.bin", "page.json"
_LISTED = 10  # unreadable files that are named
_STEP = 16  # files between two words of progress

Progress = Callable[[str, int, int | None], None]
Shape = tuple[int, int, int]


class FileEntry(NamedTuple):
    """A file as its folder lists it.

    Attributes:
        path: below the data set's folder, with slashes.
        size: in bytes.
        modified: when its content was last written, in nanoseconds.
        changed: when anything about it was last changed, in nanoseconds.
    """

    path: str
    size: int
    modified: int
    changed: int


class DecodedFiles(NamedTuple):
    """What became of the files.

    Attributes:
        images: the examples in the order of the files, without those that were left out.
        left_out: why a file was left out, by its number.
        passing: those of them that may be readable another time.
        notes: what the user should know.
        mapped: whether the examples lie in a file, and are read from there.
    """

    images: UInt8[Tensor, "n c h w"]
    left_out: dict[int, str]
    passing: tuple[int, ...]
    notes: tuple[str, ...]
    mapped: bool


def decode_files(root: Path, files: Sequence[FileEntry], images: Images, access: Access) -> DecodedFiles:
    """The examples in these files, from the cache if they are there, else decoded into it.

    Args:
        root: the folder that the files lie in.
        files: in the order in which the examples are wanted.
        images: how files become examples.
        access: has the cache, and is told of progress.

    Raises:
        UsageError: if files cannot be read and are not to be left out, or none can.
        RunError: if the disk has no room, or the cache cannot be written and the examples are too many for memory.
    """
    work = _Work(root, files, images, access.progress)
    try:
        shelf = access.cache / "decoded"
    except RuntimeError as error:  # there is no home
        return work.in_memory("a cache", str(error))
    key = _key(files, images)
    if found := work.made(shelf / key, key):
        return found
    try:
        shelf.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=shelf).close()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _no_room(shelf, None, error.strerror) from error
        return work.in_memory(str(shelf), error.strerror or str(error))
    with locked_entry(shelf, key, access.progress):
        return work.made(shelf / key, key) or work.on_disk(shelf, key)


def _key(files: Sequence[FileEntry], images: Images) -> str:
    settings = FORMAT, images.size, images.fit, images.color, images.largest
    digest = hashlib.sha256(repr(settings).encode())
    for file in files:
        digest.update(f"\0{file.path}\0{file.size} {file.modified} {file.changed}".encode(errors="surrogateescape"))
    return digest.hexdigest()[:32]


def _read(entry: Path, key: str) -> DecodedFiles | None:
    try:
        page = json.loads((entry / _PAGE).read_text(encoding="utf-8"))
        state = (entry / _BYTES).stat()
        seal = page.pop("sha256")
        if page["format"] != FORMAT or page["key"] != key or seal != _seal(page):
            return None
        if (state.st_size, state.st_mtime_ns) != (page["bytes"], page["modified"]):
            return None
        left_out: dict[int, str] = dict(page["left_out"])
        passing = tuple(page["passing"]) if left_out else ()
        mark_used(entry / _PAGE)
        images = map_file(entry / _BYTES).view(page["shape"])
        return DecodedFiles(images, left_out, passing, tuple(page["notes"]), mapped=True)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError):  # whatever it is, it is no entry
        return None


def _seal(page: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(page, sort_keys=True).encode()).hexdigest()


class _Work:
    """Decoding files into rows of one shape, on disk or in memory."""

    def __init__(self, root: Path, files: Sequence[FileEntry], images: Images, progress: Progress):
        self.root, self.files, self.images, self.progress = root, files, images, progress
        self.left_out: dict[int, str] = {}
        self.passing: set[int] = set()
        self.notes: list[str] = []

    def made(self, entry: Path, key: str) -> DecodedFiles | None:
        """What an entry holds, unless it is not there, damaged, or lacks files that may not be left out or can be read.

        Which files can be read is asked once in a run: its other processes take what the first has found or made.
        """
        found = _read(entry, key)
        if found is None or (found.left_out and self.images.unreadable == "refuse"):
            return None
        return None if "TORCHELASTIC_RUN_ID" not in os.environ and self._can_be_read(found) else found

    def _can_be_read(self, found: DecodedFiles) -> bool:
        """Whether a file can be read, or is refused for good, that was left out for a reason that may have passed."""
        _, channels, height, width = found.images.shape
        paths = [os.path.join(self.root, self.files[number].path) for number in found.passing]
        crew = default_workers(len(self.files))  # of processes, if others may have been ended or stopped by these
        with closing(map_files(self._decoder((channels, height, width)), paths, crew)) as results:
            return any(not (isinstance(result, Unreadable) and result.passing) for _, result in results)

    def on_disk(self, shelf: Path, key: str) -> DecodedFiles:
        """Make the entry of that key, and map it."""
        shape = self._shape()
        needed = self._bytes(shape)
        if shutil.disk_usage(shelf).free < needed:
            raise _no_room(shelf, needed, os.strerror(errno.ENOSPC))
        try:
            with temporary_folder(shelf, key) as folder:
                with _Rows(folder / _BYTES, shape) as rows:
                    count = self._fill(rows, shape)
                    rows.cut(count)
                self._write_page(folder, key, (count, *shape))
                publish(folder, shelf / key)
        except OSError as error:
            raise _no_room(shelf, needed, error.strerror or str(error)) from error
        found = _read(shelf / key, key)
        remove_unused(shelf, used=_PAGE, held=_BYTES)
        if found is None:
            raise RunError(f"{shelf / key} was written and cannot be read again; remove it and try once more")
        return found

    def _write_page(self, folder: Path, key: str, shape: tuple[int, ...]) -> None:
        state = (folder / _BYTES).stat()
        page = {
            "format": FORMAT,
            "key": key,
            "shape": shape,
            "bytes": state.st_size,
            "modified": state.st_mtime_ns,
            "left_out": sorted(self.left_out.items()),
            "passing": sorted(self.passing),
            "notes": self.notes,
        }
        (folder / _PAGE).write_text(json.dumps({**page, "sha256": _seal(page)}), encoding="utf-8")
        sync(folder / _PAGE)
        sync(folder)

    def in_memory(self, place: str, reason: str) -> DecodedFiles:
        """The same for this process alone, where nothing can be written."""
        shape = self._shape()
        needed = self._bytes(shape)
        if needed > IN_MEMORY:
            raise RunError(
                f"{place} cannot be written ({reason}), and the decoded files need {needed:,} bytes, too many to be "
                f"decoded into memory at each start; set DANLU_CACHE to a folder with that much room"
            )
        rows = np.empty((len(self.files) - len(self.left_out), *shape), np.uint8)
        count = self._fill(rows, shape)
        self.notes.append(f"{place} cannot be written ({reason}), so that files are decoded anew at each start")
        notes = tuple(self.notes)
        return DecodedFiles(torch.from_numpy(rows[:count]), self.left_out, tuple(self.passing), notes, mapped=False)

    def _shape(self) -> Shape:
        """Channels, height and width of the examples: as was asked for, or as the files have them."""
        size, color = self.images.size, self.images.color
        if size is not None and color != "auto":
            return {"gray": 1, "rgb": 3}[color], size[0], size[-1]
        job = partial(decode.header, largest=self.images.largest)
        headers: Counter[Header] = Counter(header for _, header in self._each("look at", job, range(len(self.files))))
        if not headers:
            raise self._refusal()
        gray = color == "gray" or (color == "auto" and all(header.gray for header in headers))
        sizes: Counter[tuple[int, int]] = Counter()
        for header, count in headers.items():
            sizes[header.height, header.width] += count
        channels = 1 if gray else 3
        if size is not None:
            return channels, size[0], size[-1]
        height, width = max(sizes, key=lambda size: (sizes[size], size[0] * size[1], size))
        if len(sizes) > 1:
            self.notes.append(
                f"files come in {len(sizes)} sizes; all become the commonest, {height}×{width} (height×width), "
                f"which {sizes[height, width]:,} of {sizes.total():,} have"
            )
        return channels, height, width

    def _bytes(self, shape: Shape) -> int:
        return (len(self.files) - len(self.left_out)) * int(np.prod(shape, dtype=np.int64))

    def _fill(self, rows: _Rows | UInt8[np.ndarray, "n c h w"], shape: Shape) -> int:
        """Decode every readable file into its row, and close the gaps that others leave; how many rows there are."""
        numbers = [number for number in range(len(self.files)) if number not in self.left_out]
        row_of = {number: row for row, number in enumerate(numbers)}
        for number, pixels in self._each("decode", self._decoder(shape), numbers):
            rows[row_of[number]] = pixels
        if self.left_out and (self.images.unreadable == "refuse" or len(self.left_out) == len(self.files)):
            raise self._refusal()
        kept = [row for number, row in row_of.items() if number not in self.left_out]
        for to, row in enumerate(kept):
            if to != row:
                rows[to] = rows[row]
        return len(kept)

    def _decoder(self, shape: Shape) -> Callable[[str], Any]:
        return partial(decode.decode, shape=shape, fit=self.images.fit, largest=self.images.largest)

    def _each(self, what: str, job: Callable[[str], Any], numbers: Sequence[int]) -> Iterator[tuple[int, Any]]:
        """What the job makes of each of these files; why it can make nothing of it is noted."""
        paths = [os.path.join(self.root, self.files[number].path) for number in numbers]
        with closing(map_files(job, paths)) as results:
            for done, (place, result) in enumerate(results, start=1):
                if isinstance(result, Unreadable):
                    self.left_out[numbers[place]] = str(result)
                    self.passing.update([numbers[place]] * result.passing)
                else:
                    yield numbers[place], result
                if done % _STEP == 0 or done == len(paths):
                    self.progress(what, done, len(paths))

    def _refusal(self) -> UsageError:
        return UsageError(
            f"{describe_unreadable(self.left_out, self.files, self.root)}\nNothing was trained. "
            f"Repair or remove them, or leave them out with --images.unreadable skip; --images.largest is the number "
            f"of pixels that a file may have."
        )


def describe_unreadable(left_out: dict[int, str], files: Sequence[FileEntry], root: Path | None = None) -> str:
    """How many files could not be read, and which and why, one a line; of many the first.

    >>> print(describe_unreadable({1: "it is empty"}, [FileEntry("a.png", 9, 0, 0), FileEntry("b.png", 0, 0, 0)]))
    1 of 2 files cannot be read:
      b.png: it is empty
    """
    lines = sorted((files[number].path, reason) for number, reason in left_out.items())
    few = [f"  {printable(str(root / path) if root else path)}: {reason}" for path, reason in lines[:_LISTED]]
    more = [f"  and {len(lines) - _LISTED:,} more"] if len(lines) > _LISTED else []
    return "\n".join([f"{len(lines):,} of {len(files):,} files cannot be read:", *few, *more])


def printable(name: str) -> str:
    r"""A file's name as it can be printed, whatever bytes it has.

    >>> printable("日本.png"), printable("two\nlines.png")
    ('日本.png', 'two\\nlines.png')
    """
    return name if name.isprintable() else name.encode("unicode_escape", "backslashreplace").decode("ascii")


class _Rows:
    """Rows of bytes in a file, each written and read at its place, so that one at a time is in memory.

    It is not written through a mapping, where a full disk would end the process without a word.
    """

    def __init__(self, path: Path, shape: Shape):
        self.shape, self.size, self.end = shape, int(np.prod(shape, dtype=np.int64)), 0
        self.file = path.open("w+b")

    def __setitem__(self, row: int, pixels: UInt8[np.ndarray, "c h w"]) -> None:
        self.file.seek(row * self.size)
        self.file.write(pixels.data)

    def __getitem__(self, row: int) -> UInt8[np.ndarray, "c h w"]:
        self.file.seek(row * self.size)
        return np.frombuffer(self.file.read(self.size), np.uint8).reshape(self.shape)

    def cut(self, rows: int) -> None:
        """Drop what comes after so many rows, and bring the rest to the disk."""
        self.file.truncate(rows * self.size)
        self.file.flush()
        os.fsync(self.file.fileno())

    def __enter__(self) -> _Rows:
        return self

    def __exit__(self, *exception: object) -> None:
        with suppress(OSError):  # what could not be written was said already
            self.file.close()


def _no_room(shelf: Path, needed: int | None, reason: str | None) -> RunError:
    bytes_needed = f"which needs {needed:,} bytes" if needed is not None else "which needs room"
    return RunError(
        f"cannot keep the decoded files in {shelf}, {bytes_needed}: {reason}. Nothing was kept. Make room, set "
        f"DANLU_CACHE to a folder on another disk, or choose a smaller --images.size"
    )
