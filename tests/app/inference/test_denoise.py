"""Denoising from the command line: images, rows, options that are not for the model, and repeatability."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

import danlu
from commands import call_checked
from danlu.data import digits
from danlu.rng.keys import seeded


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("denoise")


@pytest.fixture(scope="module")
def rbm(folder):
    return danlu.train("rbm", rounds=40, model={"hidden": 8}, out=folder / "rbm", quiet=True).path


@pytest.fixture(scope="module")
def gaussian(folder):
    return danlu.train("gaussian-rbm", rounds=40, model={"hidden": 8}, out=folder / "gaussian", quiet=True).path


@pytest.fixture(scope="module")
def pictures(folder):
    """Three digits with gray values."""
    paths = [folder / f"{number}.png" for number in range(3)]
    for number, path in enumerate(paths):
        Image.fromarray((digits().test["image"][number, 0] * 255).round().byte().numpy()).save(path)
    return paths


def pixels(paths):
    return torch.stack([torch.from_numpy(np.array(Image.open(path))) for path in paths])[:, None].float() / 255


@pytest.fixture(scope="module")
def votes(folder):
    """A run on a table of zeros and ones."""
    rows = torch.randint(0, 2, (60, 4), generator=torch.Generator().manual_seed(0)).tolist()
    lines = ["a,b,c,d", *(",".join(map(str, row)) for row in rows)]
    (folder / "votes.csv").write_text("\n".join(lines) + "\n")
    settings = {"data": f"table:{folder}/votes.csv", "rounds": 30, "batch_size": 10}
    return danlu.train("rbm", **settings, out=folder / "votes", quiet=True).path


@pytest.mark.parametrize("verb", [["denoise"], ["inpaint", "--mask", "half"], ["reconstruct"]])
def test_a_line_says_that_an_image_is_resized(rbm, pictures, tmp_path, verb):
    path = tmp_path / "big.png"
    Image.open(pictures[0]).resize((20, 12)).save(path)
    _, err = call_checked(verb[0], rbm, path, pictures[1], *verb[1:], "-o", tmp_path / "y.npy")
    assert err == f"{path}: 20×12 pixels; resized to 8×8, the size of the model's images\n"


def test_images_become_black_and_white_and_are_denoised(rbm, pictures, tmp_path):
    out, _ = call_checked("denoise", rbm, *pictures, "--noise", 0.2, "--sweeps", 30, "--seed", 4,
                          "-o", tmp_path / "x.npy")  # fmt: skip
    x, model = (pixels(pictures) >= 0.5).float(), danlu.load(rbm)
    with seeded("denoise", 4):
        expected = torch.cat([model.denoise(one[None], noise=0.2, sweeps=30) for one in x])
    assert torch.equal(torch.from_numpy(np.load(tmp_path / "x.npy")), expected)
    changed = [f"{100 * float((a != b).double().mean()):.3g} % changed" for a, b in zip(x, expected, strict=True)]
    lines = [f"{path}  {change}" for path, change in zip(pictures, changed, strict=True)]
    assert out.splitlines() == [*lines, f"{tmp_path / 'x.npy'}: 3 denoised"]
    assert set(expected.unique().tolist()) == {0.0, 1.0}


def test_the_same_seed_gives_the_same_bytes_and_the_grid_has_pairs(rbm, pictures, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        call_checked(
            "denoise", rbm, *pictures, "--sweeps", 3, "--noise", 0.49, "--seed", seed, "-o", tmp_path / f"{name}.png"
        )
    first, again, other = ((tmp_path / f"{name}.png").read_bytes() for name in "abc")
    assert first == again != other
    assert Image.open(tmp_path / "a.png").size == (2 + 4 * 34, 2 + 2 * 34)
    call_checked("denoise", rbm, pictures[0])
    assert (rbm / "denoised.png").exists()
    call_checked("denoise", rbm, *pictures, "-o", f"{tmp_path}/files/")
    assert len(list((tmp_path / "files").iterdir())) == 3


def test_real_values_are_denoised_with_a_standard_deviation(gaussian, pictures, tmp_path):
    page = json.loads(call_checked("denoise", gaussian, pictures[0], "--noise", 0.7, "-o", tmp_path / "x.npy",
                                   "--json")[0])  # fmt: skip
    x, model = pixels(pictures[:1]), danlu.load(gaussian)
    with seeded("denoise", 0):
        expected = model.denoise(x, noise=0.7)
    assert torch.equal(torch.from_numpy(np.load(tmp_path / "x.npy")), expected)
    change = float((expected.double() - x.double()).abs().mean())
    assert page["files"] == [{"file": str(pictures[0]), "mean_change": pytest.approx(change, rel=1e-12)}]


def test_rows_are_denoised_and_other_values_are_refused(votes, tmp_path):
    (tmp_path / "x.csv").write_text("d,c,b,a\n1,0,1,0\n0,0,1,1\n")
    call_checked("denoise", votes, tmp_path / "x.csv", "--noise", 0.001, "-o", tmp_path / "y.csv")
    assert (tmp_path / "y.csv").read_text() == "a,b,c,d\n0,1,0,1\n1,1,0,0\n"
    (tmp_path / "bad.csv").write_text("a,b,c,d\n1,0,1,0\n0,0,2,1\n")
    for command in ("denoise", "reconstruct", "score"):
        words = () if command == "score" else ("-o", tmp_path / "z.csv")
        _, err = call_checked(command, votes, tmp_path / "bad.csv", *words, code=2)
        assert "bad.csv" in err
        assert "column 'c' has the value 2; this model takes rows of 0 and 1" in err
        assert err.count("\n") == 1
    assert not (tmp_path / "z.csv").exists()


def test_a_hopfield_network_denoises_by_recall(tmp_path):
    run = danlu.train("hopfield", out=tmp_path / "run", quiet=True).path
    model = danlu.load(run)
    Image.fromarray(((model.patterns[1, 0] + 1) * 127.5).byte().numpy()).resize((28, 28)).save(tmp_path / "x.png")
    found = danlu.denoise(run, tmp_path / "x.png", out=tmp_path / "y.npy")
    assert torch.equal(found.x, model.patterns[1:2].float())
    assert found.files[0].changed == 0.0
    _, err = call_checked("denoise", run, tmp_path / "x.png", "--noise", 0.1, code=2)
    assert "Hopfield does not use an amount of noise; remove noise (--noise)" in err
    _, err = call_checked("denoise", run, tmp_path / "x.png", "--sweeps", 5, code=2)
    assert "Hopfield has no Markov chains; remove sweeps (--sweeps)" in err
    assert "danlu denoise" in (run / "card.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("model", "words", "hint"),
    [
        ("rbm", ("--noise", 0.5), "noise is the probability of a wrong value and must be between 0 and 0.5, got 0.5"),
        ("gaussian", ("--noise", 0), "noise is a standard deviation and must be a finite number greater than 0, got 0"),
        ("rbm", ("--noise", "nan"), "must be between 0 and 0.5, got nan"),
        ("gaussian", ("--sweeps", 0), "sweeps must be at least 1, got 0 (--sweeps)"),
        ("rbm", ("-o", "-", "--json"), "--json and -o - both write to standard output"),
        ("rbm", ("-o", "x.csv"), "this model generates images"),
    ],
)
def test_wrong_options_are_one_line(request, pictures, tmp_path, monkeypatch, model, words, hint):
    monkeypatch.chdir(tmp_path)
    _, err = call_checked("denoise", request.getfixturevalue(model), pictures[0], *words, code=2)
    assert hint in err
    assert err.count("\n") == 1


def test_a_bad_file_does_not_stop_the_others(rbm, pictures, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no image")
    out, err = call_checked("denoise", rbm, tmp_path / "bad.png", pictures[1], "-o", tmp_path / "x.npy", code=1)
    assert "bad.png: not a readable image" in err
    assert out.startswith(f"{pictures[1]}  ")
    found = danlu.denoise(rbm, tmp_path / "bad.png", pictures[1], out=tmp_path / "y.npy")
    assert (found.files[0].changed, found.files[1].error) == (None, None)


def test_inpainting_has_sweeps_and_keeps_black_and_white_pixels(rbm, pictures, tmp_path):
    call_checked("inpaint", rbm, *pictures, "--mask", "half", "--sweeps", 7, "-o", tmp_path / "x.npy")
    y, x = torch.from_numpy(np.load(tmp_path / "x.npy")), (pixels(pictures) >= 0.5).float()
    mask = torch.ones_like(x[:1])
    mask[:, :, 4:] = 0
    model = danlu.load(rbm)
    with seeded("inpaint", 0):
        expected = torch.cat([model.inpaint(one[None] * mask, mask, sweeps=7) for one in x])
    assert torch.equal(y, expected)
    assert torch.equal(y[:, :, :4], x[:, :, :4])


def test_empty_fields_are_filled_in_and_given_ones_are_checked(votes, tmp_path):
    (tmp_path / "x.csv").write_text("a,b,c,d\n1,,1,0\n0,0,,\n")
    call_checked("inpaint", votes, tmp_path / "x.csv", "-o", tmp_path / "y.csv")
    rows = [line.split(",") for line in (tmp_path / "y.csv").read_text().splitlines()[1:]]
    assert (rows[0][0], rows[0][2:], rows[1][:2]) == ("1", ["1", "0"], ["0", "0"])
    assert {*rows[0], *rows[1]} <= {"0", "1"}
    (tmp_path / "bad.csv").write_text("a,b,c,d\n1,,1,0\n0,3,,\n")
    _, err = call_checked("inpaint", votes, tmp_path / "bad.csv", "-o", tmp_path / "z.csv", code=2)
    assert "column 'b' has the value 3; this model takes rows of 0 and 1" in err


def test_reconstructions_of_gray_images_and_steps_of_samples(rbm, pictures, tmp_path):
    found = danlu.reconstruct(rbm, *pictures, out=tmp_path / "x.npy")
    x, model = (pixels(pictures) >= 0.5).float(), danlu.load(rbm)
    torch.testing.assert_close(found.x, model.reconstruct(x).detach())
    one, other = (danlu.sample(rbm, 4, sweeps=sweeps, out=tmp_path / f"{sweeps}.npy").x for sweeps in (1, 40))
    assert not torch.equal(one, other)
    plain = danlu.train("mlp", rounds=2, out=tmp_path / "mlp", quiet=True).path
    _, err = call_checked("denoise", plain, pictures[0], code=2)
    assert "MLP has no verb 'denoise'; its verbs: classify" in err
