"""A kind of data needs its own code and entries in tables: everything else asks the info or the table."""

import io

import numpy as np
import pytest
import torch

import danlu
from danlu.app.console.progress import Screen
from danlu.app.inspect.dataset_survey import show
from danlu.app.report.usage import after_training, commands
from danlu.data.kinds import KINDS
from danlu.data.settings import name_of
from danlu.errors import UsageError
from danlu.evaluation.generative_scores import GenerativeScorer
from danlu.training.runtime import Runtime
from signals_kind import SignalData, SignalInfo, register

LENGTH, CLASSES = 6, 3
SHORT = {"batch_size": 10, "epochs": 5, "quiet": True}


@pytest.fixture(scope="module")
def patch():
    with pytest.MonkeyPatch.context() as patch:
        register(patch)
        yield patch


@pytest.fixture(scope="module")
def file(tmp_path_factory, patch):
    """Signals with the value of their class at all positions, and a little noise."""
    noise = np.random.default_rng(0).normal(scale=0.01, size=(90, LENGTH))
    labels = np.arange(90) // 3 % CLASSES
    path = tmp_path_factory.mktemp("signals") / "a.npz"
    np.savez(path, signal=labels[:, None] + noise, label=labels)
    return path


@pytest.fixture(scope="module")
def classifier(file):
    return danlu.train("signal-mlp", data=name_of(file), out=file.parent / "mlp", **SHORT)


@pytest.fixture(scope="module")
def vae(file):
    changes = {"model": {"hidden": (8,), "latent": 2, "likelihood": "gaussian"}}
    return danlu.train("signal-vae", data=name_of(file), out=file.parent / "vae", **changes, **SHORT)


def test_a_path_names_its_data_set_by_its_ending(file):
    assert name_of(file) == f"signals:{file}"


def test_a_classifier_is_trained_evaluated_and_applied_to_files(classifier, file):
    assert classifier.scores["test"]["accuracy"] == danlu.evaluate(classifier.path)["scores"]["accuracy"] == 1
    guesses = danlu.classify(classifier.path, file)
    with np.load(file) as arrays:
        assert [guess.classes[0][0] for guess in guesses] == [str(label) for label in arrays["label"]]
    assert (classifier.path / "report.html").is_file()
    assert f"A tensor of shape (n, {LENGTH})" in (classifier.path / "card.md").read_text(encoding="utf-8")


def test_a_data_set_is_described_also_without_names_of_classes(file):
    data, statistics = danlu.survey(SignalData(data=f"signals:{file}"))
    printed = io.StringIO()
    show(data, statistics, Screen(False, printed))
    lines = printed.getvalue().splitlines()
    rows = [line.split()[:4] for line in lines[lines.index("classes:  train  validation  test") + 1 :]][:CLASSES]
    assert rows == [[str(label), "10", "10", "10"] for label in range(CLASSES)]


def test_a_latent_model_has_a_report_and_scores_of_files(vae, file):
    report = (vae.path / "report.html").read_text(encoding="utf-8")
    assert "Latent map" in report
    assert "Traversals" not in report
    assert not (vae.path / "samples").exists()
    scores = danlu.score(vae.path, file, samples=1)
    assert len(scores.files) == 90
    assert scores.notes[-1].startswith("densities of signals")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda runs, file: danlu.classify(runs["mlp"], file, invert=True), "invert applies to images only"),
        (lambda runs, file: danlu.classify(runs["mlp"], file, flip=True), "flip applies to images only"),
        (lambda runs, file: danlu.evaluate(runs["mlp"], flip=True), "flip applies to images only"),
        (lambda runs, file: danlu.score(runs["vae"], file, binarize="static"), "binarize applies to images only"),
        (lambda runs, file: danlu.sample(runs["vae"]), "signals of shape 6, which cannot be written to files"),
        (lambda runs, file: danlu.inpaint(runs["vae"], file), "signals of shape 6, which cannot be written to files"),
    ],
)
def test_what_does_not_apply_is_an_error(call, message, classifier, vae, file):
    with pytest.raises(UsageError, match=message):
        call({"mlp": classifier.path, "vae": vae.path}, file)


@pytest.mark.parametrize(
    ("mask", "message"), [(None, "cannot have missing values"), ("half", "mask applies to images")]
)
def test_values_of_files_are_filled_in_only_if_they_can_be_missing(mask, message, vae, file, monkeypatch):
    writable = KINDS["signals"]._replace(write_files="danlu.app.files.table_files:WRITER")
    monkeypatch.setitem(KINDS, "signals", writable)
    with pytest.raises(UsageError, match=message):
        danlu.inpaint(vae.path, file, mask=mask)


def test_a_likelihood_of_bounded_values_is_refused(file):
    with pytest.raises(UsageError, match=r"use model.likelihood=gaussian"):
        danlu.train("signal-vae", data=f"signals:{file}", out=file.parent / "no", **SHORT)


def test_generated_examples_without_a_distance_are_refused(file):
    data = SignalData(data=f"signals:{file}").load()
    with pytest.raises(UsageError, match="generated signals cannot be scored; use eval_samples=0") as caught:
        GenerativeScorer(data, 100, Runtime(device=torch.device("cpu")))
    assert caught.value.settings == ("eval_samples=0",)


def test_only_commands_that_work_are_suggested(patch, vae):
    info = SignalInfo((LENGTH,))
    assert commands(["sample", "reconstruct", "classify"], info) == ["danlu classify RUN FILES…"]
    assert after_training(danlu.load(vae.path), info) == []
