"""TensorBoard gets every logged value, from the first round on that is written after a start or a resume."""

import sys
from types import ModuleType
from typing import ClassVar

import pytest

from danlu.app.run_folder import tensorboard


class Recorder:
    """In place of TensorBoard's writer, which need not be installed."""

    made: ClassVar[list["Recorder"]] = []

    def __init__(self, folder, purge_step):
        self.folder, self.purge_step, self.scalars, self.flushed = folder, purge_step, [], 0
        Recorder.made.append(self)

    def add_scalar(self, *scalar):
        self.scalars.append(scalar)

    def flush(self):
        self.flushed = len(self.scalars)


@pytest.fixture
def made(monkeypatch):
    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Recorder
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    monkeypatch.setattr(Recorder, "made", [])
    return Recorder.made


def test_every_value_is_written_under_its_round(made, monkeypatch, tmp_path):
    monkeypatch.setattr(tensorboard, "find_spec", lambda name: name == "tensorboard" or None)
    events = tensorboard.Events(tmp_path / "tensorboard")
    assert made == []
    events.write({"round": 5, "train/loss": 0.5, "validation/accuracy": 0.25})
    events.write({"round": 6, "train/loss": 0.125})
    (writer,) = made
    assert (writer.folder, writer.purge_step) == (str(tmp_path / "tensorboard"), 5)
    assert writer.scalars == [("train/loss", 0.5, 5), ("validation/accuracy", 0.25, 5), ("train/loss", 0.125, 6)]
    assert writer.flushed == 3


def test_without_tensorboard_nothing_is_written(made, monkeypatch, tmp_path):
    monkeypatch.setattr(tensorboard, "find_spec", lambda name: None)
    tensorboard.Events(tmp_path / "tensorboard").write({"round": 1, "train/loss": 0.5})
    assert made == []
