"""Runs that are trained longer than their recipes said."""

import pytest

import danlu
from danlu.app.run_folder.run_folder import RunFolder
from danlu.errors import UsageError
from danlu.models.saving.model_folder import load_model

SMALL = {"model": {"hidden": (16,), "dropout": 0.3}, "evaluate_every": 10, "quiet": True, "schedule": "constant"}


def test_a_finished_run_that_is_trained_longer_equals_one_of_this_length(tmp_path):
    """Bit for bit, because the learning rate is constant: weights, scores and log."""
    short = danlu.train("mlp", out=tmp_path / "short", rounds=25, **SMALL)
    assert short.page["status"] == "finished"
    longer = danlu.resume(short.path, rounds=50, quiet=True)
    whole = danlu.train("mlp", out=tmp_path / "whole", rounds=50, **SMALL)
    assert (longer.page["status"], longer.page["round"], longer.page["rounds"]) == ("finished", 50, 50)
    assert longer.scores == whole.scores
    assert longer.metrics()[30:] == whole.metrics()[30:]
    assert longer.page["settings"] == whole.page["settings"]
    assert (short.model / "model.safetensors").read_bytes() == (whole.model / "model.safetensors").read_bytes()
    opened = RunFolder.open(short.path)
    assert opened.recipe == whole.recipe
    assert "--rounds 50" in opened.page["command"]


def test_epochs_replace_rounds_and_the_schedule_is_said(tmp_path, capsys):
    run = danlu.train("mlp", out=tmp_path / "run", **{**SMALL, "schedule": "cosine"}, rounds=20)
    longer = danlu.resume(run.path, epochs=2)
    said = capsys.readouterr().out
    assert longer.recipe.epochs == 2
    assert longer.recipe.rounds is None
    assert longer.page["rounds"] > 20
    assert f"The run has {longer.page['rounds']} rounds instead of 20. The learning rate follows the" in said
    assert longer.metrics()[-1]["round"] == longer.page["rounds"]
    load_model(longer.model)


@pytest.mark.parametrize(
    ("length", "message"),
    [
        ({"rounds": 20}, r"has 20 rounds \(1\.02 epochs\) already; give a larger number"),
        ({"epochs": 0.1}, r"has 20 rounds \(1\.02 epochs\) already"),
        ({"epochs": 2, "rounds": 90}, "give epochs or rounds, not both"),
        ({"epochs": -1}, "epochs: expected a number > 0 or null, got -1"),
    ],
)
def test_a_length_that_is_not_possible_changes_nothing(tmp_path, length, message):
    run = danlu.train("mlp", out=tmp_path / "run", rounds=20, **SMALL)
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file() and path.name != ".lock"}
    with pytest.raises(UsageError, match=message):
        danlu.resume(run.path, quiet=True, **length)
    assert all(path.read_bytes() == content for path, content in before.items())
