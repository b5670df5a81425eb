"""``danlu data``: what is said, drawn and refused."""

import json

import numpy as np
import pytest
from PIL import Image

import danlu
from danlu.app import cli
from danlu.app.run_folder import RunFolder
from danlu.errors import UsageError


def said(capsys, *words: str, code: int = 0) -> str:
    with pytest.raises(SystemExit) as ended:
        cli.main(["data", *words])
    out, err = capsys.readouterr()
    assert ended.value.code == code, err
    return out if code == 0 else err


def test_a_set_is_described(capsys):
    out = said(capsys, "digits")
    assert "digits: 1,797 images of 1×8×8; 1,258 train, 180 validation, 359 test" in out
    assert "No problems found." in out
    assert f"fingerprint {danlu.survey('digits')[0].fingerprint()}" in out


def test_settings_change_what_is_read(capsys):
    assert "180 validation, 0 test" in said(capsys, "digits", "--split.test", "0")
    assert "the test part is empty" in said(capsys, "digits", "--split.test", "0")


def test_json_is_one_object(capsys):
    facts = json.loads(said(capsys, "digits", "--json"))
    assert facts["examples"] == {"train": 1258, "validation": 180, "test": 359}
    assert facts["info"]["shape"] == [1, 8, 8]


def test_a_picture_is_drawn(capsys, tmp_path):
    said(capsys, "digits", "--picture", str(tmp_path / "digits.png"))
    with Image.open(tmp_path / "digits.png") as picture:
        pixels = np.asarray(picture.convert("L"))
    assert len(np.unique(pixels)) > 10


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ((), "name a data set, a folder of images or a table first"),
        (("digit",), "there is no data set named 'digit'; did you mean 'digits'?"),
        (("digits:3",), "digits takes nothing after its name"),
        (("digits", "--split.test", "0.95"), "validation and test together must leave something to train on"),
        (("digits", "--picture", "a.xyz"), "a.xyz cannot be drawn"),
        (("mnist", "--data-dir", "/nowhere"), "--data-dir /nowhere: there is no such folder"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(words, line, capsys):
    assert line in said(capsys, *words, code=2)


def test_a_run_finds_its_data_again_from_elsewhere(tmp_path, monkeypatch):
    """The folder that was named is kept with the run."""
    from danlu.data import official
    from data.test_official import toy

    made = toy(tmp_path / "given" / "toy")
    monkeypatch.setattr(official, "MNIST", made)
    monkeypatch.delenv("DANLU_DATA", raising=False)
    whole = {"split.validation": 0.0, "data_dir": tmp_path / "given"}
    run = danlu.train("mlp", data="mnist", out=tmp_path / "run", epochs=1, batch_size=8, quiet=True, **whole)
    monkeypatch.chdir(tmp_path)
    assert danlu.evaluate(run.path)["examples"] == 10
    assert run.scores.keys() == {"test"}
    with pytest.raises(UsageError, match="toy has no validation part"):
        danlu.evaluate(run.path, "validation")
    with pytest.raises(UsageError, match="no such folder"):
        danlu.train("mlp", data="mnist", data_dir=tmp_path / "nowhere", out=tmp_path / "other")


def test_without_a_validation_part_nothing_is_watched_and_the_last_weights_are_kept(tmp_path, capsys):
    """The command from its beginning to its end, with a part for the test or without."""
    words = ["train", "mlp", "--split.validation", "0", "--epochs", "2", "--model.hidden", "4"]
    for out, more in (("with", []), ("without", ["--split.test", "0"])):
        with pytest.raises(SystemExit) as ended:
            cli.main([*words, *more, "--out", str(tmp_path / out)])
        assert ended.value.code == 0, capsys.readouterr().err
        said = capsys.readouterr().out
        assert "note: the validation part is empty" in said
        assert "Weights: last." in said
    run = RunFolder.open(tmp_path / "with")
    assert (run.page["weights"], run.page["best"], run.scores.keys()) == ("last", None, {"test"})
    assert not any(name.startswith("validation/") for entry in run.metrics() for name in entry)
    assert RunFolder.open(tmp_path / "without").scores == {}
    assert danlu.evaluate(run.path)["scores"] == pytest.approx(run.scores["test"])
    with pytest.raises(UsageError, match="digits has no validation part, as it was split"):
        danlu.evaluate(run.path, "validation")
