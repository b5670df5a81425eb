"""A run whose files were damaged or removed: what is lost is reported, and what can be computed again is."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

import danlu
from danlu.app.console.progress import Screen
from danlu.app.console.signals import Interrupt
from danlu.app.runs import session as session_module
from danlu.app.runs.finish import choose_weights
from danlu.app.runs.session import Session
from danlu.training import Checkpoint, checkpoint
from danlu.training.validation import Best
from examined import tiny

SMALL = {"model": {"hidden": (16,), "dropout": 0.3}, "epochs": 3, "quiet": True}


@pytest.fixture
def stopped(tmp_path, monkeypatch):
    """A run that was stopped after thirty of its rounds."""
    real = session_module.Trainer.run_round

    def run_round(self):
        report = real(self)
        Interrupt.asked = report.round == 30
        return report

    with monkeypatch.context() as patch:
        patch.setattr(Interrupt, "asked", False)
        patch.setattr(session_module.Trainer, "run_round", run_round)
        return danlu.train("mlp", out=tmp_path / "run", **SMALL)


GARBAGE = (b'{"round": 4, "classifier/cro', b"\xff\xff", b"[4]", b'{"round": "four"}', b'{"round": 4, "val\xff": 0.5}')


def damage_the_log(run, places):
    """Replace lines of the log by lines that cannot be read; the rounds of the lost lines."""
    path = run.path / "metrics.jsonl"
    lines = path.read_bytes().splitlines()
    assert len(lines) > 10
    lost = {json.loads(lines[number])["round"] for number in places}
    for number, garbage in places.items():
        lines[number] = garbage
    path.write_bytes(b"\n".join(lines) + b"\n")
    return lost


def check_the_log(run, lost):
    """The log of a run that was resumed has all other lines."""
    rounds = [entry["round"] for entry in run.metrics()]
    assert rounds == [round for round in range(1, run.page["rounds"] + 1) if round not in lost]
    assert all(json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines())


def test_lines_of_the_log_that_cannot_be_read_cost_no_other_lines(stopped, capsys):
    lost = damage_the_log(stopped, dict(enumerate(GARBAGE, start=4)))
    resumed = danlu.resume(stopped.path)
    said = capsys.readouterr().out.replace("\n", " ")
    assert f"{stopped.path / 'metrics.jsonl'}: 5 lines cannot be read and will be missing" in said
    check_the_log(resumed, lost)


@pytest.mark.parametrize("garbage", GARBAGE)
def test_a_last_line_that_cannot_be_read_costs_no_other_line(stopped, garbage, capsys):
    lost = damage_the_log(stopped, {-1: garbage})
    resumed = danlu.resume(stopped.path)
    said = capsys.readouterr().out.replace("\n", " ")
    assert f"{stopped.path / 'metrics.jsonl'}: 1 line cannot be read and will be missing" in said
    check_the_log(resumed, lost)


def test_a_truncated_last_line_is_no_damage(stopped, capsys):
    path = stopped.path / "metrics.jsonl"
    path.write_text(path.read_text() + '{"round": 31, "classi')
    resumed = danlu.resume(stopped.path)
    assert "cannot be read" not in capsys.readouterr().out
    assert [entry["round"] for entry in resumed.metrics()] == list(range(1, resumed.page["rounds"] + 1))


def test_without_any_checkpoint_the_run_says_that_it_starts_again(stopped, tmp_path, capsys):
    shutil.rmtree(stopped.checkpoints)
    danlu.resume(stopped.path)
    said = capsys.readouterr().out.replace("\n", " ")
    assert "has no complete checkpoint; the training starts again from round 0" in said
    whole = danlu.train("mlp", out=tmp_path / "whole", **SMALL)
    assert (stopped.path / "metrics.jsonl").read_text() == (whole.path / "metrics.jsonl").read_text()


@pytest.mark.parametrize("earlier", [True, False])
def test_the_best_weights_without_their_checkpoint_are_trained_again_from_an_earlier_one(earlier, tmp_path, capsys):
    session = Session.start(tiny("mlp", rounds=5))
    states = {}
    for report in session.trainer:
        states[report.round] = {name: value.clone() for name, value in session.trainer.state().items()}
        if report.round == 5 or (earlier and report.round == 2):
            page = {"drawn": session.trainer.drawn}
            checkpoint.write(tmp_path / "checkpoints", Checkpoint(report.round, states[report.round], page))
    session.best = Best("accuracy", True, score=1.0, round=4)

    class Run:
        checkpoints = tmp_path / "checkpoints"

    weights = choose_weights(session, Run, Screen())  # type: ignore[arg-type]
    said = capsys.readouterr().out.replace("\n", " ")
    expected = states[4] if earlier else states[5]
    assert all(torch.equal(value, expected[name]) for name, value in session.trainer.state().items())
    assert weights == ("best" if earlier else "last")
    assert ("trained again from the checkpoint of round 2" if earlier else "the last weights are kept") in said


def test_the_best_weights_are_trained_again_from_what_pruning_leaves(tmp_path, monkeypatch, capsys):
    """The best round is long past, and its checkpoint is removed while the run is stopped."""
    real = session_module.Trainer.run_round

    def run_round(self):
        report = real(self)
        Interrupt.asked = report.round == self.stop_after
        return report

    monkeypatch.setattr(Interrupt, "asked", False)
    monkeypatch.setattr(session_module.Trainer, "run_round", run_round)
    monkeypatch.setattr(session_module, "SECONDS_BETWEEN_SAVES", -1)
    monkeypatch.setattr(session_module, "evaluate", lambda trainer, part: {"accuracy": -abs(trainer.round - 4)})
    settings = {"model.hidden": (8,), "rounds": 12, "evaluate_every": 1, "monitor": "accuracy", "quiet": True}
    monkeypatch.setattr(session_module.Trainer, "stop_after", None, raising=False)
    whole = danlu.train("mlp", out=tmp_path / "whole", **settings)
    monkeypatch.setattr(session_module.Trainer, "stop_after", 10)
    run = danlu.train("mlp", out=tmp_path / "run", **settings)
    assert sorted(path.name for path in run.checkpoints.iterdir()) == [f"round-{n:09d}" for n in (3, 4, 8, 9, 10)]
    shutil.rmtree(run.checkpoints / "round-000000004")
    monkeypatch.setattr(session_module.Trainer, "stop_after", None)
    resumed = danlu.resume(run.path)
    assert "trained again from the checkpoint of round 3" in capsys.readouterr().out.replace("\n", " ")
    assert resumed.page["best"] == whole.page["best"]
    expected, found = (load_file(one.model / "model.safetensors") for one in (whole, resumed))
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
