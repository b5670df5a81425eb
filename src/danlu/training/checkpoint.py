"""Write and read checkpoints. A checkpoint is complete or does not exist.

A checkpoint is a folder ``round-000000120`` with tensors, a page of numbers and, written last, a manifest with the
SHA-256 of all files. For sharded tensors each process writes its part into a separate file; any number of processes
can read the parts. The folder is written under a temporary name, synced to disk and renamed, so after a crash it is
complete or does not exist under its final name. A checkpoint whose files do not match its manifest is renamed, and the
previous one is used.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from danlu.errors import RunError
from danlu.nn.state_dict import is_sharded, local_shard
from danlu.storage.atomic import FOLDERS, publish
from danlu.storage.disk import diagnose_weights, sync
from danlu.storage.json_page import read_page
from danlu.training.runtime import Runtime

FORMAT = 1
CHECKPOINTS_KEPT = 3
"""number of newest checkpoints that are kept; that of the best round is kept as well"""
_TENSORS, _PAGE, _MANIFEST = "tensors.safetensors", "page.json", "manifest.json"


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run.

    Attributes:
        round: number of completed rounds.
        tensors: the tensors, by name.
        page: numbers and texts that belong to them.
    """

    round: int
    tensors: Mapping[str, Tensor]
    page: dict[str, Any]


class Stored(Mapping[str, Tensor]):
    """The tensors of a checkpoint, each read on access. Sharded tensors are concatenated.

    Args:
        files: the files of the checkpoint, in the order of the processes.

    Raises:
        RunError: if a file is not a safetensors file.
    """

    def __init__(self, files: list[Path]):
        self._where: dict[str, list[Any]] = {}
        for path in files:
            try:
                file: Any = safe_open(path, framework="pt")
            except SafetensorError:
                with path.open("rb") as content:
                    raise RunError(f"{path} {diagnose_weights(content.read(200))}") from None
            for name in file.keys():  # noqa: SIM118 (it is no mapping)
                self._where.setdefault(name, []).append(file)

    def __getitem__(self, name: str) -> Tensor:
        parts = [file.get_tensor(name) for file in self._where[name]]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def __iter__(self) -> Iterator[str]:
        return iter(self._where)

    def __len__(self) -> int:
        return len(self._where)


def write(folder: Path, checkpoint: Checkpoint, runtime: Runtime | None = None) -> Path:
    """Write a checkpoint, unless the folder has an undamaged one of the same round.

    Args:
        folder: the folder of checkpoints, the same for every process.
        checkpoint: the state, as this process has it.
        runtime: the processes; all of them must call this function.

    Returns:
        The folder of the checkpoint.

    Raises:
        RunError: in every process, if one cannot write; earlier checkpoints are unchanged.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     _ = write(Path(folder), Checkpoint(7, {"a": torch.ones(2)}, {"drawn": 7}))
    ...     newest(Path(folder)).page["drawn"]
    7
    """
    runtime = runtime or Runtime()
    final = folder / f"round-{checkpoint.round:09d}"
    making = folder / f".making-{final.name}"
    if runtime.broadcast_bool(runtime.rank == 0 and final.is_dir() and _damage(final) is None):
        return final
    for step in (_begin, _write_own, _seal):
        problem: Exception | None = None
        try:
            step(making, final, checkpoint, runtime)
        except (OSError, SafetensorError) as error:
            problem = error
        failing = runtime.first_rank_where(problem is not None)
        if failing is not None:
            shutil.rmtree(making, ignore_errors=True)
            size = sum(local_shard(tensor).nbytes for tensor in checkpoint.tensors.values())
            reason = getattr(problem, "strerror", None) or problem or f"process {failing} could not write its part"
            raise RunError(
                f"cannot write the checkpoint {final}, which needs {size:,} bytes: {reason}. "
                f"Earlier checkpoints are untouched."
            ) from problem
    return final


def _begin(making: Path, final: Path, checkpoint: Checkpoint, runtime: Runtime) -> None:
    if runtime.rank == 0:
        if final.is_dir():
            _set_aside(final)
        for left in making.parent.glob(FOLDERS):  # by a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        making.mkdir(parents=True)


def _write_own(making: Path, final: Path, checkpoint: Checkpoint, runtime: Runtime) -> None:
    parts = {name: tensor for name, tensor in checkpoint.tensors.items() if is_sharded(tensor)}
    if parts:
        _save(parts, making / f"part-{runtime.rank + 1:05d}-of-{runtime.world:05d}.safetensors")
    if runtime.rank == 0:
        _save({name: tensor for name, tensor in checkpoint.tensors.items() if name not in parts}, making / _TENSORS)
        page = {"format": FORMAT, "round": checkpoint.round, **checkpoint.page}
        (making / _PAGE).write_text(json.dumps(page, indent=1), encoding="utf-8")
        sync(making / _PAGE)


def _seal(making: Path, final: Path, checkpoint: Checkpoint, runtime: Runtime) -> None:
    if runtime.rank == 0:
        manifest = {"format": FORMAT, "sha256": {path.name: _digest(path) for path in sorted(making.iterdir())}}
        (making / _MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        sync(making / _MANIFEST)
        sync(making)
        publish(making, final)


def _save(tensors: Mapping[str, Tensor], path: Path) -> None:
    save_file({name: local_shard(tensor).detach().cpu().contiguous() for name, tensor in tensors.items()}, path)
    sync(path)


def newest(folder: Path, say: Callable[[str], None] = lambda line: None) -> Checkpoint | None:
    """The newest complete checkpoint, or None. Damaged ones are renamed, and ``say`` receives a message."""
    for path in reversed(_all(folder)):
        damage = _damage(path)
        if damage is None:
            return read(path)
        aside = _set_aside(path)
        say(f"the checkpoint {path.name} is damaged ({damage}); it is set aside as {aside.name}")
    return None


def of_round(folder: Path, round: int) -> Checkpoint | None:
    """The checkpoint of a round, or None if it is missing or damaged."""
    path = folder / f"round-{round:09d}"
    return read(path) if path.is_dir() and _damage(path) is None else None


def read(path: Path) -> Checkpoint:
    """The checkpoint in a folder.

    Raises:
        UsageError: if it was written by a newer danlu.
        RunError: if its files are damaged.
    """
    page = read_page(path / _PAGE, FORMAT, {"round"})
    return Checkpoint(page["round"], Stored(_tensor_files(path)), page)


def _tensor_files(path: Path) -> list[Path]:
    """The tensor files in the manifest, in the order of the processes."""
    named = json.loads((path / _MANIFEST).read_text(encoding="utf-8"))["sha256"]
    return [path / _TENSORS, *(path / name for name in sorted(named) if name.startswith("part-"))]


def prune(folder: Path, best: int | None, keep: int = CHECKPOINTS_KEPT) -> None:
    """Remove all checkpoints except the ``keep`` newest ones and that of the best round."""
    for path in _all(folder)[:-keep]:
        if best is None or path.name != f"round-{best:09d}":
            shutil.rmtree(path, ignore_errors=True)


def _all(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob("round-*") if p.is_dir() and p.name.removeprefix("round-").isdigit())


def _damage(path: Path) -> str | None:
    """A description of the damage of a checkpoint, or None."""
    try:
        digests = json.loads((path / _MANIFEST).read_text(encoding="utf-8"))["sha256"]
        for name in {_TENSORS, _PAGE} | digests.keys():
            if _digest(path / name) != digests[name]:
                return f"{name} does not fit its checksum"
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{_MANIFEST} cannot be read"
    return None


def _set_aside(path: Path) -> Path:
    number = 1
    while (aside := path.with_name(f"damaged-{number}-{path.name}")).exists():
        number += 1
    return path.rename(aside)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
