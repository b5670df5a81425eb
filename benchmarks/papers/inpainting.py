"""Mean squared error of what is filled in, beside mean fill and a VAE that was never shown masks; digits and MNIST.

It is the mean over the hidden pixels of the held-out pictures, with values from 0 to 1. Mean fill puts
the mean of the training pictures at each place. The other VAE is recipe vae with the same layers, the same length
of training and the same seeds, and fills in by passing the picture through itself ten times.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import danlu
from benchmarks.harness import Score
from danlu.data import DataSettings
from danlu.rng import generator

SEEDS = 3
NETWORKS: dict[str, dict[str, Any]] = {
    "digits": {},
    "mnist": {
        "epochs": 8,
        "batch_size": 128,
        "schedule": "cosine",
        "model.latent": 32,
        "model.hidden": (500, 500),
        "model.dropout": 0.0,
    },
}
MASKS = ("half", "random", "block")


def run() -> list[Score]:
    """A row for each data set and mask."""
    return [row for data in NETWORKS for row in _rows(data)]


def _rows(data: str) -> list[Score]:
    begun = time.monotonic()
    found = DataSettings(data=data).load()
    x, mean = found.test.rows(slice(0, len(found.test)))["image"], _mean(found.train)
    errors: dict[str, dict[str, list[float]]] = {who: {mask: [] for mask in MASKS} for who in ("ours", "vae")}
    with tempfile.TemporaryDirectory() as scratch:
        for seed in range(SEEDS):
            for who, name in (("ours", "inpainting-vae"), ("vae", "vae")):
                model = _trained(name, data, seed, Path(scratch) / f"{name}-{seed}")
                for kind in MASKS:
                    mask = mask_of(kind, x)
                    errors[who][kind].append(hidden_error(_filled(model, x, mask), x, mask))
    seconds, filled = time.monotonic() - begun, {kind: hidden_error(mean, x, mask_of(kind, x)) for kind in MASKS}
    return [_row(data, kind, filled[kind], errors["vae"][kind], errors["ours"][kind], seconds) for kind in MASKS]


def _row(data: str, kind: str, mean: float, vae: list[float], ours: list[float], seconds: float) -> Score:
    given = " ".join(f"--{name.replace('_', '-')} {_said(value)}" for name, value in NETWORKS[data].items())
    unmasked = f"{statistics.mean(vae):.4f} ± {statistics.stdev(vae):.4f}"
    return Score(
        name=f"inpainting-{data}-{kind}",
        metric=f"mean squared error of the hidden pixels of the test pictures, {_WORDS[kind]}",
        published="none",
        values=ours,
        protocol=f"mean fill {mean:.4f}, recipe vae {unmasked}; both recipes with "
        f"{given or 'nothing changed, but vae with the epochs of inpainting-vae'}; pixels from 0 to 1",
        seconds=seconds,
        target="less than mean fill and than vae, in every seed",
        met=max(ours) < mean and all(a < b for a, b in zip(ours, vae, strict=True)),
    )


_WORDS = {
    "half": "of which the lower half is hidden",
    "random": "of which each pixel is hidden with probability 1/2",
    "block": "of which a square with half their sides is hidden, somewhere",
}


def mask_of(kind: str, x: Tensor) -> Tensor:
    """1 where a pixel is seen, the same for every model."""
    height, width = x.shape[2:]
    mask = torch.ones(len(x), 1, height, width)
    source = generator("masks", 0)
    if kind == "half":
        mask[:, :, height // 2 :] = 0
    elif kind == "random":
        mask = (torch.rand(mask.shape, generator=source) < 0.5).to(x.dtype)
    else:
        for picture in mask:
            top, left = (
                (torch.rand(2, generator=source) * torch.tensor([height / 2 + 1, width / 2 + 1])).long().tolist()
            )
            picture[:, top : top + height // 2, left : left + width // 2] = 0
    return mask


def hidden_error(filled: Tensor, x: Tensor, mask: Tensor) -> float:
    """Mean over the hidden pixels of all pictures.

    >>> hidden_error(torch.tensor([[3.0, 5.0]]), torch.tensor([[1.0, 5.0]]), torch.tensor([[0.0, 1.0]]))
    4.0
    """
    hidden = (1 - mask).expand_as(x)
    return float(((filled - x).square() * hidden).sum(dtype=torch.float64) / hidden.sum(dtype=torch.float64))


@torch.no_grad()
def _filled(model: Any, x: Tensor, mask: Tensor) -> Tensor:
    return model.inpaint(x, mask)


def _mean(part: Any) -> Tensor:
    return part.rows(slice(0, len(part)))["image"].mean(0, keepdim=True)


def _trained(name: str, data: str, seed: int, out: Path) -> Any:
    changes = {"epochs": 200, **NETWORKS[data]} if data == "digits" else NETWORKS[data]
    danlu.train(name, data=data, seed=seed, out=out, quiet=True, **changes)
    return danlu.load(out)


def _said(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
