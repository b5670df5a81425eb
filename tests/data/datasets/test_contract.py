"""What a training sees: every example once an epoch, and the same pictures in any number of processes and lives."""

import os

import pytest
import torch

import danlu
from danlu.app.console.signals import Interrupt
from danlu.data import Augment, TrainingData, digits
from danlu.data.survey.survey import compute_survey
from danlu.evaluation import evaluators
from danlu.models import MLP
from danlu.training import Runtime, StepMemory, Trainer
from data_jobs import classifiers_watched, file_of_pictures, monitor, own_numbers, watch_a_session, watching
from examined import go_on

EPOCHS, N, BATCH = 6, 23, 6
ROUNDS = EPOCHS * N // BATCH  # 6 · 23 is a multiple of 6: the last batch ends an epoch
SMALL = {"model": {"hidden": (4,), "dropout": 0.0}}


def in_order(seen):
    return sorted(seen, key=lambda row: (row.round, row.row))


def alone(grad_accumulation):
    return lambda tmp_path, request: monitor(Runtime(), None, ROUNDS, grad_accumulation)


def from_disk(tmp_path, request):
    return monitor(Runtime(), file_of_pictures(tmp_path), ROUNDS, 1)


def on_two_ranks(disk):
    def seen(tmp_path, request):
        file = file_of_pictures(tmp_path) if disk else None
        ranks = request.getfixturevalue("two_ranks").run(monitor, file, ROUNDS, 1)
        assert [len(rows) for rows in ranks] == [ROUNDS * BATCH // 2] * 2
        return ranks[0] + ranks[1]

    return seen


def resumed(disk):
    """Stopped in the second epoch and in the fifth, each time within an epoch, and gone on with from a checkpoint."""

    def seen(tmp_path, request):
        found, trainer, file = [], None, file_of_pictures(tmp_path) if disk else None
        for life, rounds in enumerate((5, 17, ROUNDS)):
            fresh = watching(Runtime(), file, ROUNDS, 1)
            trainer = fresh if trainer is None else go_on(trainer, fresh, tmp_path / f"checkpoints-{life}")
            while trainer.round < rounds:
                trainer.run_round()
            found += trainer.task.seen
        return found

    return seen


WAYS = {
    "in memory": alone(1),
    "in micro-batches": alone(2),
    "from disk, read ahead": from_disk,
    "on two ranks": on_two_ranks(False),
    "on two ranks, from disk": on_two_ranks(True),
    "resumed within an epoch": resumed(False),
    "resumed within an epoch, from disk": resumed(True),
}


@pytest.mark.xdist_group("two ranks")
@pytest.mark.parametrize("way", WAYS)
def test_every_example_comes_exactly_once_an_epoch_and_in_one_order(way, tmp_path, request):
    seen = in_order(WAYS[way](tmp_path, request))
    assert [(row.round, row.row) for row in seen] == [(r, k) for r in range(ROUNDS) for k in range(BATCH)]
    numbers = [row.number for row in seen]
    for epoch in range(EPOCHS):
        assert sorted(numbers[epoch * N : (epoch + 1) * N]) == list(range(N))
    assert numbers == [row.number for row in in_order(monitor(Runtime(), None, ROUNDS, 1))]
    pictures = own_numbers()["image"]
    for row in seen:
        torch.testing.assert_close(row.image.float(), pictures[row.number], rtol=1e-6, atol=0)  # ranks have float64


# --- augmentation, as a run has it ------------------------------------------------------------------------------------

MOVES = {"augment.flip": "both", "augment.crop": 2, "augment.erase": 0.2}
ALL = {**MOVES, "augment.rotate": 20.0, "augment.scale": (0.8, 1.2), "augment.noise": 0.1, "augment.mixup": 0.4}


def same(ours, theirs):
    """Bit for bit the same pictures in the same places."""
    ours, theirs = in_order(ours), in_order(theirs)
    assert [row[:3] for row in ours] == [row[:3] for row in theirs]
    assert all(torch.equal(a.image, b.image) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.xdist_group("two ranks")
def test_two_processes_see_the_pictures_that_one_sees(two_ranks):
    """Over the end of an epoch; of moves that do not compute with fractions."""
    changes = {**SMALL, **MOVES, "rounds": 5, "batch_size": 300}
    ranks = two_ranks.run(watch_a_session, "mlp", changes)
    assert [{row.row for row in seen} for seen in ranks] == [set(range(150)), set(range(150, 300))]
    one = watch_a_session(Runtime(), "mlp", changes)
    same(ranks[0] + ranks[1], one)
    pictures = digits().train["image"]
    changed = [not torch.equal(row.image, pictures[row.number]) for row in one]
    assert sum(changed) > 0.9 * len(changed)


def stop_after(monkeypatch, rounds):
    """As if somebody pressed Ctrl-C in that round."""
    real = Trainer.run_round

    def run_round(self):
        report = real(self)
        Interrupt.asked = report.round == rounds
        return report

    monkeypatch.setattr(Trainer, "run_round", run_round)


@pytest.mark.parametrize("changes", [MOVES, ALL], ids=["moves", "everything"])
def test_a_run_that_goes_on_sees_the_pictures_of_one_that_was_not_stopped(changes, tmp_path, monkeypatch):
    """Stopped within the second epoch of three, by the commands."""
    # the estimate makes a few steps of a model of its own, which is not what is compared here
    memory = StepMemory(weights=0, training=0, fixed=0.0, per_row=0.0, examples_per_row=1.0)
    monkeypatch.setattr("danlu.app.runs.session.estimate_memory", lambda *_: memory)
    settings = {**SMALL, **changes, "epochs": 3, "batch_size": 100, "quiet": True}
    with classifiers_watched() as whole:
        danlu.train("mlp", out=tmp_path / "whole", **settings)
    with classifiers_watched() as parts:
        with monkeypatch.context() as patch:
            patch.setattr(Interrupt, "asked", False)
            stop_after(patch, 17)
            run = danlu.train("mlp", out=tmp_path / "parts", **settings)
        assert (run.page["status"], len(parts)) == ("stopped", 1700)
        assert danlu.resume(run.path, quiet=True).page["status"] == "finished"
    same(parts, whole)


# --- no other part is ever changed ------------------------------------------------------------------------------------


def test_what_a_model_is_judged_by_is_never_changed(tmp_path, monkeypatch):
    """Every input of a model that is not in training is, bit for bit and in order, one of the parts as they are.

    But for the report's figure of robustness, which is of pictures that were shifted and made noisy.
    """
    seen = []
    forward, strained = MLP.forward, evaluators.robustness

    def unwatched(*asked):
        before = list(seen)
        found = strained(*asked)
        seen[:] = before
        return found

    def watched(self, x):
        if not self.training and x.any():  # layers are counted with an empty picture before the first round
            seen.append(x.clone())
        return forward(self, x)

    monkeypatch.setattr(MLP, "forward", watched)
    monkeypatch.setattr(evaluators, "robustness", unwatched)
    run = danlu.train("mlp", out=tmp_path / "run", epochs=2, evaluate_every=10, quiet=True, **SMALL, **ALL)
    data = digits()
    validation, test = data.validation["image"], data.test["image"]
    evaluations = sum("validation/accuracy" in entry for entry in run.metrics())
    assert evaluations >= 4
    assert torch.equal(torch.cat(seen), torch.cat([validation] * (evaluations + 1) + [test]))
    seen.clear()
    danlu.evaluate(run.path, "validation")
    danlu.evaluate(run.path, "test")
    assert torch.equal(torch.cat(seen), torch.cat([validation, test]))


def test_a_data_set_and_its_survey_do_not_know_of_augmentation(tmp_path, monkeypatch):
    monkeypatch.setitem(os.environ, "DANLU_CACHE", str(tmp_path))  # where no survey is kept yet
    page = Augment(flip="both", crop=2, erase=0.2, noise=0.1)
    found, seen = danlu.survey(TrainingData(augment=page))
    assert found.fingerprint() == digits().fingerprint()
    assert seen == compute_survey(digits())
