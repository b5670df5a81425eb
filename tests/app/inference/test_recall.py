"""Recall from the command line: images, rows, and what is refused."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

import danlu
from commands import call_checked
from danlu.app.runs import session
from danlu.data.base.sign_flips import flip_signs
from danlu.recipes import as_recipe
from danlu.tasks import PatternStorage


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return danlu.train("hopfield", out=tmp_path_factory.mktemp("runs") / "letters", quiet=True).path


def picture(x, path, side=None):
    """A pattern (1, h, w) as an image file."""
    image = Image.fromarray(((x[0] + 1) * 127.5).round().byte().numpy())
    (image if side is None else image.resize((side, side), Image.Resampling.NEAREST)).save(path)
    return path


@pytest.fixture
def damaged(run):
    return flip_signs(danlu.load(run).patterns.float(), 0.25, "example")


def test_images_are_recalled(run, damaged, tmp_path):
    model = danlu.load(run)
    files = [picture(x, tmp_path / f"{k}.png") for k, x in enumerate(damaged[:3])]
    out, _ = call_checked("recall", run, *files, "-o", tmp_path / "all.png")
    lines = out.splitlines()
    for k in range(3):
        changed = 100 * float((damaged[k] != model.patterns[k]).float().mean())
        before, after = (float(model.energy(x[k : k + 1])[0]) for x in (damaged, model.patterns))
        energy = f"energy {before:.5g} to {after:.5g}".replace("-", "\N{MINUS SIGN}")
        assert lines[k].startswith(f"{files[k]}  {changed:.3g} % changed  {energy}  fixed point")
        assert lines[k].endswith(f"nearest: pattern {k}, overlap 1.000")
    assert lines[3] == f"{tmp_path / 'all.png'}: 3 recalled"
    assert Image.open(tmp_path / "all.png").size == (2 + 4 * 58, 2 + 2 * 58)
    found = danlu.recall(run, *files, out=tmp_path / "x.npy").x
    assert torch.equal(torch.from_numpy(np.load(tmp_path / "x.npy")), found)
    assert torch.equal(found, model.patterns[:3].float())


def test_a_folder_has_images_of_the_size_of_the_model(run, damaged, tmp_path):
    picture(damaged[1], tmp_path / "x.png")
    call_checked("recall", run, tmp_path / "x.png", "--synchronous", "--steps", 20, "-o", f"{tmp_path}/out/")
    (written,) = sorted((tmp_path / "out").iterdir())
    image = torch.from_numpy(np.array(Image.open(written)))
    assert torch.equal(image == 255, danlu.load(run).patterns[1, 0] == 1)


def test_an_image_of_another_size_is_resized_and_a_line_says_so(run, damaged, tmp_path):
    path = picture(damaged[0], tmp_path / "big.png", side=56)
    out, err = call_checked("recall", run, path, "-o", tmp_path / "y.npy")
    assert err == f"{path}: 56×56 pixels; resized to 28×28, the size of the model's images\n"
    assert "overlap 1.000" in out
    _, err = call_checked("recall", run, path, "-o", tmp_path / "z.npy", "--json")
    assert err == ""


def test_gray_images_are_cut_at_the_middle_and_inverted_on_request(run, tmp_path):
    pattern = danlu.load(run).patterns[2, 0]
    gray = torch.where(pattern == 1, 128, 127).byte()
    Image.fromarray(gray.numpy()).save(tmp_path / "gray.png")
    Image.fromarray((255 - gray).numpy()).save(tmp_path / "inverse.png")
    first = danlu.recall(run, tmp_path / "gray.png", out=tmp_path / "a.npy")
    assert (first.files[0].changed, first.files[0].pattern, first.files[0].overlap) == (0.0, 2, 1.0)
    second = danlu.recall(run, tmp_path / "inverse.png", out=tmp_path / "b.npy", invert=True)
    assert second.files[0].changed == 0.0
    negative, _ = call_checked("recall", run, tmp_path / "inverse.png", "-o", tmp_path / "c.npy")
    assert "nearest: the negative of pattern 2, overlap 1.000" in negative


def test_steps_seed_and_what_the_last_state_is(run, damaged, tmp_path):
    path = picture(flip_signs(danlu.load(run).patterns[:1].float(), 0.45, "far")[0], tmp_path / "x.png")
    page = json.loads(
        call_checked("recall", run, path, "--synchronous", "--steps", 1, "-o", tmp_path / "a.npy", "--json")[0]
    )
    assert page["files"][0]["end"] == "still changes"
    model = danlu.load(run)
    x = torch.from_numpy(np.array(Image.open(path)) / 127.5 - 1).float()[None, None]
    for options in ({"seed": 3}, {"steps": 1}, {"synchronous": True}):
        found = danlu.recall(run, path, out=tmp_path / "b.npy", overwrite=True, **options)
        assert torch.equal(found.x, model.recall(x, **options))


def test_a_bad_file_does_not_stop_the_others(run, damaged, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no image")
    good = picture(damaged[0], tmp_path / "good.png")
    out, err = call_checked("recall", run, tmp_path / "bad.png", good, "-o", tmp_path / "x.npy", code=1)
    assert "bad.png: not a readable image" in err
    assert "good.png" in out
    _, err = call_checked("recall", run, tmp_path / "bad.png", "-o", tmp_path / "y.npy", code=1)
    assert err.count("\n") == 1
    assert not (tmp_path / "y.npy").exists()


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """A run on a table of signs."""
    folder = tmp_path_factory.mktemp("rows")
    table = [[1, -1, 1, 1, -1, -1, 1, -1], [-1, -1, 1, -1, 1, 1, 1, -1]] * 10
    lines = ["a,b,c,d,e,f,g,h", *(",".join(map(str, row)) for row in table)]
    (folder / "signs.csv").write_text("\n".join(lines) + "\n")
    return danlu.train("hopfield", data=f"table:{folder}/signs.csv", patterns=1, out=folder / "run", quiet=True).path


def test_rows_are_recalled_and_other_values_are_refused(rows, tmp_path):
    pattern = danlu.load(rows).patterns[0].int().tolist()
    row = [-pattern[0], *pattern[1:]]
    (tmp_path / "x.csv").write_text("a,b,c,d,e,f,g,h\n" + ",".join(map(str, row)) + "\n")
    call_checked("recall", rows, tmp_path / "x.csv", "-o", tmp_path / "y.csv")
    written = (tmp_path / "y.csv").read_text().splitlines()
    assert [float(value) for value in written[1].split(",")] == pattern
    (tmp_path / "bad.csv").write_text("a,b,c,d,e,f,g,h\n1,1,1,1,1,1,1,1\n1,1,0.5,1,1,1,1,1\n")
    _, err = call_checked("recall", rows, tmp_path / "bad.csv", "-o", tmp_path / "z.csv", code=2)
    assert "bad.csv" in err
    assert "column 'c' has the value 0.5; this model takes rows of -1 and 1" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("--steps", 0), "steps must be at least 1, got 0 (--steps)"),
        (("-o", "-", "--json"), "--json and -o - both write to standard output"),
        (("-o", "x.csv"), "this model generates images"),
    ],
)
def test_wrong_options_are_one_line(run, damaged, tmp_path, monkeypatch, words, hint):
    monkeypatch.chdir(tmp_path)
    picture(damaged[0], tmp_path / "x.png")
    _, err = call_checked("recall", run, "x.png", *words, code=2)
    assert hint in err
    assert err.count("\n") == 1


def test_a_model_without_the_verb_and_a_form_without_synchronous_updates(damaged, tmp_path):
    modern = danlu.train("hopfield", model={"form": "modern"}, out=tmp_path / "modern", quiet=True).path
    picture(damaged[0], tmp_path / "x.png")
    _, err = call_checked("recall", modern, tmp_path / "x.png", "--synchronous", "-o", tmp_path / "x.npy", code=2)
    assert "synchronous has no effect: the modern form always updates all values" in err
    plain = danlu.train("mlp", epochs=1, out=tmp_path / "mlp", quiet=True).path
    _, err = call_checked("recall", plain, tmp_path / "x.png", code=2)
    assert "MLP has no verb 'recall'; its verbs: classify" in err


def test_scores_report_and_card_of_a_run(run):
    page = json.loads((run / "run.json").read_text())
    assert page["scores"]["test"] == {"overlap": 1.0, "recalled": 1.0, "stable_patterns": 1.0}
    again = json.loads(call_checked("evaluate", run, "--json")[0])["scores"]
    assert again == page["scores"]["test"]
    report = (run / "report.html").read_text(encoding="utf-8")
    for title in ("Stored patterns", "Recall", "Rates of recall", "Energy"):
        assert f">{title}</h2>" in report
    assert "danlu recall" in (run / "card.md").read_text(encoding="utf-8")


def test_a_run_in_batches_that_was_stopped_is_resumed(tmp_path, monkeypatch):
    """Three rounds with two patterns each; the process ends before the second round."""
    recipe = as_recipe("hopfield", {"batch_size": 2})
    store, calls = PatternStorage.store, []

    def stop(task, batch):
        calls.append(batch)
        if len(calls) == 2:
            raise KeyboardInterrupt
        store(task, batch)

    monkeypatch.setattr(session, "SECONDS_BETWEEN_SAVES", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(PatternStorage, "store", stop)
        with pytest.raises(KeyboardInterrupt):
            danlu.train(recipe, out=tmp_path / "run", quiet=True)
    assert len(calls) == 2
    resumed = danlu.resume(tmp_path / "run", quiet=True)
    assert (resumed.page["round"], resumed.page["rounds"]) == (3, 3)
    whole = danlu.train("hopfield", out=tmp_path / "whole", quiet=True)
    assert (resumed.model / "model.safetensors").read_bytes() == (whole.model / "model.safetensors").read_bytes()
