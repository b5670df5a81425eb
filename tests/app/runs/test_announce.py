"""The lines before the first round: rows and warnings apply where they should, and only there."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

import danlu
from danlu.app.runs.announce import ROWS, WARNINGS
from danlu.app.runs.finish import save_and_load
from danlu.app.runs.session import Session
from danlu.recipes import as_recipe


def lines(session: Session, ranks: int, rows=WARNINGS) -> str:
    page: dict[str, Any] = {
        "ranks": ranks,
        "threads": 1,
        "parameters": session.summary.parameters,
        "data": dict.fromkeys(("train", "validation", "test"), 1),
    }
    run: Any = SimpleNamespace(page=page)
    return "\n".join(str(line) for of in rows for line in of(session, run))


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
    assert f"{model:,} parameters;" in lines(session, 1, ROWS)
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
    assert "1 thread" in lines(session, 1, ROWS)
    assert "processes" not in lines(session, 1, ROWS)
    assert "1 thread in each of 2 processes" in lines(session, 2, ROWS)
