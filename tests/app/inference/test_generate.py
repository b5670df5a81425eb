"""What models make from the command line: the right pictures and rows, the same for a seed, and clear refusals."""

import csv
import io
import json
import math
import shutil
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import danlu
from commands import call_checked
from danlu.app.cli import main
from danlu.data import digits
from danlu.data.images.info import ImageInfo
from danlu.data.tables.info import TableInfo
from danlu.errors import RunError, UsageError
from danlu.models import MLP, VAE, ConditionalVAE, Model, save_model
from danlu.rng import generator

TINY = {"epochs": 1, "model": {"hidden": (8,), "latent": 2}, "quiet": True}
SIDE, GAP = 32, 2  # of a digit on a sheet, four times as large as it is


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Of a model of pictures that is told which pixels there are."""
    model = {"hidden": (8,), "latent": 2, "masks": True, "likelihood": "bernoulli"}
    settings = {**TINY, "model": model}
    return danlu.train("inpainting-vae", **settings, out=tmp_path_factory.mktemp("runs") / "pictures").path


@pytest.fixture(scope="module")
def black_and_white(tmp_path_factory):
    return danlu.train("vae", binarize="dynamic", **TINY, out=tmp_path_factory.mktemp("runs") / "binary").path


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Of a model of rows, whose columns have units of their own."""
    folder = tmp_path_factory.mktemp("table")
    lines = [f"{100 + 3 * (i % 7)},{-5 + i % 5 / 10}" for i in range(60)]
    (folder / "train.csv").write_text("length,width\n" + "\n".join(lines) + "\n")
    model = {"hidden": (8,), "latent": 2, "masks": True, "likelihood": "gaussian"}
    settings = {**TINY, "model": model, "data": f"table:{folder / 'train.csv'}", "batch_size": 16}
    return danlu.train("inpainting-vae", **settings, out=folder / "run").path


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    folder = tmp_path_factory.mktemp("classifier")
    save_model(MLP((1, 8, 8), 10, hidden=(4,)), folder, digits().info)
    return folder


@pytest.fixture
def pictures(tmp_path):
    """Three digits of the test part, as the model has them."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(3):
        Image.fromarray((digits().test["image"][number, 0] * 255).round().byte().numpy()).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def x(pictures):
    """Their pixels."""
    return (
        torch.stack([torch.from_numpy(np.array(Image.open(path))) for path in sorted(pictures.iterdir())])[:, None]
        / 255
    )


class Labeled(Model):
    """Says of each picture it draws which class it was asked for, in shades of gray."""

    capabilities = frozenset({"generator", "class_conditional"})

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.info = ImageInfo((1, 4, 4), 3, ("ant", "bee", "cat"))

    def sample(self, n, labels=None, *, generator=None):
        labels = torch.zeros(n) if labels is None else labels
        return (labels / 10)[:, None, None, None].expand(n, 1, 4, 4)


class Fair(Model):
    """Gives every black and white picture the same probability."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.info = ImageInfo((1, 8, 8))

    def log_prob(self, x):
        return torch.full((len(x),), -x[0].numel() * math.log(2))


def pretend(monkeypatch, model):
    """Every folder holds this model."""
    monkeypatch.setattr("danlu.app.inference.load.load", lambda path: model)


def cell(path, row: int, column: int) -> torch.Tensor:
    """A picture of a sheet, at its own size."""
    page = torch.from_numpy(np.array(Image.open(path)))
    top, left = GAP + row * (SIDE + GAP), GAP + column * (SIDE + GAP)
    return page[top : top + SIDE : 4, left : left + SIDE : 4]


def gray(x: torch.Tensor) -> torch.Tensor:
    return (x * 255).round().byte()


def test_a_sheet_shows_what_the_model_draws_from_the_seed(run, tmp_path):
    path = tmp_path / "s.png"
    page = json.loads(call_checked("sample", run, "-n", 10, "-o", path, "--columns", 5, "--seed", 3, "--json")[0])
    assert page == {"path": str(path), "n": 10, "shape": [1, 8, 8], "label": None, "seed": 3}
    assert Image.open(path).size == (5 * (SIDE + GAP) + GAP, 2 * (SIDE + GAP) + GAP)
    with torch.no_grad():
        expected = danlu.load(run).sample(10, generator=generator("sample", 3))
    for number in range(10):
        assert torch.equal(cell(path, number // 5, number % 5), gray(expected[number, 0]))


def test_without_a_place_the_sheet_is_in_the_run_and_may_be_made_again(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert call_checked("sample", run)[0] == f"{run / 'samples.png'}: 64 samples\n"
    assert Image.open(run / "samples.png").size == (8 * (SIDE + GAP) + GAP,) * 2
    assert not list(tmp_path.iterdir())


def test_of_a_model_folder_it_is_in_the_current_folder_and_is_not_overwritten(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call_checked("sample", run / "model", "-n", 1)
    before = (tmp_path / "samples.png").read_bytes()
    message = "samples.png already exists; write to another path with out, or set overwrite=True to replace it"
    error = call_checked("sample", run / "model", "-n", 2, code=2)[1]
    assert error.endswith(f"{message} (--out, --overwrite)\n")
    with pytest.raises(UsageError) as caught:
        danlu.sample(run / "model", 2)
    assert str(caught.value) == message  # no flags in Python
    assert (tmp_path / "samples.png").read_bytes() == before
    call_checked("sample", run / "model", "-n", 2, "--overwrite")
    assert (tmp_path / "samples.png").read_bytes() != before


def test_a_folder_has_each_picture_and_an_array_the_numbers(run, tmp_path):
    call_checked("sample", run, "-n", 3, "-o", f"{tmp_path}/new/")
    call_checked("sample", run, "-n", 3, "-o", tmp_path / "x.npy")
    values = np.load(tmp_path / "x.npy")
    assert (values.shape, values.dtype) == ((3, 1, 8, 8), np.float32)
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["0000.png", "0001.png", "0002.png"]
    for number in range(3):
        picture = np.array(Image.open(tmp_path / "new" / f"000{number}.png"))
        assert np.array_equal(picture, np.round(values[number, 0] * 255).astype(np.uint8))
    assert "is not empty" in call_checked("sample", run, "-o", tmp_path / "new", code=2)[1]
    (tmp_path / "empty").mkdir()
    call_checked("sample", run, "-n", 1, "-o", tmp_path / "empty")
    assert len(list((tmp_path / "empty").iterdir())) == 1


def test_a_row_is_no_longer_than_there_are_pictures(run, tmp_path):
    danlu.sample(run, 3, out=tmp_path / "x.png", columns=100_000)
    assert Image.open(tmp_path / "x.png").size == (3 * (SIDE + GAP) + GAP, SIDE + 2 * GAP)


def test_the_seed_says_what_is_drawn_and_nobody_elses_randomness_moves(run, tmp_path):
    before = torch.get_rng_state()
    a, b, c = (danlu.sample(run, 5, out=tmp_path / f"{k}.npy", seed=seed).x for k, seed in enumerate((1, 1, 2)))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_values_are_those_of_the_distribution(run, tmp_path):
    made = danlu.sample(run, 5, out=tmp_path / "x.npy", values=True).x
    assert set(made.unique().tolist()) == {0.0, 1.0}  # of a Bernoulli distribution


def test_more_than_fit_into_one_go(run, tmp_path):
    assert len(danlu.sample(run, 1201, out=tmp_path / "x.npy").x) == 1201


def test_rows_come_in_the_units_of_their_columns(rows, tmp_path):
    call_checked("sample", rows, "-n", 400, "-o", tmp_path / "s.csv")
    with (tmp_path / "s.csv").open() as file:
        header, *lines = csv.reader(file)
    table = np.array(lines, dtype=float)
    assert header == ["length", "width"]
    model = danlu.load(rows)
    with torch.no_grad():
        raw = model.sample(400, generator=generator("sample", 0), values=True).double().numpy()
    shift, scale = np.array(model.info.shift), np.array(model.info.scale)
    assert shift == pytest.approx([109, -4.8], abs=2)
    np.testing.assert_allclose(table, raw * scale + shift, rtol=1e-5)
    assert call_checked("sample", rows, "-n", 400, "-o", "-")[0] == (tmp_path / "s.csv").read_text()


@pytest.mark.parametrize(
    ("label", "expected"), [("bee", [1, 1, 1, 1]), ("2", [2, 2, 2, 2]), ("all", [0, 1, 2, 0]), (None, [0, 0, 0, 0])]
)
def test_labels_by_name_and_by_number(monkeypatch, tmp_path, label, expected):
    pretend(monkeypatch, Labeled())
    made = danlu.sample("any", 4, label=label, out=tmp_path / "s.png")
    assert (made.x[:, 0, 0, 0] * 10).round().tolist() == expected
    columns = 3 if label == "all" else 2
    assert Image.open(tmp_path / "s.png").size[0] == columns * (SIDE + GAP) + GAP


def test_a_class_whose_name_is_a_number_is_meant_by_it(monkeypatch, tmp_path):
    model = Labeled()
    model.info = ImageInfo((1, 4, 4), 3, ("2", "1", "0"))
    pretend(monkeypatch, model)
    assert danlu.sample("any", 1, label=2, out=tmp_path / "s.npy").x.max() == 0


def test_reconstructions_stand_beside_their_pictures(run, pictures, x, tmp_path):
    path = tmp_path / "r.png"
    page = json.loads(call_checked("reconstruct", run, pictures, "-o", path, "--json")[0])
    with torch.no_grad():
        y = danlu.load(run).reconstruct(x)
    assert [one["file"] for one in page["files"]] == [str(pictures / f"{number}.png") for number in range(3)]
    errors = [one["squared_error"] for one in page["files"]]
    assert errors == pytest.approx([((y[k] - x[k]) ** 2).mean().item() for k in range(3)], rel=1e-4)
    assert Image.open(path).size == (4 * (SIDE + GAP) + GAP, 2 * (SIDE + GAP) + GAP)  # two pairs in a row
    for number in range(3):
        assert torch.equal(cell(path, number // 2, number % 2 * 2), gray(x[number, 0]))
        near = cell(path, number // 2, number % 2 * 2 + 1).int() - gray(y[number, 0]).int()
        assert near.abs().max() <= 1  # batches of other sizes round otherwise
    out, _ = call_checked("reconstruct", run, pictures, "-o", tmp_path / "r.npy")
    assert out.splitlines()[0] == f"{pictures / '0.png'}  mean squared error {errors[0]:.5f}"
    assert np.load(tmp_path / "r.npy").shape == (3, 1, 8, 8)


def test_a_walk_begins_and_ends_with_the_reconstructions(run, pictures, x, tmp_path):
    a, b = pictures / "0.png", pictures / "1.png"
    assert call_checked("interpolate", run, a, b, "--steps", 5, "-o", tmp_path / "i.png")[0].startswith(
        f"{tmp_path / 'i.png'}: 5 steps from"
    )
    assert Image.open(tmp_path / "i.png").size == (5 * (SIDE + GAP) + GAP, SIDE + 2 * GAP)
    walk = danlu.interpolate(run, a, b, steps=5, out=tmp_path / "i.npy").x
    with torch.no_grad():
        ends = danlu.load(run).reconstruct(x[:2])
    torch.testing.assert_close(walk[[0, -1]], ends)


def test_a_walk_between_rows(rows, tmp_path):
    for name, line in (("a", "100,-5"), ("b", "118,-4.6")):
        (tmp_path / f"{name}.csv").write_text(f"length,width\n{line}\n")
    danlu.interpolate(rows, tmp_path / "a.csv", tmp_path / "b.csv", out=tmp_path / "w.csv", steps=3)
    assert len((tmp_path / "w.csv").read_text().splitlines()) == 4
    (tmp_path / "c.csv").write_text("length,width\n100,-5\n101,-5\n")
    with pytest.raises(UsageError, match=r"c\.csv: expected one image, one row or one window of a waveform, got 2"):
        danlu.interpolate(rows, tmp_path / "a.csv", tmp_path / "c.csv", out=tmp_path / "v.csv")


@pytest.mark.parametrize(
    ("mask", "hole"),
    [
        ("half", np.s_[4:, :]),
        ("bottom", np.s_[4:, :]),
        ("top", np.s_[:4, :]),
        ("left", np.s_[:, :4]),
        ("right", np.s_[:, 4:]),
        ("block", np.s_[2:6, 2:6]),
    ],
)
def test_the_hole_is_filled_in_from_the_rest_alone(run, pictures, tmp_path, mask, hole):
    path = pictures / "0.png"
    before = np.array(Image.open(path))
    first = danlu.inpaint(run, path, mask=mask, out=tmp_path / "a.npy")
    missing = np.zeros((8, 8), bool)
    missing[hole] = True
    assert np.array_equal(np.round(first.x[0, 0].numpy() * 255)[~missing], before[~missing])
    assert not np.array_equal(np.round(first.x[0, 0].numpy() * 255)[missing], before[missing])
    assert first.files[0].filled == missing.mean()
    squared = ((first.x[0, 0].numpy() - before / 255)[missing] ** 2).mean()
    assert first.files[0].squared_error == pytest.approx(squared, rel=1e-4)
    Image.fromarray(np.where(missing, 255 - before, before)).save(path)  # what is in the hole does not matter
    assert torch.equal(danlu.inpaint(run, path, mask=mask, out=tmp_path / "b.npy").x, first.x)


def test_the_sheet_shows_the_hole_in_a_color(run, pictures, tmp_path):
    path = tmp_path / "m.png"
    out, _ = call_checked("inpaint", run, pictures / "0.png", "--mask", "half", "-o", path)
    assert "50 % filled in  mean squared error 0." in out
    left, right = cell(path, 0, 0), cell(path, 0, 1)
    assert left.shape == right.shape == (8, 8, 3)
    assert torch.equal(left[:4], right[:4])
    assert len({tuple(pixel.tolist()) for pixel in left[4:].flatten(0, 1)}) == 1
    assert left[4, 0].unique().numel() == 3  # no gray
    assert (right[..., 0] == right[..., 1]).all()


def test_what_is_white_in_a_mask_is_filled_in(run, pictures, tmp_path):
    white = np.zeros((8, 8), np.uint8)
    white[1:3, 2:7] = 255
    white[6, 6] = 128
    white[6, 1] = 127
    Image.fromarray(white).save(tmp_path / "mask.png")
    path = pictures / "0.png"
    small = danlu.inpaint(run, path, mask=tmp_path / "mask.png", out=tmp_path / "a.npy").x[0, 0]
    kept = np.round(small.numpy() * 255) == np.array(Image.open(path))
    assert kept[white < 128].all()
    assert kept[white >= 128].mean() < 0.5
    for name in (path, tmp_path / "mask.png"):  # and so do mask and picture that are five times as large
        large = Image.open(name).resize((40, 40), Image.Resampling.NEAREST)
        large.save(tmp_path / f"large {name.name}")
    again = danlu.inpaint(run, tmp_path / "large 0.png", mask=tmp_path / "large mask.png", out=tmp_path / "b.npy")
    assert again.files[0].filled == (white >= 128).mean()


def test_what_is_put_around_a_picture_is_not_filled_in(tmp_path):
    info = ImageInfo((1, 8, 8), fit="pad")
    save_model(VAE((1, 8, 8), 2, (8,)), tmp_path / "model", info)
    Image.fromarray(np.zeros((4, 8), np.uint8)).save(tmp_path / "x.png")
    mask = np.zeros((4, 8), np.uint8)
    mask[:, :4] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    made = danlu.inpaint(tmp_path / "model", tmp_path / "x.png", mask=tmp_path / "mask.png", out=tmp_path / "a.npy")
    assert made.files[0].filled == 0.25
    assert (made.x[0, 0, [0, 1, 6, 7]] == 1).all()
    assert (made.x[0, 0, 2:6, 4:] == 0).all()


def test_a_class_conditional_autoencoder_fills_in_an_example_of_the_class(pictures, tmp_path):
    torch.manual_seed(0)
    model = ConditionalVAE((1, 8, 8), 3, latent=2, hidden=(8,)).eval()
    save_model(model, tmp_path / "model", ImageInfo((1, 8, 8), 3, ("ant", "bee", "cat")))
    arguments = (tmp_path / "model", pictures / "0.png", "--mask", "half")
    call_checked("inpaint", *arguments, "--label", "bee", "-o", tmp_path / "a.npy")
    x, known = (
        torch.from_numpy(np.array(Image.open(pictures / "0.png")) / 255).float()[None, None],
        torch.ones(1, 1, 8, 8),
    )
    known[..., 4:, :] = 0
    with torch.no_grad():
        of_classes = [model.inpaint(x * known, known, torch.tensor([k])) for k in range(3)]
    torch.testing.assert_close(torch.from_numpy(np.load(tmp_path / "a.npy")), of_classes[1])
    assert not of_classes[1].allclose(of_classes[2])
    _, err = call_checked("inpaint", *arguments, "--temperature", 0.5, "-o", tmp_path / "b.npy", code=2)
    assert "ConditionalVAE has no temperature; remove temperature (--temperature)" in err


def test_random_holes_have_their_fraction_and_their_seed(run, pictures, tmp_path):
    some = [
        danlu.inpaint(run, pictures, mask="random:0.25", seed=seed, out=tmp_path / f"{k}.npy")
        for k, seed in enumerate((1, 1, 2))
    ]
    fractions = [[one.filled for one in made.files] for made in some]
    assert torch.equal(some[0].x, some[1].x)
    assert not torch.equal(some[0].x, some[2].x)
    assert sum(sum(each) for each in fractions) / 9 == pytest.approx(0.25, abs=4 * math.sqrt(0.25 * 0.75 / (6 * 64)))


@pytest.mark.parametrize(("command", "files"), [("reconstruct", 1), ("interpolate", 2), ("inpaint", 1), ("score", 1)])
def test_columns_that_are_not_used_are_reported_on_standard_error_unless_quiet(rows, tmp_path, capsys, command, files):
    """Standard output has the results alone; the command is quiet if they are JSON."""
    path = tmp_path / "t.csv"
    path.write_text(f"id,width,length\n1,-5,{'' if command == 'inpaint' else 103}\n")
    output = {} if command == "score" else {"out": tmp_path / "out.csv", "overwrite": True}
    for quiet in (False, True):
        getattr(danlu, command)(rows, *[path] * files, quiet=quiet, **output)
        said = "" if quiet else f"{path}: ignored columns (the model does not use them): id\n" * files
        assert capsys.readouterr() == ("", said)
    words = [] if command == "score" else ["-o", tmp_path / "out.csv", "--overwrite"]
    assert call_checked(command, rows, *[path] * files, *words, "--json")[1] == ""


def test_empty_fields_of_a_table_are_filled_in(rows, tmp_path):
    (tmp_path / "t.csv").write_text("id,width,length\n1,-4.87,\n2,,100.123456789\n3,-5,103\n")
    out, err = call_checked("inpaint", rows, tmp_path / "t.csv", "-o", tmp_path / "full.csv")
    assert "ignored columns (the model does not use them): id" in err
    assert f"{tmp_path / 't.csv'}, line 2  50 % filled in\n" in out
    with (tmp_path / "full.csv").open() as file:
        header, one, two, three = csv.reader(file)
    assert (header, three) == (["length", "width"], ["103", "-5"])
    assert (one[1], two[0]) == ("-4.87", "100.123456789")
    model = danlu.load(rows)
    shift, scale = np.array(model.info.shift), np.array(model.info.scale)
    x = torch.tensor([[0.0, (-4.87 - shift[1]) / scale[1]]]).float()
    with torch.no_grad():
        filled = model.inpaint(x, torch.tensor([[0.0, 1.0]]))[0, 0].item()
    assert float(one[0]) == pytest.approx(filled * scale[0] + shift[0], rel=1e-5)


class Even(Model):
    """A uniform density on the interval of dequantized values, or a normal density of rows."""

    capabilities = frozenset({"density"})

    def __init__(self, info) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.info = info

    def log_prob(self, x):
        x = x.flatten(1)
        if self.info.spacing is None:
            return torch.distributions.Normal(0.0, 1.0).log_prob(x).sum(1)
        inside = (x >= 0) & (x <= 1 + self.info.spacing)
        return torch.where(inside, -math.log(1 + self.info.spacing), -torch.inf).sum(1)


def test_images_are_dequantized_for_a_density(monkeypatch, pictures):
    pretend(monkeypatch, Even(ImageInfo((1, 8, 8), levels=16)))
    page = json.loads(call_checked("score", "any", pictures, "--json")[0])
    assert (page["bound"], page["samples"]) == (True, None)
    assert page["notes"] == [
        "lower bounds of the log-likelihood: random noise fills the gap between neighboring levels"
    ]
    assert page["mean"]["bits_per_dimension"] == pytest.approx(4)
    assert "at most 4.0000 bits per dimension" in call_checked("score", "any", pictures)[0]


def test_the_noise_of_an_image_does_not_depend_on_the_other_files(monkeypatch, pictures):
    model = Even(ImageInfo((1, 8, 8), levels=16))
    pretend(monkeypatch, model)
    monkeypatch.setattr(type(model), "log_prob", lambda self, x: x.flatten(1).square().sum(1))
    together = danlu.score("any", pictures).files
    alone = danlu.score("any", sorted(pictures.iterdir())[1]).files
    assert together[1].nats == alone[0].nats
    assert len({one.nats for one in together}) == 3


def test_rows_have_the_density_of_the_file(monkeypatch, tmp_path):
    pretend(monkeypatch, Even(TableInfo((2,), columns=("a", "b"), shift=(1.0, 0.0), scale=(2.0, 10.0))))
    (tmp_path / "rows.csv").write_text("a,b\n1,0\n3,10\n")
    scores = danlu.score("any", tmp_path / "rows.csv")
    exact = [-math.log(2 * math.pi) - math.log(20) - k for k in (0, 1)]
    assert [one.nats for one in scores.files] == pytest.approx(exact)
    assert not scores.bound
    assert scores.notes == ("densities in the units of the file; a density can be above 1, and its logarithm above 0",)


def test_bits_per_dimension_of_fair_coins_are_one(monkeypatch, pictures):
    pretend(monkeypatch, Fair())
    page = json.loads(call_checked("score", "any", pictures, "--json")[0])
    assert (page["bound"], page["samples"], page["notes"]) == (False, None, [])
    for one in [*page["scores"], page["mean"]]:
        assert one["nats"] == pytest.approx(-64 * math.log(2))
        assert one["bits_per_dimension"] == pytest.approx(1)
    assert "at least" not in call_checked("score", "any", pictures)[0]
    assert "needs no samples for its log-likelihood" in call_checked(
        "score", "any", pictures, "--samples", 3, code=2)[1]  # fmt: skip


def test_a_bound_is_called_so_and_is_the_models(run, pictures, x):
    out, _ = call_checked("score", run, pictures, "--samples", 7)
    with torch.no_grad():
        bound = danlu.load(run).log_prob_bound(x[:1], 7, generator=generator("score", 0)).item()
    bits = -bound / 64 / math.log(2)
    assert out.splitlines()[0] == (
        f"{pictures / '0.png'}  at least {bound:.2f} nats  at most {bits:.4f} bits per dimension"
    )
    assert "mean of 3  at least" in out
    assert "lower bounds of the log-likelihood, each estimated with 7 samples" in out
    assert "gray pixels: the score is the mean" in out


def test_the_score_of_a_picture_does_not_depend_on_those_beside_it(black_and_white, pictures):
    alone = danlu.score(black_and_white, pictures / "2.png", samples=5).files[0]
    assert danlu.score(black_and_white, pictures, samples=5).files[2] == alone
    assert danlu.score(black_and_white / "model", pictures / "2.png", samples=5).files[0] == alone  # knows its run


def test_pictures_are_scored_in_the_black_and_white_of_the_run(black_and_white, run, pictures, x, tmp_path):
    assert "white with a probability equal to its gray value" in call_checked("score", black_and_white, pictures)[0]
    threshold = gray((x[0, 0] >= 0.5).float())
    Image.fromarray(threshold.numpy()).save(tmp_path / "b.png")
    by_hand = danlu.score(black_and_white, tmp_path / "b.png", samples=5)
    assert (
        danlu.score(black_and_white, pictures / "0.png", samples=5, binarize="threshold").files[0][1:]
        == (by_hand.files[0][1:])
    )
    assert danlu.score(black_and_white, tmp_path / "b.png", samples=5, binarize="none").files == by_hand.files
    drawn = danlu.score(black_and_white, pictures / "0.png", samples=5).files[0].nats
    assert drawn != by_hand.files[0].nats
    assert not any("gray" in note for note in danlu.score(run, tmp_path / "b.png").notes)


def test_rows_are_scored_as_the_model_sees_them(rows, tmp_path):
    (tmp_path / "t.csv").write_text("length,width\n100,-5\n500,3\n")
    page = json.loads(call_checked("score", rows, tmp_path / "t.csv", "--json")[0])
    near, far = page["scores"]
    assert near["nats"] > far["nats"]
    assert near["file"] == f"{tmp_path / 't.csv'}, line 2"
    assert any("densities of rows, shifted and scaled" in note for note in page["notes"])


def test_standard_input_and_standard_output(run, pictures, tmp_path, monkeypatch, capsysbinary):
    path = pictures / "0.png"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(path.read_bytes())))
    with pytest.raises(SystemExit) as ended:
        main.main(["reconstruct", str(run), "-", "-o", "-"])
    out, err = capsysbinary.readouterr()
    assert ended.value.code == 0
    assert err.startswith(b"standard input  mean squared error ")
    danlu.reconstruct(run, path, out=tmp_path / "r.png")
    assert out == (tmp_path / "r.png").read_bytes()


def test_a_broken_file_is_said_and_the_others_are_made(run, pictures, tmp_path):
    (pictures / "1.png").write_bytes(b"no picture")
    for verb, *more in (("reconstruct",), ("inpaint", "--mask", "half")):
        out, err = call_checked(verb, run, pictures, *more, "-o", tmp_path / f"{verb}.npy", code=1)
        assert "1.png: not a readable image" in err
        assert out.count("squared error") == 2
        assert len(np.load(tmp_path / f"{verb}.npy")) == 2
    page = json.loads(call_checked("score", run, pictures, "--json", code=1)[0])
    assert [one["error"] is None for one in page["scores"]] == [True, False, True]


def test_nothing_is_written_where_nothing_was_made(run, tmp_path):
    (tmp_path / "x.png").write_bytes(b"no picture")
    for verb, *more in (("reconstruct",), ("inpaint", "--mask", "half"), ("interpolate", tmp_path / "x.png")):
        err = call_checked(verb, run, tmp_path / "x.png", *more, "-o", tmp_path / "y.png", code=1)[1]
        assert "x.png: not a readable image" in err
    assert [path.name for path in tmp_path.iterdir()] == ["x.png"]


def test_what_cannot_be_written_leaves_nothing(run, tmp_path, monkeypatch):
    def full(file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("danlu.storage.atomic.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        danlu.sample(run, 1, out=tmp_path / "x.png")
    monkeypatch.setattr("danlu.app.files.image_files.as_bytes", lambda *_: full(None))
    with pytest.raises(OSError, match="No space"):
        danlu.sample(run, 1, out=f"{tmp_path}/x/")
    assert not list(tmp_path.iterdir())


WRONG = [
    (["sample", "nowhere"], "nowhere does not exist; give a run folder"),
    (["sample", "RUN", "-n", "0"], "n must be at least 1, got 0"),
    (["sample", "RUN", "--columns", "0"], "columns must be at least 1, got 0"),
    (["sample", "RUN", "-n", "20000"], "an image grid has at most 10,000 images, got 20,000"),
    (["sample", "RUN", "-o", "x.jpg"], "x.jpg: the name must end in .png"),
    (["sample", "RUN", "-o", "x"], "x: the name must end in .png"),
    (["sample", "RUN", "-o", "x.csv"], "this model generates images"),
    (["sample", "RUN", "-o", "no/x.png"], "the folder no does not exist"),
    (["sample", "RUN", "-o", "0.png"], "0.png already exists"),
    (["sample", "RUN", "-o", "-", "--json"], "both write to standard output"),
    (["sample", "RUN", "-o", "x.npy", "--columns", "3"], "columns applies to image grids only"),
    (["sample", "RUN", "--label", "3"], "VAE is not class-conditional"),
    (["sample", "RUN", "--device", "gpu"], "gpu"),
    (["sample", "MLP"], "MLP has no verb 'sample'; its verbs: classify"),
    (["sample", "ROWS", "-o", "x.png"], "this model generates rows of a table"),
    (["reconstruct", "RUN"], "no input file is given"),
    (["reconstruct", "RUN", "missing.png", "-o", "x.png"], "missing.png: no such file or folder"),
    (["reconstruct", "MLP", "0.png"], "MLP has no verb 'reconstruct'; its verbs: classify"),
    (["reconstruct", "ROWS", "0.png", "-o", "x.csv"], "0.png"),
    (["reconstruct", "ROWS", "t.csv", "--invert", "-o", "x.csv"], "invert applies to images only"),
    (["interpolate", "MLP", "0.png", "0.png"], "MLP has no verb 'interpolate'; its verbs: classify"),
    (["interpolate", "RUN", "0.png"], "interpolate: the argument B is missing"),
    (["interpolate", "RUN", "0.png", "0.png", "--steps", "1"], "steps must be at least 2, got 1"),
    (
        ["interpolate", "RUN", "0.png", "many", "-o", "x.png"],
        "many: expected one image, one row or one window of a waveform, got 2",
    ),
    (["inpaint", "RUN", "0.png", "-o", "x.png"], "choose a mask, for example half (--mask half)"),
    (["inpaint", "RUN", "0.png", "--mask", "haf", "-o", "x.png"], "did you mean 'half'"),
    (["inpaint", "RUN", "0.png", "--mask", "random:2", "-o", "x.png"], "above 0 and at most 1"),
    (["inpaint", "RUN", "0.png", "--mask", "random:", "-o", "x.png"], "above 0 and at most 1"),
    (["inpaint", "RUN", "0.png", "--mask", "many", "-o", "x.png"], "many is a folder"),
    (
        ["inpaint", "RUN", "0.png", "--mask", "odd.png", "-o", "x.png"],
        "expected 8 × 8 pixels (the size of 0.png) or 8 × 8",
    ),
    (["inpaint", "RUN", "0.png", "--mask", "black.png", "-o", "x.png"], "no pixel is missing: it has no white pixels"),
    (["inpaint", "RUN", "0.png", "--mask", "half", "--label", "3", "-o", "x.png"], "VAE is not class-conditional"),
    (["inpaint", "RUN", "0.png", "--mask", "half", "--temperature", "2", "-o", "x.png"], "VAE has no temperature"),
    (["inpaint", "ROWS", "t.csv", "-o", "x.csv"], "no row has an empty field"),
    (["inpaint", "ROWS", "t.csv", "--mask", "half", "-o", "x.csv"], "mask applies to images only"),
    (["inpaint", "ROWS", "gap.csv", "--invert", "-o", "x.csv"], "invert applies to images only"),
    (["score", "MLP", "0.png"], "MLP has neither a log-likelihood nor a lower bound of it; its verbs: classify"),
    (["score", "RUN"], "no input file is given"),
    (["score", "RUN", "0.png", "--samples", "0"], "samples must be at least 1, got 0"),
    (["score", "RUN", "0.png", "--binarize", "yes"], "binarize"),
    (["score", "ROWS", "t.csv", "--binarize", "static"], "binarize applies to images"),
]


@pytest.mark.parametrize(("words", "hint"), WRONG, ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_wrong_use_is_one_line_and_leaves_nothing(words, hint, run, rows, classifier, pictures, tmp_path, monkeypatch):
    here = tmp_path / "here"
    (here / "many").mkdir(parents=True)
    for name in ("0.png", "many/1.png", "many/2.png"):
        (here / name).write_bytes((pictures / "0.png").read_bytes())
    Image.new("L", (9, 7), 255).save(here / "odd.png")
    Image.new("L", (8, 8), 0).save(here / "black.png")
    (here / "t.csv").write_text("length,width\n100,-5\n")
    (here / "gap.csv").write_text("length,width\n100,\n")
    before = {path: path.is_dir() or path.read_bytes() for path in here.rglob("*")}
    in_runs = {path for folder in (run, rows) for path in folder.iterdir()}
    monkeypatch.chdir(here)
    monkeypatch.setenv("COLUMNS", "200")
    places = {"RUN": run, "ROWS": rows, "MLP": classifier}
    out, err = call_checked(*(places.get(word, word) for word in words), code=2)
    assert hint in err + out
    assert err.startswith("danlu: ")
    assert err.count("\n") == 1
    assert {path: path.is_dir() or path.read_bytes() for path in here.rglob("*")} == before
    assert {path for folder in (run, rows) for path in folder.iterdir()} == in_runs


@pytest.mark.parametrize(
    ("label", "hint"), [("bea", "did you mean 'bee'"), ("3", "from 0 to 2"), ("-1", "from 0 to 2")]
)
def test_a_class_that_is_not_there(monkeypatch, tmp_path, label, hint):
    pretend(monkeypatch, Labeled())
    with pytest.raises(UsageError, match=hint):
        danlu.sample("any", 1, label=label, out=tmp_path / "x.png")
    assert not list(tmp_path.iterdir())


class Walker(Model):
    """Interpolates between images, and draws samples from other numbers than latents."""

    def __init__(self, value_range: tuple[float, float] = (0.0, 1.0)) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.info = ImageInfo((1, 8, 8), range=value_range)

    def interpolate(self, a, b, steps):
        return torch.lerp(a, b, torch.linspace(0, 1, steps)[:, None, None, None])

    def sample(self, n):
        return torch.zeros(n, 1, 8, 8)

    def log_prob(self, x):
        return torch.zeros(len(x))


def test_what_a_model_without_latents_cannot_do(monkeypatch, pictures, tmp_path):
    pretend(monkeypatch, Walker())
    with pytest.raises(UsageError, match="Walker does not generate samples from latents, so samples 3 and 5 do not"):
        danlu.interpolate("any", 3, 5, out=tmp_path / "x.png")
    with pytest.raises(UsageError, match="Walker does not model a distribution of each value; remove values"):
        danlu.sample("any", 3, values=True, out=tmp_path / "x.png")
    pretend(monkeypatch, Walker((-1.0, 1.0)))
    with pytest.raises(UsageError, match=r"binarize applies to images with values from 0 to 1 only.*from -1 to 1"):
        danlu.score("any", pictures / "0.png", binarize="threshold")


def test_a_terminal_shows_no_image_grid(run, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    with pytest.raises(UsageError, match="a terminal cannot show an image; write to a file, or redirect"):
        danlu.sample(run, 3, out="-")


def test_a_finished_run_without_its_model_and_checkpoints_is_named(tmp_path):
    path = danlu.train("mlp", epochs=1, out=tmp_path / "run", quiet=True).path
    (path / "model" / "model.json").unlink()
    shutil.rmtree(path / "checkpoints")
    with pytest.raises(UsageError, match=r"no complete checkpoint \(status: finished\); train it again: `danlu train`"):
        danlu.load(path)


def test_a_mask_that_is_no_picture_is_exit_1(run, pictures, tmp_path):
    (tmp_path / "mask.png").write_bytes(b"no picture")
    with pytest.raises(RunError, match=r"mask\.png: not a readable image"):
        danlu.inpaint(run, pictures, mask=tmp_path / "mask.png", out=tmp_path / "x.png")


def test_a_damaged_mask_is_exit_1(run, pictures, tmp_path):
    whole = (pictures / "0.png").read_bytes()
    (tmp_path / "mask.png").write_bytes(whole[:60])  # the size can be read, the pixels cannot
    with pytest.raises(RunError, match=r"mask\.png: not a readable image"):
        danlu.inpaint(run, pictures, mask=tmp_path / "mask.png", out=tmp_path / "x.png")


def test_a_row_too_far_away_to_have_a_likelihood_is_an_error_and_the_others_are_scored(rows, tmp_path):
    (tmp_path / "far.csv").write_text("length,width\n100,-5\n1e35,-5\n")
    out, err = call_checked("score", rows, tmp_path / "far.csv", code=1)
    assert "line 3: its log-likelihood is not a number" in err
    assert "mean of 1" in out
    assert "nan" not in out


def test_the_error_of_a_row_far_away_is_finite(rows, tmp_path):
    (tmp_path / "far.csv").write_text("length,width\n1e25,-5\n")
    made = danlu.reconstruct(rows, tmp_path / "far.csv", out=tmp_path / "x.npy", quiet=True)
    assert math.isfinite(made.files[0].squared_error)


def test_errors_under_json_are_an_object_too(run):
    out, _ = call_checked("inpaint", run, "missing.png", "--mask", "half", "-o", "x.png", "--json", code=2)
    assert json.loads(out)["exit_code"] == 2
