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
    "matplotlib", "pillow", "jinja2", "scikit-learn", "tensorboard",
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
        "processors": f"{os.cpu_count()}, of which torch uses {torch.get_num_threads()}",
        "device": f"{device} ({reason})",
        "compiler": shutil.which("g++") or shutil.which("clang++") or "none; --compile on a CPU needs one",
        "free disk here": f"{shutil.disk_usage('.').free / 1e9:.1f} GB",
        "can write here": "yes" if os.access(Path.cwd(), os.W_OK) else "no; give --out a folder elsewhere",
        "data folder": os.environ.get("DANLU_DATA") or "DANLU_DATA is not set; the digits are built in",
    }
    return facts | {name: _version(name) for name in PACKAGES}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
