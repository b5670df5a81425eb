"""Write and read checkpoints. A checkpoint is complete or does not exist.

A checkpoint is a folder ``round-000000120`` with tensors, a JSON page of other values and, written last, a manifest
with the SHA-256 of all files. For sharded tensors each process writes its part into a separate file; any number of
processes can read the parts. The folder is written under a temporary name, synced to disk and renamed, so after a
crash it is complete or does not exist under its final name. A checkpoint whose files do not match its manifest is
renamed, and the previous one is used.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NotRequired

import torch
from pydantic import ConfigDict
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from typing_extensions import TypedDict  # pydantic needs it before Python 3.12

from danlu.errors import RunError, UsageError
from danlu.nn.state_dict import is_sharded, local_shard
from danlu.storage.atomic import FOLDERS, publish, write_text
from danlu.storage.contents import file_digest
from danlu.storage.disk import diagnose_weights, sync
from danlu.storage.json_page import Count, Number, read_json, read_page, to_json
from danlu.storage.plain_files import check_files
from danlu.training.runtime import Runtime

FORMAT = 1
CHECKPOINTS_KEPT = 3
"""number of newest checkpoints that are kept; that of the best round is kept as well"""
_TENSORS, _PAGE, _MANIFEST = "tensors.safetensors", "page.json", "manifest.json"
_NAMES = re.compile(r"tensors\.safetensors|page\.json|part-\d{5}-of-\d{5}\.safetensors")


class _Best(TypedDict):
    score: Number | None
    round: Count | None
    waited: Count


class _Page(TypedDict):
    """The types of the values in the page of a checkpoint; ``Session.save`` in ``app`` writes them."""

    __pydantic_config__ = ConfigDict(extra="allow")  # pyright: ignore[reportGeneralTypeIssues]
    round: Count
    drawn: NotRequired[Count]
    best: NotRequired[_Best | None]
    seconds: NotRequired[Number]


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run.

    Attributes:
        round: number of completed rounds.
        tensors: the tensors, by name.
        page: other values of the state, for JSON.
    """

    round: int
    tensors: Mapping[str, Tensor]
    page: dict[str, Any]


class StoredTensors(Mapping[str, Tensor]):
    """The tensors of a checkpoint, each read on access. Sharded tensors are concatenated.

    Args:
        files: the files of the checkpoint, in the order of the processes.

    Raises:
        RunError: if a file is not a safetensors file.
    """

    def __init__(self, files: list[Path]):
        self._files: dict[str, list[Any]] = {}
        for path in files:
            try:
                file: Any = safe_open(path, framework="pt")
            except SafetensorError:
                with path.open("rb") as content:
                    raise RunError(f"{path} {diagnose_weights(content.read(200))}") from None
            for name in file.keys():  # noqa: SIM118 (not a mapping)
                self._files.setdefault(name, []).append(file)

    def __getitem__(self, name: str) -> Tensor:
        parts = [file.get_tensor(name) for file in self._files[name]]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


def write(folder: Path, checkpoint: Checkpoint, runtime: Runtime | None = None) -> Path:
    """Write a checkpoint, unless the folder has an undamaged one of the same round.

    Args:
        folder: the folder of checkpoints, the same for every process.
        checkpoint: the state in this process.
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
    temporary = folder / f".making-{final.name}"
    if runtime.broadcast_bool(runtime.rank == 0 and final.is_dir() and _damage(final) is None):
        return final
    for step in (_make_folder, _write_tensors, _write_manifest):
        problem: Exception | None = None
        try:
            step(temporary, final, checkpoint, runtime)
        except (OSError, SafetensorError) as error:
            problem = error
        failing_rank = runtime.first_rank_where(problem is not None)
        if failing_rank is not None:
            shutil.rmtree(temporary, ignore_errors=True)
            size = sum(local_shard(tensor).nbytes for tensor in checkpoint.tensors.values())
            reason = getattr(problem, "strerror", None) or problem or f"process {failing_rank} could not write its part"
            raise RunError(
                f"cannot write the checkpoint {final}, which needs {size:,} bytes: {reason}. "
                f"Earlier checkpoints are unchanged."
            ) from problem
    return final


def _make_folder(temporary: Path, final: Path, checkpoint: Checkpoint, runtime: Runtime) -> None:
    if runtime.rank == 0:
        if final.is_dir():
            _rename_damaged(final)
        for leftover in temporary.parent.glob(FOLDERS):  # left by a process that was killed
            shutil.rmtree(leftover, ignore_errors=True)
        temporary.mkdir(parents=True)


def _write_tensors(temporary: Path, final: Path, checkpoint: Checkpoint, runtime: Runtime) -> None:
    parts = {name: tensor for name, tensor in checkpoint.tensors.items() if is_sharded(tensor)}
    if parts:
        _save(parts, temporary / f"part-{runtime.rank + 1:05d}-of-{runtime.world:05d}.safetensors")
    if runtime.rank == 0:
        _save({name: tensor for name, tensor in checkpoint.tensors.items() if name not in parts}, temporary / _TENSORS)
        page = {"format": FORMAT, "round": checkpoint.round, **checkpoint.page}
        write_text(temporary / _PAGE, to_json(page, indent=1))


def _write_manifest(temporary: Path, final: Path, checkpoint: Checkpoint, runtime: Runtime) -> None:
    if runtime.rank == 0:
        manifest = {"format": FORMAT, "sha256": {path.name: file_digest(path) for path in sorted(temporary.iterdir())}}
        write_text(temporary / _MANIFEST, to_json(manifest, indent=1))
        publish(temporary, final)


def _save(tensors: Mapping[str, Tensor], path: Path) -> None:
    with path.open("xb") as new:  # fails if something exists there, for example a link
        mode = stat.S_IMODE(os.fstat(new.fileno()).st_mode)
    save_file({name: local_shard(tensor).detach().cpu().contiguous() for name, tensor in tensors.items()}, path)
    path.chmod(mode)  # some versions of safetensors ignore the umask
    sync(path)


def newest(folder: Path, report: Callable[[str], None] = lambda line: None) -> Checkpoint | None:
    """The newest complete checkpoint, or None. Damaged ones are renamed, and ``report`` receives a message."""
    for path in reversed(_checkpoint_folders(folder)):
        damage = _damage(path)
        if damage is None:
            return read(path)
        renamed = _rename_damaged(path)
        report(f"the checkpoint {path.name} is damaged ({damage}); it is renamed to {renamed.name}")
    return None


def of_round(folder: Path, round: int) -> Checkpoint | None:
    """The checkpoint of a round, or None if it is missing or damaged."""
    path = folder / f"round-{round:09d}"
    return read(path) if path.is_dir() and _damage(path) is None else None


def newest_round(folder: Path, limit: int) -> int | None:
    """The round of the newest undamaged checkpoint of at most ``limit`` rounds, or None."""
    rounds = (int(path.name.removeprefix("round-")) for path in reversed(_checkpoint_folders(folder)))
    return next((n for n in rounds if n <= limit and _damage(folder / f"round-{n:09d}") is None), None)


def read(path: Path) -> Checkpoint:
    """The checkpoint in a folder.

    Raises:
        UsageError: if it was written by a newer danlu.
        RunError: if its files are damaged.
    """
    page = read_page(path / _PAGE, FORMAT, _Page)
    return Checkpoint(page["round"], StoredTensors(_tensor_files(path)), page)


def _tensor_files(path: Path) -> list[Path]:
    """The tensor files in the manifest, in the order of the processes."""
    names = _digests(path)
    return [path / _TENSORS, *(path / name for name in sorted(names) if name.startswith("part-"))]


def prune(folder: Path, best: int | None, keep: int = CHECKPOINTS_KEPT) -> None:
    """Remove all checkpoints except the ``keep`` newest ones, that of the best round, and the one before it.

    From the one before it, the weights of the best round can be trained again if its checkpoint is damaged.
    """
    folders = _checkpoint_folders(folder)
    kept = folders[-keep:]
    if best is not None:
        name = f"round-{best:09d}"
        kept += [path for path in folders if path.name == name] + [path for path in folders if path.name < name][-1:]
    for path in folders:
        if path not in kept:
            shutil.rmtree(path, ignore_errors=True)


def _checkpoint_folders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob("round-*") if p.is_dir() and p.name.removeprefix("round-").isdecimal())


def _damage(path: Path) -> str | None:
    """A description of the damage of a checkpoint, or None."""
    try:
        digests = _digests(path)
        for name in {_TENSORS, _PAGE} | digests.keys():
            if digests[name] != file_digest(path / name):
                return f"{name} does not match its checksum"
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except UsageError as error:  # it is a link
        return str(error)
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{_MANIFEST} cannot be read"
    return None


def _digests(path: Path) -> dict[str, str]:
    """The SHA-256 of each file of a checkpoint, by name. Nothing outside of the folder has a valid name.

    Raises:
        UsageError: if a file has an invalid name, or is a link.
    """
    check_files(path / _MANIFEST)
    digests = read_json(path / _MANIFEST)["sha256"]
    for name in digests:
        if not _NAMES.fullmatch(name):
            raise UsageError(f"{_MANIFEST} names {name!r:.80}, which is not a file of a checkpoint")
        check_files(path / name)
    return digests


def _rename_damaged(path: Path) -> Path:
    number = 1
    while (renamed := path.with_name(f"damaged-{number}-{path.name}")).exists():
        number += 1
    return path.rename(renamed)
