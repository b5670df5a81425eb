"""Codes that are picked by number, walks and sums of them, classes on demand, and scores of images made by anything."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

import danlu
from danlu.app.cli import main
from danlu.app.files.image_grid import BACKGROUND, GAP, HEAD
from danlu.app.inference.latent_arithmetic import terms_of
from danlu.app.report.sections import model_views
from danlu.data import digits
from danlu.data.images.info import ImageInfo
from danlu.data.tables.info import TableInfo
from danlu.errors import UsageError
from danlu.evaluation import feature_extractors
from danlu.metrics import fid_from_features
from danlu.metrics.frechet import Origin
from danlu.models import MLP, VAE, MLPGenerator, save_model
from danlu.sampling import slerp

NAMES = ("ant", "bee", "cat")
PICTURES = ImageInfo((1, 8, 8), 3, NAMES)
SIDE = 32  # of a picture on a sheet, four times as large as it is


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """The classifier of the scores is trained briefly."""
    monkeypatch.setattr(feature_extractors, "ROUNDS", 20)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Folders of models that have not learned anything."""
    folder = tmp_path_factory.mktemp("models")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = {
            "PLAIN": (MLPGenerator((1, 8, 8), 0, (0.0, 1.0), latent=3, hidden=(16,)), PICTURES),
            "LABELED": (MLPGenerator((1, 8, 8), 3, (0.0, 1.0), latent=3, hidden=(16,)), PICTURES),
            "POINTS": (MLPGenerator((2,), 0, None, latent=3, hidden=(16,)), TableInfo((2,))),
            "LINEAR": (MLPGenerator((2,), 0, None, latent=3, hidden=()), TableInfo((2,))),
            "VAE": (VAE((1, 8, 8), 3, (16,)), PICTURES),
            "MLP": (MLP((1, 8, 8), 3, hidden=(4,)), PICTURES),
        }
    for name, (model, info) in made.items():
        with torch.no_grad():
            for weight in model.parameters():
                weight.mul_(4)  # so that codes can be told from each other
        save_model(model, folder / name, info)
    return {name: folder / name for name in made}


def said(capsys, *words: object, code: int = 0) -> tuple[str, str]:
    with pytest.raises(SystemExit) as ended:
        main.main([str(word) for word in words])
    out, err = capsys.readouterr()
    assert ended.value.code == code, err
    assert "Traceback" not in err
    return out, err


def cell(path, row: int, column: int) -> torch.Tensor:
    """A picture of a sheet with a line of letters above each, at its own size."""
    page = torch.from_numpy(np.array(Image.open(path)))
    top, left = GAP + HEAD + row * (SIDE + GAP + HEAD), GAP + column * (SIDE + GAP)
    return page[top : top + SIDE : 4, left : left + SIDE : 4]


def gray(x: torch.Tensor) -> torch.Tensor:
    return (x * 255).round().byte()


def test_the_sum_is_that_of_the_codes(models, tmp_path):
    """A map without hidden layers keeps sums whose signs add up to one, so what is drawn tells the answer."""
    rows = danlu.sample(models["LINEAR"], 20, seed=5, out=tmp_path / "s.npy").x
    made = danlu.arithmetic(models["LINEAR"], "3,7 - 11 + 19", n=20, seed=5, out=tmp_path / "a.npy")
    torch.testing.assert_close(made.x[0], (rows[3] + rows[7]) / 2 - rows[11] + rows[19])
    assert np.array_equal(np.load(tmp_path / "a.npy"), made.x.numpy())
    other = danlu.arithmetic(models["LINEAR"], "3,7 - 11 + 19", n=20, seed=6, out=tmp_path / "b.npy")
    assert not torch.allclose(other.x, made.x)


@pytest.mark.parametrize("name", ["PLAIN", "VAE"])
def test_a_sum_of_one_is_the_picture_of_that_number(models, tmp_path, name):
    """Also in the second batch of what is drawn."""
    sheet = danlu.sample(models[name], 720, out=tmp_path / "s.npy").x
    for number in (0, 499, 500, 719):
        made = danlu.arithmetic(models[name], str(number), n=720, out=tmp_path / f"{number}.npy")
        torch.testing.assert_close(made.x[0], sheet[number], rtol=0, atol=1e-6)


def test_a_class_is_decoded_with_its_own_codes(models, tmp_path, capsys):
    sheet = danlu.sample(models["LABELED"], label="cat", out=tmp_path / "s.npy").x
    words = ("arithmetic", models["LABELED"], "5", "--label", "cat", "-o", tmp_path / "a.npy", "--json")
    assert json.loads(said(capsys, *words)[0])["label"] == "cat"
    np.testing.assert_allclose(np.load(tmp_path / "a.npy")[0], sheet[5], rtol=0, atol=1e-6)
    walk = danlu.interpolate(models["LABELED"], 5, 9, label=2, out=tmp_path / "w.npy").x
    torch.testing.assert_close(walk[[0, -1]], sheet[[5, 9]], rtol=0, atol=1e-5)


def test_the_sheet_has_samples_averages_result_and_neighbors(models, tmp_path, capsys):
    path = tmp_path / "a.png"
    words = ("3,5,8", "-", "1,4,9", "+", "2", "--around", "0.25", "-o", path)
    assert said(capsys, "arithmetic", models["PLAIN"], *words)[0] == f"{path}: 3,5,8 - 1,4,9 + 2\n"
    sheet = danlu.sample(models["PLAIN"], out=tmp_path / "s.npy").x
    for column, numbers in enumerate(((3, 5, 8), (1, 4, 9))):
        for row, number in enumerate(numbers):
            assert (cell(path, row, column).int() - gray(sheet[number, 0]).int()).abs().max() <= 1
    assert (cell(path, 3, 2).int() - gray(sheet[2, 0]).int()).abs().max() <= 1
    assert (cell(path, 0, 2) == BACKGROUND).all()
    made = danlu.arithmetic(models["PLAIN"], "3,5,8 - 1,4,9 + 2", around=0.25, out=tmp_path / "a.npy")
    assert len(made.x) == 9
    assert all((cell(path, row, 3) == BACKGROUND).all() for row in range(5)), "the terms stand by themselves"
    assert torch.equal(cell(path, 3, 5), gray(made.x[0, 0]))  # in the middle of its neighbors
    shown = [cell(path, row, column) for row in (2, 3, 4) for column in (4, 5, 6) if (row, column) != (3, 5)]
    assert all(torch.equal(one, gray(x[0])) for one, x in zip(shown, made.x[1:], strict=True))
    far = danlu.arithmetic(models["PLAIN"], "3,5,8 - 1,4,9 + 2", around=0.5, out=tmp_path / "b.npy").x
    assert torch.equal(far[0], made.x[0])
    assert (far[1:] - far[0]).abs().mean() > (made.x[1:] - made.x[0]).abs().mean() > 0


def test_signs_may_stand_at_their_numbers_or_in_one_word(models, tmp_path, capsys):
    for place, words in enumerate((["3", "-", "1"], ["3 - 1"], ["3-1"], ["3", "-1"], ["3", "\N{MINUS SIGN}", "1"])):
        said(capsys, "arithmetic", models["POINTS"], *words, "-o", tmp_path / f"{place}.csv")
    contents = {path.read_text() for path in tmp_path.iterdir()}
    assert len(contents) == 1
    rows = danlu.sample(models["POINTS"], out=tmp_path / "s.npy").x
    one = danlu.arithmetic(models["POINTS"], "+ 4", out=tmp_path / "x.npy").x
    torch.testing.assert_close(one[0], rows[4])
    assert terms_of(" - 1 + 2 , 3") == [(-1, (1,)), (1, (2, 3))]


def test_numbers_stand_above_the_pictures(models, tmp_path):
    with_numbers, without = tmp_path / "a.png", tmp_path / "b.png"
    danlu.sample(models["PLAIN"], 12, columns=4, numbers=True, out=with_numbers)
    danlu.sample(models["PLAIN"], 12, columns=4, out=without)
    plain = torch.from_numpy(np.array(Image.open(without)))
    page = torch.from_numpy(np.array(Image.open(with_numbers)))
    strips = set()
    for number in range(12):
        row, column = divmod(number, 4)
        top, left = GAP + row * (SIDE + GAP), GAP + column * (SIDE + GAP)
        assert torch.equal(cell(with_numbers, row, column), plain[top : top + SIDE : 4, left : left + SIDE : 4])
        strip = page[top + row * HEAD : top + row * HEAD + HEAD, left : left + SIDE]
        assert (strip < 128).any()
        strips.add(strip.numpy().tobytes())
    assert len(strips) == 12


def test_a_walk_between_samples_keeps_to_the_arc(models, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sheet = danlu.sample(models["PLAIN"], out="s.npy").x
    said(capsys, "interpolate", models["PLAIN"], 3, 17, "--steps", 5, "-o", "w.npy")
    walk = torch.from_numpy(np.load("w.npy"))
    torch.testing.assert_close(walk[[0, -1]], sheet[[3, 17]], rtol=0, atol=1e-5)
    # of two codes of one length every point of the arc has that length, and the steps are equal angles
    a, b = torch.nn.functional.normalize(torch.randn(2, 3, 6, dtype=torch.float64), dim=2)
    arc = slerp(a, b, 7)
    torch.testing.assert_close(arc.norm(dim=2), torch.ones(3, 7, dtype=torch.float64))
    angles = torch.linalg.vecdot(arc[:, 1:], arc[:, :-1]).arccos()
    torch.testing.assert_close(angles, angles[:, :1].expand(-1, 6))


def test_a_number_is_a_sample_unless_there_is_such_a_file(models, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sheet = danlu.sample(models["VAE"], out="s.npy").x
    walk = danlu.interpolate(models["VAE"], "3", "4", steps=2, out="w.npy").x
    torch.testing.assert_close(walk, sheet[3:5], rtol=0, atol=1e-5)
    for name in ("3", "4"):
        Image.fromarray(np.full((8, 8), 50 * int(name), np.uint8)).save(name, format="PNG")
    of_files = danlu.interpolate(models["VAE"], "3", "4", steps=2, out="f.npy").x
    assert not torch.allclose(of_files, walk, atol=1e-3)
    assert torch.equal(danlu.interpolate(models["VAE"], 3, 4, steps=2, out="i.npy").x, walk)  # a number is no name


WRONG = [
    (["arithmetic", "MLP", "1"], "MLP does not generate samples from latents; its verbs: classify"),
    (["arithmetic", "PLAIN", "1,,2"], "'1,,2' is not a sum of samples"),
    (["arithmetic", "PLAIN", "a", "-", "b"], "'a - b' is not a sum of samples"),
    (["arithmetic", "PLAIN", "64"], "there is no sample 64: samples are numbered from 0 to 63"),
    (["arithmetic", "PLAIN", "1", "--around", "-1"], "around must be a finite number of at least 0, got -1.0"),
    (["arithmetic", "PLAIN", "1", "--label", "ant"], "MLPGenerator is not class-conditional"),
    (["arithmetic", "LABELED", "1"], "MLPGenerator is class-conditional"),
    (["arithmetic", "LABELED", "1", "--label", "all"], "MLPGenerator is class-conditional"),
    (["arithmetic", "LABELED", "1", "--label", "bea"], "did you mean 'bee'"),
    (["arithmetic", "POINTS", "1", "-n", "501", "-o", "x.csv"], "n must be at most 500"),
    (["interpolate", "PLAIN", "0.png", "0.png"], "cannot encode files; give the numbers of two samples"),
    (["interpolate", "PLAIN", "3", "0.png"], "one is the number of a sample, the other a file"),
    (["interpolate", "PLAIN", "3", "64"], "there is no sample 64"),
    (["interpolate", "MLP", "3", "4"], "MLP has no verb 'interpolate'; its verbs: classify"),
    (["interpolate", "LABELED", "3", "4"], "is class-conditional"),
    (["interpolate", "VAE", "0.png", "0.png", "-n", "5"], "n applies to numbers of samples"),
    (["interpolate", "VAE", "0.png", "0.png", "--label", "1"], "label applies to numbers of samples"),
    (["sample", "PLAIN", "--label", "all"], "MLPGenerator is not class-conditional"),
    (["sample", "PLAIN", "--numbers", "-o", "x.npy"], "numbers applies to image grids only"),
    (["score-images", "0.png"], "score-images needs images and a reference"),
    (["score-images", "0.png", "digits"], "scores need at least 2"),
    (["score-images", "0.png", "digit"], "did you mean 'digits'"),
    (["score-images", "0.png", "0.png", "ring"], "ring: the reference must be a data set of images"),
    (["score-images", "missing", "digits"], "missing: no such file"),
    (["score-images", "0.png", "0.png", "digits", "--count", "3"], "count must be from 2 to 2"),
]


@pytest.mark.parametrize(("words", "hint"), WRONG, ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_wrong_use_is_one_line_and_leaves_nothing(words, hint, models, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Image.new("L", (8, 8)).save("0.png")
    err = said(capsys, *(models.get(word, word) for word in words), code=2)[1]
    assert err.startswith("danlu: ")
    assert err.count("\n") == 1
    assert hint in err
    assert [path.name for path in tmp_path.iterdir()] == ["0.png"]


def test_a_generator_without_labels_does_not_pretend_to_draw_by_class(models):
    assert model_views.by_class(danlu.load(models["PLAIN"]), PICTURES) is None
    assert model_views.by_class(danlu.load(models["LABELED"]), PICTURES) == 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Digits of the test part as files, a hundred of them."""
    place = tmp_path_factory.mktemp("digits")
    for number, x in enumerate(digits().test["image"][:100, 0]):
        Image.fromarray(gray(x).numpy()).save(place / f"{number:03}.png")
    return place


def test_images_are_scored_by_their_pixels(folder, capsys):
    out, _ = said(capsys, "score-images", folder, "digits", "--feature-extractor", "pixels", "--json")
    page = json.loads(out)
    assert (page["reference"], page["examples"], page["images"], page["errors"]) == ("digits", 1258, 100, [])
    x, train = digits().test["image"][:100], digits().train["image"]
    expected = fid_from_features(train.flatten(1), (x * 255).round().flatten(1) / 255)
    assert page["scores"]["FID[pixels, 100 vs train]"] == pytest.approx(expected, rel=1e-3)
    assert not any(name.startswith("IS") or name == "classes_covered" for name in page["scores"])
    for name in ("KID", "precision", "recall"):
        assert f"{name}[pixels, 100 vs train]" in page["scores"]


@pytest.mark.parametrize(("count", "few"), [(99, True), (100, False)])
def test_few_images_are_a_note(folder, capsys, count, few):
    out, _ = said(capsys, "score-images", folder, "digits", "--count", str(count), "--feature-extractor", "pixels")
    assert (f"{count} images are few: FID is biased upward, and all scores are noisy" in out) == few


def test_images_are_scored_by_a_classifier_of_the_data(folder, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("DANLU_CACHE", str(tmp_path / "cache"))
    out, _ = said(capsys, "score-images", folder, "digits")
    assert "100 images compared with 1,258 of digits, train part" in out
    for name in (
        "FID[digits-cnn, 100 vs train]",
        "IS[digits-cnn, 100]",
        "classes covered",
        "diversity",
        "memorization",
    ):
        assert name in out
    again = danlu.score_images(folder, "digits", quiet=True)
    assert "the feature extractor digits-cnn was trained" in out
    assert "was trained" not in " ".join(again.notes)
    few = danlu.score_images(sorted(folder.iterdir())[:3], "digits", quiet=True)
    assert "3 images are few" in few.notes[-1]
    assert "precision" not in " ".join(few.scores)
    assert danlu.score_images(folder, "digits", count=50, quiet=True).images == 50


def test_a_folder_is_a_reference_too_and_what_is_done_to_images_is_said(folder, tmp_path, capsys):
    colors = tmp_path / "colors"
    colors.mkdir()
    source = np.random.default_rng(0)
    for number in range(20):
        Image.fromarray(source.integers(0, 256, (24, 20, 3), dtype=np.uint8)).save(colors / f"{number}.png")
    found = danlu.score_images(folder, colors, quiet=True)
    assert found.reference == "folder:colors"
    assert "FID[pixels at 16×16, 100 vs train]" in found.scores
    assert found.notes == (
        "100 of 100 images have another size than 24×20 and were scaled and cropped at the center",
        "100 of 100 images are gray; the data set is in color",
    )
    (colors / "x.png").write_bytes(b"no picture")
    out, err = said(capsys, "score-images", colors, "digits", "--feature-extractor", "pixels", code=1)
    assert "x.png: not a readable image" in err
    assert "20 images compared with" in out
    assert "20 of 20 images are in color and were converted to gray" in out


def test_inverted_images_are_turned_back(folder, tmp_path):
    for path in folder.iterdir():
        Image.eval(Image.open(path), lambda value: 255 - value).save(tmp_path / path.name)
    straight = danlu.score_images(folder, "digits", feature_extractor="pixels", quiet=True)
    back = danlu.score_images(tmp_path, "digits", feature_extractor="pixels", invert=True, quiet=True)
    assert back.scores == straight.scores


def test_inceptions_weights_are_asked_for_by_name_and_place(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(feature_extractors, "MIRRORS", (tmp_path.as_uri(),))
    monkeypatch.setattr("danlu.storage.download.ATTEMPTS", 1)
    words = ("score-images", folder, "digits", "--feature-extractor", "inception", "--data-dir", tmp_path)
    err = said(capsys, *words, code=1)[1]
    assert err.count("\n") == 1
    for word in (
        "pt_inception-2015-12-05-6726825d.pth",
        "95,628,359 bytes",
        str(tmp_path / "inception"),
        "put it there",
    ):
        assert word in err


class Stand(torch.nn.Module):
    """In the place of Inception; it sees pixels."""

    origin = Origin("inception", "299×299")
    name = "inception"

    def features(self, x):
        return x.flatten(1)

    def probabilities(self, x):
        return self.probabilities_of(self.features(x))

    def probabilities_of(self, features):
        return torch.nn.functional.pad(features, (0, 1008 - 64)).softmax(1)


def test_scores_by_inception_say_so(folder, monkeypatch):
    monkeypatch.setattr(feature_extractors, "inception", lambda access: Stand())
    scores = danlu.score_images(folder, "digits", feature_extractor="inception", quiet=True).scores
    assert {"FID[inception at 299×299, 100 vs train]", "IS[inception at 299×299, 100]"} < scores.keys()
    assert "classes_covered" not in scores  # they are others than those of the data
    by_pixels = danlu.score_images(folder, "digits", feature_extractor="pixels", quiet=True).scores
    fid = "FID[{}, 100 vs train]"
    assert scores[fid.format("inception at 299×299")] == pytest.approx(by_pixels[fid.format("pixels")])


def test_only_pictures_have_features_to_choose(tmp_path):
    with pytest.raises(UsageError, match="is for images"):
        danlu.train("gan", data="ring", feature_extractor="inception", rounds=1, out=tmp_path / "x", quiet=True)


def test_epochs_are_passes_over_the_data_however_often_the_critic_moves(tmp_path):
    changes = {
        "data": "ring",
        "critic_turns": 3,
        "epochs": 6.0,
        "batch_size": 500,
        "eval_samples": 0,
        "sample_grids": 0,
    }
    danlu.train("gan", out=tmp_path / "run", quiet=True, **changes)
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    last = json.loads(lines[-1])
    assert last["epoch"] == pytest.approx(6, abs=3 * 500 / 8000)
