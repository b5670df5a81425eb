"""Training by one call: early stopping, the test part, resuming, and what is refused."""

import dataclasses
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

import danlu
from commands import forkserver
from danlu import catalogue
from danlu.app.console.signals import Interrupt
from danlu.app.run_folder.run_folder import RunFolder
from danlu.app.runs import session as session_module
from danlu.app.runs.manifest import manifest
from danlu.app.runs.session import Session
from danlu.data import digits
from danlu.errors import Diverged, UsageError
from danlu.recipes import as_recipe
from danlu.storage import Access
from danlu.training import checkpoint
from rank_jobs import create_one

SMALL = {"model": {"hidden": (16,), "dropout": 0.0}, "epochs": 3, "quiet": True}


def weights(run: RunFolder) -> dict[str, torch.Tensor]:
    return load_file(run.model / "model.safetensors")


def test_early_stopping_stops_an_overfitting_run_and_restores_its_best_weights(tmp_path):
    """A wide network without dropout at a high rate: its validation loss falls, then rises."""
    overfits = {"model": {"hidden": (256,), "dropout": 0.0}, "schedule": "constant", "weight_decay": 0.0, "lr": 0.01}
    run = danlu.train(
        "mlp", out=tmp_path / "run", epochs=200, patience=6, monitor="cross_entropy", quiet=True, **overfits
    )
    page = run.page
    losses = {e["round"]: e["validation/cross_entropy"] for e in run.metrics() if "validation/cross_entropy" in e}
    assert page["stopped_early"]
    assert page["round"] == max(losses) < page["rounds"]
    best = min(losses, key=lambda round: (losses[round], -round))
    assert page["best"] == {"monitor": "cross_entropy", "score": losses[best], "round": best}
    assert len([round for round in losses if round > best]) == 6

    saved = checkpoint.of_round(run.checkpoints, best)
    assert saved is not None
    for name, tensor in weights(run).items():
        assert torch.equal(tensor, saved.tensors[f"task/classifier.{name}"])
    # measured again on the loaded model, from its probabilities
    assert run.scores["validation"]["cross_entropy"] == pytest.approx(losses[best], rel=1e-4)
    assert losses[max(losses)] > losses[best]


def test_the_average_is_what_is_evaluated_and_saved(tmp_path):
    run = danlu.train("mlp", out=tmp_path / "run", ema=0.9, monitor="none", **SMALL)
    last = checkpoint.newest(run.checkpoints)
    assert last is not None
    assert run.page["weights"] == "average"
    assert run.page["best"] is None
    for name, tensor in weights(run).items():
        assert torch.equal(tensor, last.tensors[f"player/classifier/average/{name}"])
        assert not torch.equal(tensor, last.tensors[f"task/classifier.{name}"])


def test_without_watch_and_average_the_last_weights_are_saved(tmp_path):
    run = danlu.train("mlp", out=tmp_path / "run", monitor="none", **SMALL)
    last = checkpoint.newest(run.checkpoints)
    assert last is not None
    assert run.page["weights"] == "last"
    assert all(torch.equal(t, last.tensors[f"task/classifier.{n}"]) for n, t in weights(run).items())


def test_the_test_part_changes_nothing_but_its_own_scores(tmp_path, monkeypatch):
    """Training with a test part of noise ends with the same weights, chosen in the same round."""
    honest = danlu.train("mlp", out=tmp_path / "honest", patience=2, **SMALL)

    def with_noise(**asked):
        data = digits(**asked)
        noise = {"image": torch.rand_like(data.test["image"]), "label": data.test["label"].flip(0)}
        return dataclasses.replace(data, test=type(data.test)(noise))

    monkeypatch.setattr(catalogue, "find_data", lambda name: with_noise)
    noisy = danlu.train("mlp", out=tmp_path / "noisy", patience=2, **SMALL)
    assert noisy.page["best"] == honest.page["best"]
    assert all(torch.equal(tensor, weights(noisy)[name]) for name, tensor in weights(honest).items())
    assert noisy.scores["validation"] == honest.scores["validation"]
    assert noisy.scores["test"] != honest.scores["test"]


def test_one_seed_one_outcome(tmp_path):
    first, second, other = (
        danlu.train("mlp", out=tmp_path / name, seed=seed, **SMALL) for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert all(torch.equal(tensor, weights(second)[name]) for name, tensor in weights(first).items())
    assert not torch.equal(weights(first)["head.weight"], weights(other)["head.weight"])


def stop_after(monkeypatch, rounds: int) -> None:
    """As if somebody pressed Ctrl-C in that round."""
    real = session_module.Trainer.run_round

    def run_round(self):
        report = real(self)
        if report.round == rounds:
            Interrupt.asked = True
        return report

    monkeypatch.setattr(session_module.Trainer, "run_round", run_round)


@pytest.fixture
def stopped(tmp_path, monkeypatch):
    """A run that somebody stopped after thirty rounds."""
    with monkeypatch.context() as patch:
        patch.setattr(Interrupt, "asked", False)
        stop_after(patch, 30)
        run = danlu.train("mlp", out=tmp_path / "run", **SMALL)
    assert run.page["status"] == "stopped"
    return run


def test_stopped_and_resumed(stopped, tmp_path):
    assert stopped.page["round"] == 30
    assert not stopped.model.exists()
    resumed = danlu.resume(stopped.path, quiet=True)
    whole = danlu.train("mlp", out=tmp_path / "whole", **SMALL)
    assert resumed.page["status"] == "finished"
    assert all(torch.equal(tensor, weights(resumed)[name]) for name, tensor in weights(whole).items())
    assert resumed.metrics() == whole.metrics()


def test_a_run_can_be_moved(stopped, tmp_path):
    moved = stopped.path.rename(tmp_path / "a füller näme")
    assert danlu.resume(moved, quiet=True).page["status"] == "finished"
    assert danlu.evaluate(moved)["examples"] == 359


def edit(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_differences_are_listed_and_refused_without_a_flag(stopped):
    page = stopped.path / "run.json"
    edit(page, data={**stopped.page["data"], "fingerprint": "0" * 64})
    with pytest.raises(UsageError, match=r"(?s)data.fingerprint: 0{64} before.*ignore_changes=True"):
        danlu.resume(stopped.path, quiet=True)
    assert danlu.resume(stopped.path, ignore_changes=True, quiet=True).page["status"] == "finished"


def test_a_resumed_run_states_the_settings_with_which_it_goes_on(stopped):
    recipe = stopped.path / "recipe.yaml"
    recipe.write_text(recipe.read_text(encoding="utf-8").replace("dropout: 0 ", "dropout: 0.1 "), encoding="utf-8")
    assert json.loads((stopped.path / "run.json").read_text())["settings"]["model"]["dropout"] == 0.0
    danlu.resume(stopped.path, ignore_changes=True, quiet=True)
    assert json.loads((stopped.path / "run.json").read_text())["settings"]["model"]["dropout"] == 0.1


@pytest.mark.parametrize(("all_threads", "ranks", "each"), [(8, 2, 4), (2, 4, 1), (3, 1, 3)])
def test_the_threads_of_a_process_are_its_share_of_all(monkeypatch, all_threads, ranks, each):
    session = Session.start(as_recipe("mlp"), "cpu", Access())
    monkeypatch.setattr(torch, "get_num_threads", lambda: all_threads)
    assert manifest(session, None, ranks)["threads"] == each
    assert manifest(session, None, ranks, 5)["threads"] == 5


def test_several_processes_are_started_only_if_their_number_is_given(stopped, monkeypatch):
    """A stranger's run.json names their number; nothing is started, and the run is unchanged."""
    started: list[int] = []
    monkeypatch.setattr("danlu.app.runs.train.launch", lambda run, quiet: started.append(run.page["ranks"]) or run)
    page = stopped.path / "run.json"
    edit(page, ranks=2)
    before = page.read_text()
    with pytest.raises(UsageError, match=rf"in 2 processes.*type `danlu resume {stopped.path} --devices 2`"):
        danlu.resume(stopped.path, quiet=True)
    shutil.rmtree(stopped.checkpoints)
    with pytest.raises(UsageError, match=rf"no model and no .*`danlu resume {stopped.path} --devices 2`"):
        danlu.load(stopped.path)
    assert page.read_text() == before
    assert started == []
    danlu.resume(stopped.path, devices=2, ignore_changes=True, quiet=True)
    assert started == [2]


def test_a_changed_recipe_is_of_another_model(stopped):
    recipe = stopped.path / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("hidden: [16]", "hidden: [20]"))
    with pytest.raises(UsageError, match=r"settings.model.hidden: \[16\] before, \[20\] now"):
        danlu.resume(stopped.path, quiet=True)
    with pytest.raises(UsageError, match="of another model"):
        danlu.resume(stopped.path, ignore_changes=True, quiet=True)


@pytest.mark.parametrize("file", ["run.json", "recipe.yaml"])
def test_a_newer_format_is_refused(stopped, file):
    path = stopped.path / file
    path.write_text(path.read_text().replace('"format": 1', '"format": 2').replace("format: 1", "format: 2"))
    with pytest.raises(UsageError, match="newer"):
        danlu.resume(stopped.path, quiet=True)


def test_a_run_that_diverges_says_where_and_keeps_what_was_good(tmp_path):
    with pytest.raises(Diverged, match=r"player 'classifier' is not finite in round \d+"):
        danlu.train("mlp", out=tmp_path / "run", optimizer="sgd", lr=1e9, schedule="step", **SMALL)
    run = RunFolder.open(tmp_path / "run")
    assert run.page["status"] == "failed"
    assert "not finite" in run.page["error"]
    kept = checkpoint.newest(run.checkpoints)
    assert kept is None or all(t.isfinite().all() for t in kept.tensors.values())


@pytest.mark.parametrize("precision", ["bf16", "float64"])
def test_precisions_train_and_their_models_load(tmp_path, precision):
    run = danlu.train("mlp", out=tmp_path / "run", precision=precision, **{**SMALL, "epochs": 10})
    assert run.scores["test"]["accuracy"] > 0.5
    model = danlu.load(run.path)
    assert next(model.parameters()).dtype == (torch.float64 if precision == "float64" else torch.float32)


def test_the_command_says_what_was_changed(tmp_path):
    run = danlu.train("mlp", out=tmp_path / "run", lr=0.05, optimizer="momentum", weight_decay=0.0, **SMALL)
    assert run.page["command"] == (
        "danlu train mlp --epochs 3 --optimizer momentum --lr 0.05 --weight-decay 0 --model.hidden 16 --model.dropout 0"
    )


def test_torch_is_left_as_it_was(tmp_path):
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    threads = torch.get_num_threads()
    danlu.train("mlp", out=tmp_path / "run", threads=1, deterministic=True, **SMALL)
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()


def test_an_error_is_forgotten_when_the_run_goes_on(stopped):
    edit(stopped.path / "run.json", status="failed", error="the disk was full")
    assert "error" not in danlu.resume(stopped.path, quiet=True).page


def test_an_average_that_the_checkpoint_lacks_is_a_clear_line(stopped):
    recipe = stopped.path / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("ema: null", "ema: 0.9"))
    with pytest.raises(UsageError, match=r"settings.ema: None before, 0.9 now"):
        danlu.resume(stopped.path, quiet=True)
    with pytest.raises(UsageError, match="has no averaged weights of player 'classifier'"):
        danlu.resume(stopped.path, ignore_changes=True, quiet=True)


def test_runs_that_begin_together_get_folders_of_their_own(tmp_path):
    context = forkserver()
    ready, created = context.Barrier(2), context.SimpleQueue()
    processes = [context.Process(target=create_one, args=(str(tmp_path), ready, created)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    paths = {created.get(), created.get()}
    assert len(paths) == 2
    assert all((tmp_path / path / "run.json").is_file() for path in paths)


def test_a_second_training_in_one_process_is_refused(tmp_path):
    from danlu.app.runs.train import _training

    with _training, pytest.raises(UsageError, match="another training is running in this process"):
        danlu.train("mlp", out=tmp_path / "run", **SMALL)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"patience": 3}, "patience needs validation examples; digits has none with this split"),
        ({"monitor": "accuracy"}, "monitor needs validation examples; digits has none with this split"),
        ({"monitor": "acuracy"}, "did you mean 'accuracy'"),
        ({"patience": 3, "monitor": "acuracy"}, "did you mean 'accuracy'"),
    ],
)
def test_without_validation_examples_nothing_can_be_watched(tmp_path, changes, said):
    with pytest.raises(UsageError, match=said):
        danlu.train("mlp", out=tmp_path / "run", quiet=True, **{"split.validation": 0, **changes})
    assert not (tmp_path / "run").exists()


def test_patience_needs_a_score(tmp_path):
    with pytest.raises(UsageError, match="patience needs a score to monitor, and this task has none"):
        danlu.train("gan", data="moons", eval_samples=0, patience=3, out=tmp_path / "run", quiet=True)


def test_what_torchrun_has_started_is_no_single_process(tmp_path, monkeypatch):
    run = danlu.train("mlp", epochs=1, out=tmp_path / "run", quiet=True)
    for name, value in {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "2", "RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    for options in ({"devices": 2}, {"dry_run": True}):
        with pytest.raises(UsageError, match="torchrun has started the processes; use devices and dry_run without it"):
            danlu.train("mlp", out=tmp_path / "other", quiet=True, **options)
    with pytest.raises(UsageError, match="processes started by torchrun need a common run folder; give it"):
        danlu.train("mlp", quiet=True)
    with pytest.raises(UsageError, match="with torchrun, resume a run by the command that started it"):
        danlu.resume(run.path)


def test_what_cannot_be_evaluated(tmp_path):
    (tmp_path / "t.csv").write_text("x,y,class\n" + "1,2,a\n3,5,b\n" * 20)
    settings = {"data": f"table:{tmp_path / 't.csv'}", "table.target": "class", "batch_size": "full", "rounds": 2}
    run = danlu.train("mlp", out=tmp_path / "run", quiet=True, **settings).path
    with pytest.raises(UsageError, match="part must be one of train, validation, test, got 'tests'"):
        danlu.evaluate(run, "tests")  # type: ignore[arg-type]
    (tmp_path / "t.csv").write_text("x,y,class\n" + "1,2,a\n3,5,b\n" * 19 + "1,2,a\n7,5,b\n")
    with pytest.raises(UsageError, match=r"the data set table:t\.csv has changed since .*run was trained"):
        danlu.evaluate(run)


def test_what_cannot_be_done_again_is_not_recommended(tmp_path, capsys):
    danlu.train("mlp", epochs=1, out=tmp_path / "run", **{"split.validation": 0, "split.test": 0})
    told = capsys.readouterr()
    assert "no validation examples" in told.out + told.err
    assert "danlu evaluate" not in told.out + told.err


def test_a_command_with_bytes_that_are_no_text_is_written_with_escapes(tmp_path):
    """Paths on Linux can have any bytes; run.json and the report are UTF-8."""
    run = danlu.train("mlp", out=tmp_path / "run", command="danlu train mlp --data folder:\udcff", **SMALL)
    assert run.page["command"] == r"danlu train mlp --data folder:\udcff"
    assert r"folder:\udcff" in (run.path / "report.html").read_text(encoding="utf-8")
