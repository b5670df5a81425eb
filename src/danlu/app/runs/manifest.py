"""The content of run.json, and the check whether a run can be resumed under the present conditions."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import torch

from danlu.app.runs.session import Session
from danlu.errors import UsageError

_DECISIVE = ("versions.danlu", "versions.torch", "device", "threads", "ranks", "data.fingerprint", "rounds")


def first_page(name: str, session: Session, command: str, ranks: int, threads: int | None = None) -> dict[str, Any]:
    """The content of run.json before the first round."""
    trainer, data = session.trainer, session.data
    return {
        "recipe": name,
        "status": "new",
        "command": command,
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
        "seed": session.recipe.seed,
        "parameters": sum(p.numel() for p in trainer.task.parameters()),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "round": 0,
        "rounds": trainer.rounds,
    }


def check_same(then: dict[str, Any], now: dict[str, Any], anyway: bool) -> None:
    """Check that a resumed run would have the result of an uninterrupted run.

    Raises:
        UsageError: with all differences, if there are any.
    """
    old, new = _flat(then), _flat(now)
    keys = [*_DECISIVE, *(key for key in sorted(old.keys() | new.keys()) if key.startswith("settings."))]
    differences = [f"  {key}: {old.get(key)} then, {new.get(key)} now" for key in keys if old.get(key) != new.get(key)]
    if differences and not anyway:
        raise UsageError(
            "this run cannot go on as it began:\n" + "\n".join(differences) + "\n"
            "Put that right, or go on all the same with --anyway; the outcome will then be another."
        )


def _flat(page: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested mappings; the keys are dotted names."""
    flat: dict[str, Any] = {}
    for key, value in page.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat
