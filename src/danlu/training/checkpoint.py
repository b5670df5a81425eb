"""Checkpoints that exist whole or not at all.

A checkpoint is a folder ``round-000000120`` with tensors, a page of numbers and, written last, a manifest with the
SHA-256 of both. It is made under another name, synced to disk and renamed, so that a crash at any moment leaves either
the whole of it or nothing of that name; one whose manifest does not fit its files is set aside and the one before it
is used.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from danlu.errors import RunError

FORMAT = 1
_FILES = ("tensors.safetensors", "page.json")


@dataclass(frozen=True)
class Checkpoint:
    """A state of a run.

    Attributes:
        round: rounds that were done.
        tensors: by name.
        page: numbers and texts that go with them.
    """

    round: int
    tensors: dict[str, Tensor]
    page: dict[str, Any]


def write(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint into the folder of checkpoints, unless one of that round is there.

    Raises:
        RunError: if it cannot be written; what was there before is as it was.

    >>> import torch
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     _ = write(Path(folder), Checkpoint(7, {"a": torch.ones(2)}, {"drawn": 7}))
    ...     newest(Path(folder)).page["drawn"]
    7
    """
    final = folder / f"round-{checkpoint.round:09d}"
    if final.is_dir():
        if _damage(final) is None:
            return final
        _set_aside(final)
    folder.mkdir(parents=True, exist_ok=True)
    making = folder / f".making-{final.name}"
    shutil.rmtree(making, ignore_errors=True)
    try:
        making.mkdir()
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.tensors.items()}
        save_file(tensors, making / _FILES[0])
        page = {"format": FORMAT, "round": checkpoint.round, **checkpoint.page}
        (making / _FILES[1]).write_text(json.dumps(page, indent=1), encoding="utf-8")
        manifest = {"format": FORMAT, "sha256": {name: _sync_and_digest(making / name) for name in _FILES}}
        (making / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        sync(making / "manifest.json")
        sync(making)
        making.rename(final)
        sync(folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(making, ignore_errors=True)
        size = sum(tensor.nbytes for tensor in checkpoint.tensors.values())
        reason = getattr(error, "strerror", None) or error
        raise RunError(
            f"cannot write the checkpoint {final}, which needs {size:,} bytes: {reason}. "
            f"Earlier checkpoints are untouched."
        ) from error
    return final


def newest(folder: Path, say: Callable[[str], None] = lambda line: None) -> Checkpoint | None:
    """The newest checkpoint that is whole, or None. Damaged ones are set aside, and that is said."""
    for path in reversed(_all(folder)):
        damage = _damage(path)
        if damage is None:
            return read(path)
        aside = _set_aside(path)
        say(f"the checkpoint {path.name} is damaged ({damage}); it is set aside as {aside.name}")
    return None


def of_round(folder: Path, round: int) -> Checkpoint | None:
    """The checkpoint of a round if it is there and whole."""
    path = folder / f"round-{round:09d}"
    return read(path) if path.is_dir() and _damage(path) is None else None


def read(path: Path) -> Checkpoint:
    """The checkpoint in a folder.

    Raises:
        RunError: if it was written by a newer danlu.
    """
    page = json.loads((path / _FILES[1]).read_text(encoding="utf-8"))
    if page["format"] > FORMAT:
        raise RunError(f"{path} has format {page['format']}, written by a newer danlu; this one reads {FORMAT}")
    return Checkpoint(page["round"], load_file(path / _FILES[0]), page)


def prune(folder: Path, keep: int, best: int | None) -> None:
    """Remove all but the newest ones and that of the best round."""
    for path in _all(folder)[:-keep]:
        if best is None or path.name != f"round-{best:09d}":
            shutil.rmtree(path)


def _all(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob("round-*") if p.is_dir() and p.name.removeprefix("round-").isdigit())


def _damage(path: Path) -> str | None:
    """What is wrong with a checkpoint, or None."""
    try:
        manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
        for name in _FILES:
            if _digest(path / name) != manifest["sha256"][name]:
                return f"{name} does not fit its checksum"
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except (ValueError, KeyError, TypeError):
        return "manifest.json cannot be read"
    return None


def _set_aside(path: Path) -> Path:
    number = 1
    while (aside := path.with_name(f"damaged-{number}-{path.name}")).exists():
        number += 1
    return path.rename(aside)


def _sync_and_digest(path: Path) -> str:
    sync(path)
    return _digest(path)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Bring a file or a folder to the disk, so that it survives a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
