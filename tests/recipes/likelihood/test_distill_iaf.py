"""The recipe of distillation: its own teacher, the teacher of another run, and what is refused."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import danlu
from danlu.app.run_folder.run_folder import RunFolder
from danlu.data.images.info import ImageInfo
from danlu.data.tables.info import TableInfo
from danlu.errors import UsageError
from danlu.models import IAF, MAF, MLP, save_model
from danlu.recipes import as_recipe, build
from danlu.recipes.likelihood.teacher import load_teacher
from danlu.training import Runtime
from danlu.training.validation import evaluate
from examined import go_on, play, trainer_of
from outcomes import assert_same_tensors

SMALL = {"model.hidden": (16,), "model.blocks": 2, "batch_size": 16}
DIGITS = ImageInfo((1, 8, 8), 10, tuple("0123456789"), levels=17)
OF_DIGITS = {"shape": (1, 8, 8), "levels": 17, "hidden": (16,), "blocks": 2}


def saved(folder, model, info=DIGITS) -> str:
    save_model(model, folder, info)
    return str(folder)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory) -> str:
    """The run of a MAF of points."""
    folder = tmp_path_factory.mktemp("teacher") / "run"
    danlu.train("maf", data="moons", rounds=40, out=folder, quiet=True, **SMALL)
    return str(folder)


def student_of(teacher, **more):
    return as_recipe("distill-iaf", {"data": "moons", "teacher": teacher, "rounds": 6, **SMALL, **more})


def test_the_teacher_of_another_run_has_its_weights_and_never_changes(teacher):
    trainer = trainer_of(student_of(teacher))
    model = danlu.load(teacher)
    assert set(trainer.players) == {"student"}
    assert isinstance(trainer.task.model, IAF)
    for _ in trainer:
        pass
    assert_same_tensors(model.state_dict(), trainer.task.teacher.state_dict())
    assert trainer.task.coupled is None


def test_the_student_does_not_depend_on_reading_the_teacher(teacher):
    alone = build(as_recipe("distill-iaf", {"data": "moons", "rounds": 6, **SMALL})).task.student
    assert_same_tensors(alone.state_dict(), build(student_of(teacher)).task.student.state_dict())


def test_stopped_and_resumed_with_a_teacher_of_another_run(teacher, tmp_path):
    whole = play(trainer_of(student_of(teacher)))
    first = trainer_of(student_of(teacher))
    validation = student_of(teacher).load().validation
    for report in first:
        evaluate(first, validation)
        if report.round == 3:
            fresh = trainer_of(student_of(teacher))
            with torch.no_grad():  # the weights of the teacher are in the checkpoint
                for parameter in fresh.task.teacher.parameters():
                    parameter.zero_()
            assert_same_tensors(whole, play(go_on(first, fresh, tmp_path)))
            break


def test_a_run_is_not_resumed_with_a_teacher_that_has_changed(teacher, tmp_path):
    folder, out = tmp_path / "teacher", tmp_path / "student"
    shutil.copytree(teacher, folder)
    run = danlu.train(student_of(str(folder)), out=out, quiet=True)
    page = out / "run.json"
    page.write_text(json.dumps({**json.loads(page.read_text()), "status": "stopped"}))
    assert danlu.resume(out, quiet=True).page["status"] == "finished"  # the same teacher
    page.write_text(json.dumps({**json.loads(page.read_text()), "status": "stopped"}))
    model = danlu.load(folder)
    with torch.no_grad():
        next(model.parameters()).view(-1)[0] += 1.0
    shutil.rmtree(folder)
    saved(folder, model, run.recipe.load().info)
    then = run.page["fingerprints"]["teacher"]
    with pytest.raises(UsageError, match=rf"(?s)changed:\n  fingerprints\.teacher: {then} before, [0-9a-f]+ now\n"):
        danlu.resume(out, quiet=True)
    assert danlu.resume(out, ignore_changes=True, quiet=True).page["status"] == "finished"


def test_micro_batches_make_no_difference_with_a_frozen_teacher(teacher):
    double = Runtime(precision="float64")
    whole, parts = (play(trainer_of(student_of(teacher, grad_accumulation=k), double)) for k in (1, 4))
    for name, value in whole.items():
        torch.testing.assert_close(value, parts[name], rtol=1e-10, atol=1e-10)


def test_a_finished_run_needs_its_teacher_no_more(tmp_path):
    teacher, run = tmp_path / "teacher", tmp_path / "student"
    danlu.train("maf", data="moons", rounds=5, out=teacher, quiet=True, **SMALL)
    danlu.train(student_of(str(teacher)), out=run, quiet=True)
    shutil.rmtree(teacher)
    model = danlu.load(run)
    assert isinstance(model, IAF)
    assert model.sample(3).shape == (3, 2)
    found = RunFolder.open(run)
    assert danlu.evaluate(run)["scores"]["log_prob"] == pytest.approx(found.scores["test"]["log_prob"])
    logged = found.metrics()[-1]
    assert {"validation/kl", "validation/kl_standard_error", "validation/teacher_log_prob"} <= logged.keys()


def test_the_path_of_the_teacher_is_stored_as_an_absolute_path(teacher, monkeypatch):
    monkeypatch.chdir(Path(teacher).parent)
    assert student_of("run").with_absolute_paths().teacher == str(Path(teacher).resolve())
    assert as_recipe("distill-iaf").with_absolute_paths().teacher is None


@pytest.mark.parametrize("data", ["digits", "moons"])
@pytest.mark.parametrize("conditional", [False, True])
def test_the_models_fit_the_data(data, conditional):
    recipe = as_recipe("distill-iaf", {"data": data, "conditional": conditional, "model.alpha": 0.01})
    info = recipe.load().info
    task = recipe.task(info)
    for model, kind in ((task.teacher, MAF), (task.student, IAF)):
        assert isinstance(model, kind)
        assert (model.shape, model.classes) == (info.shape, info.classes if conditional else 0)
        assert model.logit is None if data == "moons" else model.logit.alpha == 0.01
    assert recipe.unused_on(info) == ([] if data == "digits" else ["model.alpha"])


def test_each_player_has_a_schedule_of_its_own_rounds():
    settings = as_recipe("distill-iaf", {"rounds": 30, "lr": 0.01, "teacher_lr": 0.02}).optimizer_settings()
    assert {name: one.lr for name, one in settings.items()} == {"teacher": 0.02, "student": 0.01}
    assert [settings["teacher"].factor(round, 30) for round in (0, 9)] == [1.0, 0.0]
    assert [settings["student"].factor(round, 30) for round in (10, 29)] == [1.0, 0.0]
    turns = as_recipe("distill-iaf", {"rounds": 30}).task(DIGITS).turns
    assert [turns(round)[-1].player for round in (0, 9, 10, 29)] == ["teacher", "teacher", "student", "student"]


def test_a_dry_run_trains_both():
    recipe = as_recipe("distill-iaf", {"rounds": 100, "teacher_rounds": 90, **SMALL})
    short = as_recipe(recipe, recipe.two_rounds)
    assert [short.task(DIGITS).turns(round)[-1].player for round in range(2)] == ["teacher", "student"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rounds": 1}, "rounds=1 must be at least 2"),
        ({"rounds": 9, "teacher_rounds": 9}, "teacher_rounds=9 must be less than rounds=9"),
        ({"model.batch_norm": True}, "model.batch_norm has no effect on samples"),
        ({"teacher_model.alpha": 0.01}, "teacher_model.alpha has no effect; set model.alpha"),
        ({"teacher": "runs/maf", "teacher_rounds": 5}, "teacher_rounds: no effect with a trained teacher"),
        ({"teacher": "runs/maf", "teacher_lr": 0.1}, "teacher_lr: no effect with a trained teacher"),
        ({"teacher": "runs/maf", "teacher_model.blocks": 3}, "teacher_model.blocks: no effect with a trained teacher"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        as_recipe("distill-iaf", changes)


def test_weights_are_not_selected_among_rounds_with_different_teachers(teacher):
    with pytest.raises(UsageError, match="monitor also compares rounds in which the teacher is trained; set teacher"):
        build(as_recipe("distill-iaf", {"monitor": "kl"}))
    build(student_of(teacher, monitor="kl"))


def test_a_length_in_epochs_needs_the_rounds_of_the_teacher():
    with pytest.raises(UsageError, match="teacher_rounds is needed if the length is given in epochs"):
        build(as_recipe("distill-iaf", {"epochs": 2}))
    with pytest.raises(UsageError, match="teacher_rounds=500 must be less than rounds=39"):
        build(as_recipe("distill-iaf", {"epochs": 2, "teacher_rounds": 500}))


@pytest.mark.parametrize(
    ("model", "info", "changes", "message"),
    [
        (
            MLP((1, 8, 8), 10),
            DIGITS,
            {},
            "is of class MLP, and the teacher must be of class MAF: train one with `danlu train maf",
        ),
        (IAF(**OF_DIGITS), DIGITS, {}, r"teacher: the model in .* is of class IAF, and t"),
        (
            MAF(**OF_DIGITS | {"shape": (1, 4, 4)}),
            ImageInfo((1, 4, 4), 10, levels=17),
            {},
            "cannot be the teacher of a student on digits: it is a model of images of shape 1×4×4, and the data has "
            "images of shape 1×8×8",
        ),
        (MAF((64,)), TableInfo((64,)), {}, "it is a model of rows with 64 columns"),
        (
            MAF(**OF_DIGITS | {"levels": 256}),
            ImageInfo((1, 8, 8), 10),
            {},
            "its values are from 0 to 1 in steps of 0.003922, and those of the data from",
        ),
        (MAF(**OF_DIGITS, classes=10), DIGITS, {}, "it is class-conditional; set conditional=True"),
        (MAF(**OF_DIGITS), DIGITS, {"conditional": True}, "it is not class-conditional; set conditional=False"),
        (
            MAF(**OF_DIGITS, classes=3),
            ImageInfo((1, 8, 8), 3, levels=17),
            {"conditional": True},
            "it has 3 classes, and the data has 10",
        ),
        (
            MAF(**OF_DIGITS, classes=10),
            ImageInfo((1, 8, 8), 10, tuple("9876543210"), levels=17),
            {"conditional": True},
            "its classes have other names, or another order",
        ),
        (MAF(**OF_DIGITS, alpha=0.05), DIGITS, {}, "needs the alpha of its teacher; set model.alpha=0.05"),
    ],
)
def test_the_teacher_must_be_a_model_of_the_same_examples(model, info, changes, message, tmp_path):
    path = saved(tmp_path, model, info)
    with pytest.raises(UsageError, match=message):
        build(as_recipe("distill-iaf", {"teacher": path, **changes}))


def test_columns_of_another_name_or_scale_are_refused(tmp_path):
    info = TableInfo((2,), columns=("x", "y"), shift=(0.0, 1.0), scale=(1.0, 2.0))
    path = saved(tmp_path, MAF((2,), hidden=(8,)), info)
    load_teacher(path, info, conditional=False, data="rows")
    for other in ({"columns": ("x", "z")}, {"scale": (1.0, 3.0)}, {"shift": (0.0, 0.0)}):
        with pytest.raises(UsageError, match="on rows: its columns have other names or scales"):
            load_teacher(path, replace(info, **other), conditional=False, data="rows")


def test_a_teacher_that_cannot_be_read_is_an_error_in_one_line(teacher, tmp_path):
    with pytest.raises(UsageError, match=r"teacher: .*no does not exist; give the folder of a run of maf"):
        build(student_of(str(tmp_path / "no")))
    with pytest.raises(UsageError, match=r"teacher: .* has no model.json"):
        build(student_of(str(tmp_path)))
    unfinished = tmp_path / "run"
    shutil.copytree(teacher, unfinished, ignore=shutil.ignore_patterns("model"))
    with pytest.raises(UsageError, match=r"has no model yet: the run is not finished; continue it with `danlu resume"):
        build(student_of(str(unfinished)))
