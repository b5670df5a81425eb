"""Feature extractors and scores of generated examples, also after a run was interrupted."""

import json
import math
import shutil
import signal
from dataclasses import replace

import pytest
import torch

import danlu
from commands import call, start, trained_by_ranks, wait_for_lines
from danlu.app.console.signals import Interrupt
from danlu.app.runs import session as session_module
from danlu.data import DataSettings, Part, digits
from danlu.data.datasets.toy_2d import RING_DEVIATION, ring_centers
from danlu.errors import UsageError
from danlu.evaluation import GenerativeScorer, Subject, evaluate_subject, extract, feature_extractors
from danlu.evaluation.generative_scores import random_subset
from danlu.metrics import fid_from_features
from danlu.models import load_model
from danlu.storage import Access
from danlu.training import Runtime
from outcomes import run_page, same_tensors, weights

TINY = {"generator": {"hidden": (16,), "latent": 4}, "critic": {"hidden": (16,)}, "batch_size": 16, "quiet": True}
SHORT = {**TINY, "rounds": 40, "evaluate_every": 10, "eval_samples": 100, "sample_grids": 1}


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path):
    """Feature extractors are trained briefly, and each test has its own cache."""
    monkeypatch.setattr(feature_extractors, "ROUNDS", 20)
    monkeypatch.setattr("danlu.app.runs.finish.GENERATED", 200)
    monkeypatch.setenv("DANLU_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def trainings(monkeypatch):
    """One entry for each time that a feature extractor is trained."""
    real, given = feature_extractors._train, []

    def taught(*words):
        given.append(1)
        return real(*words)

    monkeypatch.setattr(feature_extractors, "_train", taught)
    return given


def test_a_feature_extractor_is_trained_once_and_kept_in_cache_and_run(tmp_path, trainings):
    first = danlu.train("gan", out=tmp_path / "a", **SHORT)
    second = danlu.train("gan", out=tmp_path / "b", seed=1, **SHORT)
    assert len(trainings) == 1
    (cached,) = (tmp_path / "cache" / "feature-extractors").iterdir()
    assert same_tensors(weights(cached), weights(first.feature_extractor))
    assert same_tensors(weights(cached), weights(second.feature_extractor))


def test_a_damaged_or_missing_feature_extractor_is_trained_again_with_the_same_result(tmp_path, trainings):
    access, runtime = Access(), Runtime()
    first = feature_extractors.features_for(digits(), runtime, access, tmp_path / "feature-extractor")
    (cached,) = (tmp_path / "cache" / "feature-extractors").iterdir()
    for folder, taught in ((cached, 1), (tmp_path / "feature-extractor", 1), (None, 2)):
        damaged = [folder] if folder else [cached, tmp_path / "feature-extractor"]
        for place in damaged:  # one of the two is enough
            weights = place / "model.safetensors"
            content = bytearray(weights.read_bytes())
            content[-1] ^= 1
            weights.write_bytes(content)
        again = feature_extractors.features_for(digits(), runtime, access, tmp_path / "feature-extractor")
        assert again.origin == first.origin
        assert len(trainings) == taught
        if folder == cached:
            shutil.rmtree(cached)
            shutil.copytree(tmp_path / "feature-extractor", cached)
        else:
            load_model(tmp_path / "feature-extractor")


def test_scores_of_a_run_can_be_computed_without_its_feature_extractor(tmp_path, trainings, capsys):
    run = danlu.train("gan", out=tmp_path / "run", **SHORT)
    first = danlu.evaluate(run.path, generated=200)["generated"]
    assert first == run.scores["generated"]
    shutil.rmtree(run.feature_extractor)
    assert danlu.evaluate(run.path, generated=200)["generated"] == first  # of the cache
    shutil.rmtree(tmp_path / "cache")
    assert danlu.evaluate(run.path, generated=200)["generated"] == first  # learned again
    assert len(trainings) == 2
    out = call("evaluate", run.path, "--generated", "200").out
    assert "generated examples compared with the train part" in out
    assert "FID[digits-cnn, 200 vs train]" in out


def test_which_data_have_a_feature_extractor_and_its_name():
    data = digits()
    blank = {name: Part({"image": data.part(name).fields["image"]}) for name in ("train", "validation", "test")}
    without = replace(data, **blank, info=replace(data.info, classes=0, class_names=()))
    large = replace(without, info=replace(without.info, shape=(3, 40, 20)))
    names = [feature_extractors.feature_name(some) for some in (data, without, large, DataSettings(data="ring").load())]
    assert names == ["digits-cnn", "pixels", "pixels at 16×16", "columns"]
    for some in (data, without):
        scorer = GenerativeScorer(some, 100, Runtime())
        assert scorer.monitored == f"FID[{feature_extractors.feature_name(some)}, 100 vs train]"
        assert next(iter(scorer.quick_scores(some.train["image"][:100]))) == scorer.monitored


def test_the_distance_is_that_of_the_extracted_features(tmp_path):
    data = digits()
    scorer = GenerativeScorer(data, 150, Runtime(), folder=tmp_path / "feature-extractor")
    x = data.test["image"][:150]
    scores = scorer.all_scores(x)
    a, b = (extract(scorer.network, some).features for some in (data.train["image"], x))
    assert scores["FID[digits-cnn, 150 vs train]"] == pytest.approx(fid_from_features(a, b), rel=1e-3)
    assert scores["diversity"] == pytest.approx(1, abs=0.05)  # they are of the data
    assert scores["memorization"] == pytest.approx(1, abs=0.15)
    assert scorer.all_scores(data.train["image"][:150])["memorization"] == 0
    alike = scorer.all_scores(x[:1].expand(150, -1, -1, -1))
    assert (alike["diversity"], alike["classes_covered"], alike["recall[digits-cnn, 150 vs train]"]) == (0, 1, 0)


def test_copies_are_found_among_all_training_examples(monkeypatch):
    """Also where a few examples stand for the training part in other scores."""
    monkeypatch.setattr("danlu.evaluation.generative_scores.TRAINING_EXAMPLES", 100)
    monkeypatch.setattr("danlu.evaluation.generative_scores.NEIGHBOR_BATCH", 300)
    data = DataSettings(data="ring").load()
    copies = data.train["x"][-150:]
    assert GenerativeScorer(data, 150, Runtime()).quick_scores(copies)["memorization"] == 0


def test_coverage_is_the_fraction_of_modes_and_of_classes():
    assert GenerativeScorer(DataSettings(data="grid").load(), 100, Runtime()).coverage({"modes_covered": 20.0}) == {
        "coverage": 0.8
    }
    data = digits()
    few = data.train["label"] < 8
    rare = replace(data, train=data.train.take(few.nonzero()[:, 0]))  # a class that the data lack cannot be left out
    found = [GenerativeScorer(some, 100, Runtime()).coverage({"classes_covered": 4.0}) for some in (data, rare)]
    assert found == [{"coverage": 0.4}, {"coverage": 0.5}]
    assert GenerativeScorer(data, 100, Runtime()).coverage({"diversity": 0.1}) == {}


def test_a_single_example_is_refused_before_anything_is_learned(trainings):
    with pytest.raises(UsageError, match="eval_samples=1 must be 0"):
        danlu.train("gan", **{**SHORT, "eval_samples": 1})
    assert not trainings


def test_what_begins_to_go_wrong_is_said_while_training(tmp_path, monkeypatch, capsys):
    """Once, and not where it was so from the beginning."""
    monkeypatch.setattr(GenerativeScorer, "all_scores", lambda self, x: {})
    for values, rounds in (([0.9, 0.1, 0.1, 0.9], ["20"]), ([0.1, 0.1, 0.9, 0.9], [])):
        course = iter(values)
        monkeypatch.setattr(
            GenerativeScorer, "quick_scores", lambda self, x, c=course: {self.monitored: 1.0, "diversity": next(c)}
        )
        danlu.train("gan", data="ring", out=tmp_path / str(len(rounds)), **{**SHORT, "quiet": False})
        said = [line for line in capsys.readouterr().out.splitlines() if "Mode collapse" in line]
        assert [line.split()[1].rstrip(":") for line in said] == rounds


def test_the_order_of_examples_does_not_affect_their_scores():
    """A few are taken of many by chance, and not from the beginning or at even steps."""
    labels = torch.arange(10).repeat_interleave(1000)
    for rows in (labels, torch.arange(10_000) % 10):
        fraction = random_subset(rows, 2000).bincount(minlength=10) / 2000
        assert (fraction - 0.1).abs().max() < 5 * (0.1 * 0.9 / 2000) ** 0.5
    assert torch.equal(random_subset(labels, 2000), random_subset(labels, 2000))


def test_points_are_scored_by_their_distribution_and_known_modes():
    data = DataSettings(data="ring").load()
    scorer = GenerativeScorer(data, 1000, Runtime())
    three = ring_centers()[:3].repeat(400, 1)
    three = three + RING_DEVIATION * torch.randn(three.shape, generator=torch.Generator().manual_seed(0))
    scores, right = scorer.all_scores(three), scorer.all_scores(data.test["x"])
    assert (scores["modes_covered"], right["modes_covered"]) == (3, 8)
    assert min(scores["good_samples"], right["good_samples"]) > 0.95
    assert scores["SWD[columns, 1200 vs train]"] > 10 * right["SWD[columns, 2000 vs train]"]


def stop_after(monkeypatch, rounds: int) -> None:
    """As if somebody pressed Ctrl-C in that round."""
    real = session_module.Trainer.run_round

    def run_round(self):
        report = real(self)
        Interrupt.asked = Interrupt.asked or report.round == rounds
        return report

    monkeypatch.setattr(session_module.Trainer, "run_round", run_round)


def test_a_game_that_was_stopped_ends_as_if_it_had_not_been(tmp_path, monkeypatch):
    whole = danlu.train("gan", out=tmp_path / "whole", **SHORT)
    with monkeypatch.context() as patch:
        patch.setattr(Interrupt, "asked", False)
        stop_after(patch, 25)
        stopped = danlu.train("gan", out=tmp_path / "run", **SHORT)
    assert stopped.page["status"] == "stopped"
    resumed = danlu.resume(stopped.path, quiet=True)
    assert resumed.metrics() == whole.metrics()
    assert resumed.scores == whole.scores
    assert same_tensors(weights(resumed.model), weights(whole.model))
    logged = [entry for entry in whole.metrics() if "generated/FID[digits-cnn, 100 vs train]" in entry]
    assert [entry["round"] for entry in logged] == [10, 20, 30, 40]
    best = min(logged, key=lambda entry: entry["generated/FID[digits-cnn, 100 vs train]"])
    assert whole.page["best"]["round"] == best["round"]


def test_a_game_that_is_killed_ends_as_if_it_had_not_been(tmp_path):
    """A run on points, whose features need no training; it is killed at any time after its first logged line."""
    tiny = ["--generator.hidden", "16", "--critic.hidden", "16", "--rounds", "150", "--evaluate-every", "10"]
    words = ["train", "gan", "--data", "ring", *tiny, "--eval-samples", "100", "--out"]
    out, whole = tmp_path / "run", tmp_path / "whole"
    process = start(*words, out)
    wait_for_lines(out, 1, process)
    process.signal(signal.SIGKILL)
    process.ended(-signal.SIGKILL)
    assert run_page(out)["status"] == "training"
    for command in ([*words, whole], ["resume", out]):
        start(*command).ended()
    assert (out / "metrics.jsonl").read_text() == (whole / "metrics.jsonl").read_text()
    assert same_tensors(weights(out), weights(whole))


def test_two_processes_have_the_same_scores_and_keep_one_best(tmp_path):
    tiny = ["--generator.hidden", "16", "--critic.hidden", "16", "--rounds", "30", "--evaluate-every", "10"]
    trained_by_ranks("train", "gan", "--data", "ring", *tiny, "--eval-samples", "100", "--out", tmp_path / "run")
    page = run_page(tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    name = "SWD[columns, 100 vs train]"
    logged = {line["round"]: line[f"generated/{name}"] for line in lines if f"generated/{name}" in line}
    assert page["ranks"] == 2
    assert list(logged) == [10, 20, 30]
    assert (page["best"]["monitor"], page["best"]["score"]) == (name, min(logged.values()))


def test_without_held_out_parts_there_is_still_what_is_generated(tmp_path):
    """Nothing says then whether examples are copies: that takes new ones to compare with."""
    run = danlu.train("gan", out=tmp_path / "run", split={"validation": 0, "test": 0}, **SHORT)
    scores = danlu.evaluate(run.path, generated=200)
    assert (scores["examples"], scores["scores"]) == (0, {})
    assert scores["generated"] == run.scores["generated"]
    assert "memorization" not in scores["generated"]
    report = (run.path / "report.html").read_text()
    assert "Samples" in report
    assert "generated examples" in report


def test_who_does_not_sample_is_not_asked_for_samples(tmp_path, capsys):
    run = danlu.train("mlp", epochs=1, model={"hidden": (4,)}, out=tmp_path / "mlp", quiet=True)
    with pytest.raises(UsageError, match="MLP has no verb 'sample'; its verbs: classify"):
        danlu.evaluate(run.path, generated=500)
    with pytest.raises(UsageError, match="generated must be 0 or at least 100"):
        danlu.evaluate(danlu.train("vae", epochs=1, out=tmp_path / "vae", model={"hidden": (4,)}, quiet=True).path,
                       generated=50)  # fmt: skip
    both = danlu.evaluate(tmp_path / "vae", generated=100)
    assert "log_prob_bound_1" in both["scores"]
    assert "FID[digits-cnn, 100 vs train]" in both["generated"]
    assert "generated" not in danlu.evaluate(tmp_path / "vae")


class Overflows(torch.nn.Module):
    """Samples of which the seventh is not finite."""

    capabilities = frozenset()

    def __init__(self, value: float):
        super().__init__()
        self.value, self.weight = value, torch.nn.Parameter(torch.zeros(()))

    def sample(self, n):
        x = torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        x[6, 0, 3, 3] = self.value
        return x


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_samples_that_are_not_finite_are_counted_and_all_scores_are_nan(value):
    scorer = GenerativeScorer(digits(), 100, Runtime(), feature_extractor="pixels")
    finite = scorer.all_scores(scorer.draw(Overflows(0.5)))
    assert all(math.isfinite(score) for score in finite.values())
    for compute in (scorer.quick_scores, scorer.all_scores):
        scores = compute(scorer.draw(Overflows(value)))
        assert scores.pop("not_finite") == 1
        assert scores.keys() <= finite.keys()
        assert next(iter(scores)) == scorer.monitored
        assert all(math.isnan(score) for score in scores.values())
    evaluation = evaluate_subject(Subject(Overflows(value), digits(), "generated", scorer=scorer))
    assert evaluation.scores["not_finite"] == 1


def test_a_dry_run_trains_two_rounds_of_a_feature_extractor_and_caches_nothing(tmp_path, monkeypatch, capsys):
    lengths, real = [], feature_extractors._train
    monkeypatch.setattr(feature_extractors, "_train", lambda *given: lengths.append(given[-1]) or real(*given))
    danlu.train("gan", dry_run=True, **SHORT | {"quiet": False})
    assert lengths == [2]
    assert "training the feature extractor digits-cnn (two rounds in a dry run)" in capsys.readouterr().out
    assert not list((tmp_path / "cache").glob("feature-extractors/*")) + list((tmp_path / "cache").glob("moments/*"))


def test_the_time_of_the_feature_extractor_is_part_of_that_of_the_run(tmp_path, capsys):
    first, second = (danlu.train("gan", out=tmp_path / name, **SHORT | {"quiet": False}) for name in "ab")
    assert first.page["extractor_seconds"] > 0
    assert "extractor_seconds" not in second.page  # it was cached
    assert capsys.readouterr().out.count("of it for the feature extractor") == 1
