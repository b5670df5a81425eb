"""Runs that have not ended are used from their best checkpoint, and can be finished there."""

import json
import shutil

import pytest
import torch

import danlu
from danlu.app.console.signals import Interrupt
from danlu.app.run_folder.run_folder import RunFolder
from danlu.app.runs import session as session_module
from danlu.errors import UsageError
from danlu.training import checkpoint

SMALL = {"model": {"hidden": (16,)}, "epochs": 3, "evaluate_every": 10, "quiet": True}


def stopped_run(folder, round, monkeypatch, **changes):
    """A run that was stopped after a round."""
    real = session_module.Trainer.run_round

    def run_round(self):
        report = real(self)
        Interrupt.asked = report.round == round
        return report

    with monkeypatch.context() as patch:
        patch.setattr(Interrupt, "asked", False)
        patch.setattr(session_module.Trainer, "run_round", run_round)
        return danlu.train("mlp", out=folder, **{**SMALL, **changes})


def test_a_stopped_run_is_used_from_its_best_checkpoint_and_then_finished_there(tmp_path, monkeypatch, capsys):
    run = stopped_run(tmp_path / "run", 24, monkeypatch)
    assert run.page["status"] == "stopped"
    assert not run.has_model
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    used = danlu.load(run.path)
    assert torch.equal(torch.rand(1), expected), "the state of torch's generator is as before"
    best = checkpoint.newest(run.checkpoints).page["best"]["round"]
    said = capsys.readouterr().err
    assert f"{run.path}: stopped. The model is that of its best checkpoint, of round {best} of" in said
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before
    finished = danlu.finish(run.path, quiet=True)
    assert (finished.page["status"], finished.page["round"], finished.page["stopped_early"]) == ("finished", 24, True)
    assert finished.page["best"]["round"] == best
    assert (run.path / "report.html").is_file()
    model = danlu.load(run.path)
    for one, other in zip(model.parameters(), used.parameters(), strict=True):
        assert torch.equal(one, other)
    validation = next(entry for entry in finished.metrics() if entry["round"] == best)["validation/accuracy"]
    assert danlu.evaluate(run.path, "validation")["scores"]["accuracy"] == pytest.approx(validation, abs=1e-12)
    assert danlu.finish(run.path, quiet=True).page == RunFolder.open(run.path).page  # nothing is left to do


def test_averaged_weights_of_a_stopped_run_are_used(tmp_path, monkeypatch):
    run = stopped_run(tmp_path / "run", 24, monkeypatch, ema=0.9, monitor="none")
    used = danlu.load(run.path)
    danlu.finish(run.path, quiet=True)
    for one, other in zip(danlu.load(run.path).parameters(), used.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_killed_run_ends_at_its_newest_checkpoint(tmp_path, monkeypatch, capsys):
    run = stopped_run(tmp_path / "run", 24, monkeypatch)
    run.save_page(status="training")  # as a process that was killed leaves it
    with (run.path / "metrics.jsonl").open("a") as log:
        log.write(json.dumps({"round": 25, "net/loss": 9.0}) + "\n")
    danlu.load(run.path)
    assert f"{run.path}: killed. " in capsys.readouterr().err
    finished = danlu.finish(run.path, quiet=True)
    assert finished.page["status"] == "finished"
    assert max(entry["round"] for entry in finished.metrics()) == 24, "weights of later rounds are lost"


def test_a_run_without_a_checkpoint_has_no_model(tmp_path, monkeypatch):
    run = stopped_run(tmp_path / "run", 24, monkeypatch)
    shutil.rmtree(run.checkpoints)
    with pytest.raises(UsageError, match=r"no model and no complete checkpoint \(status: stopped\); continue it"):
        danlu.load(run.path)
    with pytest.raises(UsageError, match="has no complete checkpoint, so there is no model; continue it with `danlu"):
        danlu.finish(run.path, quiet=True)
    assert RunFolder.open(run.path).page["status"] == "stopped"


def test_a_run_in_which_a_process_trains_is_used_but_not_finished(tmp_path, monkeypatch, capsys):
    run = stopped_run(tmp_path / "run", 24, monkeypatch)
    run.save_page(status="training")
    with run.hold():
        danlu.load(run.path)
        assert f"{run.path}: running. " in capsys.readouterr().err
        with pytest.raises(UsageError, match="is in use by process"):
            danlu.finish(run.path, quiet=True)


def test_resume_writes_a_model_again_that_was_deleted(tmp_path, capsys):
    run = danlu.train("mlp", out=tmp_path / "run", **SMALL)
    weights, scores = (run.model / "model.safetensors").read_bytes(), run.scores
    shutil.rmtree(run.model)
    assert danlu.evaluate(run.path)["scores"]["accuracy"] == scores["test"]["accuracy"]
    assert f"`danlu resume {run.path}` writes model/ and the report" in capsys.readouterr().err
    again = danlu.resume(run.path, quiet=True)
    assert again.scores == scores
    assert (run.model / "model.safetensors").read_bytes() == weights
