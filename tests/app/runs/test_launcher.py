"""The number of processes of a run."""

import pytest
import torch

from danlu.app.runs.launcher import check_devices
from danlu.errors import UsageError


def test_an_apple_gpu_has_one_process():
    check_devices(1, "mps")
    with pytest.raises(UsageError, match="training on an Apple GPU is limited to one process; use the CPU") as refused:
        check_devices(2, "mps")
    assert refused.value.settings == ("devices", "device=cpu")


def test_there_are_at_most_as_many_processes_as_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    check_devices(2, "cuda")
    with pytest.raises(UsageError, match="devices=3: this machine has 2 GPUs; use at most as many"):
        check_devices(3, "cuda")
