"""The cache of decoded images: image files are decoded once, to a file of bytes that is mapped at every later start.

An entry is a folder ``decoded/KEY`` with ``images.bin``, the concatenated examples, and ``page.json``, their
description. The key is the SHA-256 of the settings and of the path, size and times of each file. The content of the
files is not part of the key: every start would have to read all files, which takes as long as decoding them on a slow
disk. A changed file has another change time, even if its modification time was restored.

An entry is written under a temporary name, synced to the disk and renamed, so it is either complete or absent. An entry
whose bytes were truncated or modified is created again; their SHA-256 is compared when the file is new to this machine,
and not again as long as its identity stays the same. Entries may be removed at any time. When an entry is created,
entries that were not used for 30 days are removed, except those that a process has mapped. Files that were left out for
a transient reason, such as a disk error, are tried again at each start; if one can be read, the entry is created again.
"""

from __future__ import annotations

import errno
import hashlib
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

from danlu.data.base.folder_listing import FileEntry
from danlu.data.images import decode
from danlu.data.images.common_size import common_size
from danlu.data.images.decode import Header, Unreadable
from danlu.data.images.settings import Images
from danlu.data.images.worker_pool import default_workers, map_files
from danlu.errors import RunError, UsageError
from danlu.printable import printable
from danlu.storage.access import Access
from danlu.storage.atomic import publish, temporary_folder
from danlu.storage.cache_entries import locked_entry, mark_used, remove_unused
from danlu.storage.contents import file_digest, has_digest, read_checked_page, remember_digest, write_checked_page
from danlu.storage.disk import sync
from danlu.storage.memory_map import file_identity, map_file

FORMAT = 5
IN_MEMORY = 1 << 30
"""maximum size in bytes of images that are decoded in memory if the cache cannot be written"""
_BYTES, _PAGE, _VERIFIED = "images.bin", "page.json", "verified"
_MAX_NAMES = 10  # maximum number of unreadable files in a message
_STEP = 16  # number of files between two progress reports

Progress = Callable[[str, int, int | None], None]
Shape = tuple[int, int, int]


class DecodedFiles(NamedTuple):
    """The examples that were decoded from files.

    Attributes:
        images: the examples in the order of the files, without those that were left out.
        left_out: why a file was left out, by the number of the file.
        transient: numbers of the files that were left out for a transient reason.
        notes: remarks for the user.
        source: identity of the file that the examples are mapped from; empty if they are in memory.
        resized: a remark on the sizes of the files, if they were converted to a size that no setting has set.
    """

    images: UInt8[Tensor, "n c h w"]
    left_out: dict[int, str]
    transient: tuple[int, ...]
    notes: tuple[str, ...]
    source: str
    resized: str = ""


def decode_files(root: Path, files: Sequence[FileEntry], images: Images, access: Access) -> DecodedFiles:
    """The examples in image files, from the cache if they are there, else decoded to the cache.

    Args:
        root: folder of the files.
        files: the files in the order of the examples.
        images: how files are converted to examples.
        access: has the cache and the progress callback.

    Raises:
        UsageError: if files cannot be read and ``images.unreadable`` is refuse, or no file can be read.
        RunError: if the disk is full, or the cache cannot be written and the examples do not fit into memory.
    """
    decoder = _Decoder(root, files, images, access.progress)
    try:
        entries = access.cache / "decoded"
    except RuntimeError as error:  # no home folder
        return decoder.in_memory("the cache", str(error))
    key = _key(files, images)
    access.cache_folder(entries.name, create=False)
    if examples := decoder.read_entry(entries / key, key):
        return examples
    try:
        access.cache_folder(entries.name)
        tempfile.TemporaryFile(dir=entries).close()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _cannot_write(entries, None, error.strerror) from error
        return decoder.in_memory(str(entries), error.strerror or str(error))
    with locked_entry(entries, key, access.progress):
        return decoder.read_entry(entries / key, key) or decoder.on_disk(entries, key)


def _key(files: Sequence[FileEntry], images: Images) -> str:
    settings = FORMAT, images.size, images.fit, images.color, images.largest
    digest = hashlib.sha256(repr(settings).encode())
    for file in files:
        digest.update(f"\0{file.path}\0{file.size} {file.modified} {file.changed}".encode(errors="surrogateescape"))
    return digest.hexdigest()[:32]


def _read(entry: Path, key: str) -> DecodedFiles | None:
    try:
        page = read_checked_page(entry / _PAGE)
        state = (entry / _BYTES).stat()
        if page["format"] != FORMAT or page["key"] != key:
            return None
        if (state.st_size, state.st_mtime_ns) != (page["bytes"], page["modified"]):
            return None
        if not has_digest(entry / _BYTES, page["contents"], remember=entry / _VERIFIED):
            return None
        left_out: dict[int, str] = dict(page["left_out"])
        transient = tuple(page["passing"]) if left_out else ()
        mark_used(entry / _PAGE)
        images = map_file(entry / _BYTES).view(page["shape"])
        source = file_identity(entry / _BYTES)
        return DecodedFiles(images, left_out, transient, tuple(page["notes"]), source, page["resized"])
    # any of these means that there is no valid entry
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError):
        return None


class _Decoder:
    """Decodes files to rows of one shape, on the disk or in memory."""

    def __init__(self, root: Path, files: Sequence[FileEntry], images: Images, progress: Progress):
        self.root, self.files, self.images, self.progress = root, files, images, progress
        self.left_out: dict[int, str] = {}
        self.transient: set[int] = set()
        self.notes: list[str] = []
        self.resized = ""

    def read_entry(self, entry: Path, key: str) -> DecodedFiles | None:
        """Read an entry; None if it is absent or damaged, or if files that it left out are refused or can be read now.

        Only the first process of a run tests whether the files can be read; the others use its entry.
        """
        examples = _read(entry, key)
        if examples is None or (examples.left_out and self.images.unreadable == "refuse"):
            return None
        return None if "TORCHELASTIC_RUN_ID" not in os.environ and self._can_be_read(examples) else examples

    def _can_be_read(self, examples: DecodedFiles) -> bool:
        """Whether a file that was left out for a transient reason can be read now, or is invalid."""
        _, channels, height, width = examples.images.shape
        paths = [os.path.join(self.root, self.files[number].path) for number in examples.transient]
        workers = default_workers(len(self.files))  # the files may crash or block a process
        with closing(map_files(self._decoder((channels, height, width)), paths, workers)) as results:
            return any(not (isinstance(result, Unreadable) and result.transient) for _, result in results)

    def on_disk(self, entries: Path, key: str) -> DecodedFiles:
        """Create the entry of this key, and map it."""
        shape = self._shape()
        needed = self._bytes(shape)
        if shutil.disk_usage(entries).free < needed:
            raise _cannot_write(entries, needed, os.strerror(errno.ENOSPC))
        try:
            with temporary_folder(entries, key) as folder:
                with _Rows(folder / _BYTES, shape) as rows:
                    count = self._fill(rows, shape)
                    rows.cut(count)
                digest = self._write_page(folder, key, (count, *shape))
                publish(folder, entries / key)
            remember_digest(entries / key / _BYTES, digest, entries / key / _VERIFIED)
        except OSError as error:
            raise _cannot_write(entries, needed, error.strerror or str(error)) from error
        examples = _read(entries / key, key)
        remove_unused(entries, used=_PAGE, held=_BYTES)
        if examples is None:
            raise RunError(f"{entries / key} was written but cannot be read; remove it and try again")
        return examples

    def _write_page(self, folder: Path, key: str, shape: tuple[int, ...]) -> str:
        """Write the description of the entry; return the digest of the examples."""
        state = (folder / _BYTES).stat()
        page = {
            "format": FORMAT,
            "key": key,
            "shape": shape,
            "bytes": state.st_size,
            "modified": state.st_mtime_ns,
            "contents": file_digest(folder / _BYTES),
            "left_out": sorted(self.left_out.items()),
            "passing": sorted(self.transient),
            "notes": self.notes,
            "resized": self.resized,
        }
        write_checked_page(folder / _PAGE, page)
        sync(folder)
        return page["contents"]

    def in_memory(self, folder: str, reason: str) -> DecodedFiles:
        """Decode the files to memory, if the cache folder cannot be written."""
        shape = self._shape()
        needed = self._bytes(shape)
        if needed > IN_MEMORY:
            raise RunError(
                f"{folder} cannot be written ({reason}), and {needed:,} bytes of decoded images do not fit in "
                f"memory; set the environment variable DANLU_CACHE to a folder with enough space"
            )
        rows = np.empty((len(self.files) - len(self.left_out), *shape), np.uint8)
        count = self._fill(rows, shape)
        self.notes.append(f"{folder} cannot be written ({reason}); the files are decoded again at each start")
        notes = tuple(self.notes)
        return DecodedFiles(
            torch.from_numpy(rows[:count]), self.left_out, tuple(self.transient), notes, "", self.resized
        )

    def _shape(self) -> Shape:
        """Channels, height and width of the examples, from the settings or from the headers of the files."""
        size, color = self.images.size, self.images.color
        if size is not None and color != "auto":
            return {"gray": 1, "rgb": 3}[color], size[0], size[-1]
        job = partial(decode.header, largest=self.images.largest)
        headers: Counter[Header] = Counter(
            header for _, header in self._each("reading headers", job, range(len(self.files)))
        )
        if not headers:
            raise self._refusal()
        gray = color == "gray" or (color == "auto" and all(header.gray for header in headers))
        sizes: Counter[tuple[int, int]] = Counter()
        for header, count in headers.items():
            sizes[header.height, header.width] += count
        channels = 1 if gray else 3
        if size is not None:
            return channels, size[0], size[-1]
        (height, width), self.resized = common_size(sizes, self.images.fit)
        return channels, height, width

    def _bytes(self, shape: Shape) -> int:
        return (len(self.files) - len(self.left_out)) * int(np.prod(shape, dtype=np.int64))

    def _fill(self, rows: _Rows | UInt8[np.ndarray, "n c h w"], shape: Shape) -> int:
        """Decode every readable file to its row, and move the rows together. Returns the number of rows."""
        numbers = [number for number in range(len(self.files)) if number not in self.left_out]
        row_of = {number: row for row, number in enumerate(numbers)}
        for number, pixels in self._each("decoding images", self._decoder(shape), numbers):
            rows[row_of[number]] = pixels
        if self.left_out and (self.images.unreadable == "refuse" or len(self.left_out) == len(self.files)):
            raise self._refusal()
        kept = [row for number, row in row_of.items() if number not in self.left_out]
        for new, row in enumerate(kept):
            if new != row:
                rows[new] = rows[row]
        return len(kept)

    def _decoder(self, shape: Shape) -> Callable[[str], Any]:
        return partial(decode.decode, shape=shape, fit=self.images.fit, largest=self.images.largest)

    def _each(self, what: str, job: Callable[[str], Any], numbers: Sequence[int]) -> Iterator[tuple[int, Any]]:
        """Yield the number of each file and the result of the job; unreadable files are recorded."""
        paths = [os.path.join(self.root, self.files[number].path) for number in numbers]
        with closing(map_files(job, paths)) as results:
            for done, (index, result) in enumerate(results, start=1):
                if isinstance(result, Unreadable):
                    self.left_out[numbers[index]] = str(result)
                    self.transient.update([numbers[index]] * result.transient)
                else:
                    yield numbers[index], result
                if done % _STEP == 0 or done == len(paths):
                    self.progress(what, done, len(paths))

    def _refusal(self) -> UsageError:
        return UsageError(
            f"{describe_unreadable(self.left_out, self.files, self.root)}\n"
            f"Repair or remove them, or set images.unreadable to skip to leave them out; images.largest is the maximum "
            f"number of pixels",
            settings=("images.unreadable=skip", "images.largest"),
        )


def describe_unreadable(left_out: dict[int, str], files: Sequence[FileEntry], root: Path | None = None) -> str:
    """The number of unreadable files, and the name and reason of the first ones, one per line.

    >>> print(describe_unreadable({1: "the file is empty"}, [FileEntry("a.png", 9, 0, 0), FileEntry("b.png", 0, 0, 0)]))
    1 of 2 files cannot be read:
      b.png: the file is empty
    """
    lines = sorted((files[number].path, reason) for number, reason in left_out.items())
    few = [f"  {printable(str(root / path) if root else path)}: {reason}" for path, reason in lines[:_MAX_NAMES]]
    more = [f"  and {len(lines) - _MAX_NAMES:,} more"] if len(lines) > _MAX_NAMES else []
    return "\n".join([f"{len(lines):,} of {len(files):,} files cannot be read:", *few, *more])


class _Rows:
    """Rows of bytes in a file; one row at a time is in memory.

    The file is not written through a memory map, because a full disk would then crash the process.
    """

    def __init__(self, path: Path, shape: Shape):
        self.shape, self.size, self.end = shape, int(np.prod(shape, dtype=np.int64)), 0
        self.file = path.open("x+b")

    def __setitem__(self, row: int, pixels: UInt8[np.ndarray, "c h w"]) -> None:
        self.file.seek(row * self.size)
        self.file.write(pixels.data)

    def __getitem__(self, row: int) -> UInt8[np.ndarray, "c h w"]:
        self.file.seek(row * self.size)
        return np.frombuffer(self.file.read(self.size), np.uint8).reshape(self.shape)

    def cut(self, rows: int) -> None:
        """Truncate the file to a number of rows, and sync it to the disk."""
        self.file.truncate(rows * self.size)
        self.file.flush()
        os.fsync(self.file.fileno())

    def __enter__(self) -> _Rows:
        return self

    def __exit__(self, *exception: object) -> None:
        with suppress(OSError):  # an error of writing was already raised
            self.file.close()


def _cannot_write(entries: Path, needed: int | None, reason: str | None) -> RunError:
    size = f" ({needed:,} bytes)" if needed is not None else ""
    return RunError(
        f"cannot write the decoded images to {entries}{size}: {reason}; free disk space, set the environment variable "
        f"DANLU_CACHE to a folder on another disk, or reduce images.size",
        settings=("images.size",),
    )
