"""What runs leave in their folders, and whether two of them left the same."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor


def read_json(path: Path) -> dict:
    """The object in a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def edit_json(path: Path, **changes: object) -> None:
    """Change values of the object in a JSON file."""
    path.write_text(json.dumps({**read_json(path), **changes}), encoding="utf-8")


def run_page(run: Path) -> dict:
    """What ``run.json`` of a run says."""
    return read_json(run / "run.json")


def weights(folder: Path) -> dict[str, Tensor]:
    """Tensors of a model, by the folder of the model or of its run."""
    direct = folder / "model.safetensors"
    return load_file(direct if direct.is_file() else folder / "model" / "model.safetensors")


def same_tensors(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    """Whether both have the same names with the same values, bit for bit."""
    return a.keys() == b.keys() and all(torch.equal(tensor, b[name]) for name, tensor in a.items())


def assert_same_tensors(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> None:
    """The same names with the same values, bit for bit."""
    assert a.keys() == b.keys()
    for name, tensor in a.items():
        assert torch.equal(tensor, b[name]), name


def assert_close_tensors(a: Mapping[str, Tensor], b: Mapping[str, Tensor], tolerance: float) -> None:
    """The same names with values that differ by at most a tolerance, relative or absolute."""
    assert a.keys() == b.keys()
    for name, tensor in a.items():
        torch.testing.assert_close(b[name], tensor, rtol=tolerance, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}")


def assert_same_run(a: Path, b: Path) -> None:
    """Two run folders with the same model, the same scores and the same logged values."""
    assert_same_tensors(weights(a), weights(b))
    assert run_page(a)["scores"] == run_page(b)["scores"]
    assert (a / "metrics.jsonl").read_text() == (b / "metrics.jsonl").read_text()
