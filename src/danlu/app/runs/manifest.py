"""The content of run.json, and the check whether a run can be resumed under the present conditions."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import torch

from danlu.app.console.settings_flags import command_of
from danlu.app.runs.session import Session
from danlu.catalogue.recipes import name_of_recipe
from danlu.errors import UsageError
from danlu.evaluation.feature_networks import fingerprint
from danlu.storage.json_page import to_json

_DECISIVE = ("versions.danlu", "versions.torch", "device", "threads", "ranks", "data.fingerprint", "rounds")
_DECISIVE_GROUPS = ("fingerprints.", "settings.")


def manifest(session: Session, command: str | None, ranks: int, threads: int | None = None) -> dict[str, Any]:
    """The content of run.json before the first round.

    Args:
        session: the run in memory.
        command: the command that started the run; derived from the recipe if not given.
        ranks: number of processes.
        threads: threads per process; by default the threads of this process are divided among the processes.
    """
    trainer, data = session.trainer, session.data
    name = name_of_recipe(type(session.recipe))
    return {
        "recipe": name,
        "status": "new",
        "command": _printable(command or command_of(name, session.recipe)),
        "settings": session.recipe.model_dump(mode="json"),
        "versions": {
            "danlu": version("danlu"),
            "torch": torch.__version__,
            "python": platform.python_version(),
            "system": f"{platform.system()} {platform.machine()}",
        },
        "device": trainer.runtime.device.type,
        "device_reason": trainer.runtime.reason,
        "precision": session.recipe.precision,
        "threads": threads or max(1, torch.get_num_threads() // ranks),
        "ranks": ranks,
        "data": {
            "name": data.name,
            "fingerprint": data.fingerprint(),
            "dir": str(folder) if (folder := session.access.user_folder) else None,
            "train": len(data.train),
            "validation": len(data.validation),
            "test": len(data.test),
        },
        "fingerprints": {name: fingerprint(model) for name, model in trainer.task.frozen.items()},
        "seed": session.recipe.seed,
        "parameters": sum(p.numel() for p in trainer.task.parameters()),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "round": 0,
        "rounds": trainer.rounds,
    }


def check_unchanged(then: dict[str, Any], now: dict[str, Any], ignore_changes: bool) -> None:
    """Check that a resumed run would have the result of an uninterrupted run.

    Raises:
        UsageError: with all differences, if there are any.
    """
    old, new = _flat(then), _flat(now)
    keys = [*_DECISIVE, *(key for key in sorted(old.keys() | new.keys()) if key.startswith(_DECISIVE_GROUPS))]
    changed = [key for key in keys if to_json(old.get(key)) != to_json(new.get(key))]
    differences = [f"  {key}: {old.get(key)} before, {new.get(key)} now" for key in changed]
    if differences and not ignore_changes:
        raise UsageError(
            "the conditions of this run have changed:\n" + "\n".join(differences) + "\n"
            "Restore them, or resume with ignore_changes=True; the result will then differ from that of an "
            "uninterrupted run",
            settings=("ignore_changes=True",),
        )


def _flat(page: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested mappings; the keys are dotted names."""
    flat: dict[str, Any] = {}
    for key, value in page.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def _printable(command: str) -> str:
    """A command as UTF-8 text; paths on Linux can have any bytes."""
    return command.encode(errors="backslashreplace").decode()
