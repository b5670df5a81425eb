"""Versions, devices and environment, for example for a bug report."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = (
    "danlu", "torch", "numpy", "jaxtyping", "safetensors", "pydantic", "tyro", "shtab", "pyyaml", "rich",
    "matplotlib", "pillow", "jinja2", "scikit-learn", "arviz-stats", "tensorboard",
)  # fmt: skip


def doctor() -> dict[str, str]:
    """Versions, device and the reason for it, threads, compiler, disk and folders, as text by name.

    >>> "python" in doctor()
    True
    """
    import torch

    from danlu.training.runtime import pick_device

    device, reason = pick_device("auto")
    facts = {
        "python": f"{platform.python_version()} at {sys.prefix}",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processors": f"{os.cpu_count()} ({torch.get_num_threads()} used by torch)",
        "device": f"{device} ({reason})",
        "compiler": shutil.which("g++") or shutil.which("clang++") or "none (needed for the setting compile on a CPU)",
        "free disk space": f"{shutil.disk_usage('.').free / 1e9:.1f} GB",
        "folder writable": "yes" if os.access(Path.cwd(), os.W_OK) else "no; set out to another folder",
        "data folder": os.environ.get("DANLU_DATA") or "none (DANLU_DATA is not set; some are included)",
    }
    return facts | {name: _version(name) for name in PACKAGES}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
