"""The lines before the first round: rows and warnings apply where they should, and only there."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import danlu
from commands import call
from danlu.app.runs.announce import ROWS, notes_on
from danlu.app.runs.finish import save_and_load
from danlu.app.runs.session import Session
from danlu.recipes import as_recipe


def lines(session: Session, ranks: int) -> str:
    return "\n".join(notes_on(session, ranks))


def rows(session: Session, ranks: int) -> str:
    page: dict[str, Any] = {
        "ranks": ranks,
        "threads": 1,
        "parameters": session.summary.parameters,
        "data": dict.fromkeys(("train", "validation", "test"), 1),
    }
    run: Any = SimpleNamespace(page=page)
    return "\n".join(str(line) for of in ROWS for line in of(session, run))


@pytest.mark.parametrize(("ranks", "pieces", "warned"), [(1, 1, False), (2, 1, True), (1, 2, True)])
def test_layers_that_mix_examples_are_named_only_when_batches_are_split(ranks: int, pieces: int, warned: bool):
    session = Session.start(as_recipe("mlp", {"model.norm": "batch", "grad_accumulation": pieces}))
    assert ("uses the examples of one micro-batch only" in lines(session, ranks)) == warned


def test_sharding_with_one_process_is_warned_of():
    session = Session.start(as_recipe("mlp", {"shard": True}))
    assert "shard has no effect with one process" in lines(session, 1)
    assert "shard" not in lines(session, 2)


def test_parameters_are_those_of_the_model_and_of_all_players():
    session = Session.start(as_recipe("gan"))
    session.check_processes(1)
    model = sum(p.numel() for p in session.trainer.task.model.parameters())
    assert f"{model:,} parameters;" in rows(session, 1)
    page: Any = SimpleNamespace(page={"ranks": 1, "threads": 1, "parameters": model + 5, "data": {}})
    (_, text), *_ = ROWS[1](session, page)
    assert f"{model:,} parameters, {model + 5:,} with critic and generator;" in text


def test_a_model_that_cannot_be_saved_is_evaluated_in_evaluation_mode(tmp_path):
    """It is returned as it is in memory."""
    network = torch.nn.Linear(2, 2)
    trainer = SimpleNamespace(task=SimpleNamespace(model=network.train()))
    session: Any = SimpleNamespace(trainer=trainer, data=SimpleNamespace(info=danlu.survey("digits")[0].info),
                                   recipe=as_recipe("mlp"))  # fmt: skip
    run: Any = SimpleNamespace(model=tmp_path, page={"recipe": "mlp"})
    assert save_and_load(session, run) is network
    assert not network.training


def test_the_device_row_counts_threads_and_processes():
    session = Session.start(as_recipe("mlp"))
    session.check_processes(1)
    assert "1 thread" in rows(session, 1)
    assert "processes" not in rows(session, 1)
    assert "1 thread in each of 2 processes" in rows(session, 2)


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        (
            {"rounds": 10, "evaluate_every": 5, "patience": 2},
            "patience=2 has no effect, because there are 2 evaluations",
        ),
        ({"rounds": 10, "evaluate_every": 4, "patience": 2}, None),
        ({"tf32": True}, "tf32: no effect on the device cpu"),
        ({"channels_last": "on"}, "channels_last has no effect, because the model has no convolutions of images"),
        ({"channels_last": "off"}, None),
    ],
)
def test_settings_without_effect_on_this_training_are_named(changes, note):
    notes = notes_on(Session.start(as_recipe("mlp", changes), "cpu"), 1)
    assert [note in line for line in notes] == [True] if note else notes == []


def test_channels_last_has_an_effect_on_convolutions():
    assert notes_on(Session.start(as_recipe("cnn", {"channels_last": "on"}), "cpu"), 1) == []


def test_check_prints_the_notes_of_a_training(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(danlu.show("mlp", rounds=10, evaluate_every=5, patience=2), encoding="utf-8")
    code, out, _ = call("check", str(path))
    assert (code, out.splitlines()[0]) == (0, f"{path}: valid mlp recipe")
    assert "  note: patience=2 has no effect" in out
    assert json.loads(call("check", str(path), "--json")[1])["notes"][0].startswith("patience=2 has no effect")
