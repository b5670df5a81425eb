"""What a generative model leaves in its run: scores, diagnosis, pictures, sections, and what to do with it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import danlu
from danlu.app.console.progress import Screen
from danlu.app.console.signals import Interrupt
from danlu.app.files.image_grid import make_grid
from danlu.app.report.figures.all_figures import draw
from danlu.app.report.figures.latent import gallery, latent_map, points, units
from danlu.app.report.sections import model_views
from danlu.app.report.sections.latent import model_sections
from danlu.app.report.sections.model_views import interleave_rows
from danlu.app.report.usage import after_training
from danlu.app.runs import training_samples
from danlu.app.runs.finish import print_summary
from danlu.app.runs.training_samples import is_due
from danlu.data import DataSet, Part
from danlu.data.images.info import ImageInfo
from danlu.data.tables.info import TableInfo
from danlu.evaluation import Subject, bounds, evaluate_subject
from danlu.losses import bernoulli_log_prob, gaussian_log_prob
from danlu.models import VAE

SMALL = {"model": {"hidden": (16,), "latent": 3}, "epochs": 3, "quiet": True, "sample_grids": 2}
INFO = ImageInfo((1, 8, 8), 2, ("cat", "dog"))
TABLE = TableInfo((2,), columns=("width", "height"), shift=(2.0, 5.0), scale=(0.5, 3.0))


def vae_of(shape=(1, 8, 8), **changes):
    torch.manual_seed(0)
    return VAE(shape, **{"latent": 3, "hidden": (8,), **changes}).eval()


class Both:
    """Tells classes apart and draws examples."""

    def classify(self, x): ...

    def sample(self, n): ...


def part_of(n=30, shape=(1, 8, 8)):
    source = torch.Generator().manual_seed(1)
    name = "image" if len(shape) == 3 else "x"
    return Part({name: torch.rand(n, *shape, generator=source), "label": torch.arange(n) % 2})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return danlu.train("vae", out=tmp_path_factory.mktemp("whole") / "run", **SMALL)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_scores_are_the_same_again(run):
    again = danlu.evaluate(run.path)["scores"]
    assert again == run.scores["test"]
    assert again.keys() == {"log_prob_bound_1", "log_prob_bound_100", "squared_error"}
    assert again["log_prob_bound_1"] < again["log_prob_bound_100"]


def test_scores_by_hand():
    """The bounds against their formula over many draws, within four standard errors; the error against numpy."""
    vae, part = vae_of(), part_of(400)
    data = DataSet("drawn", INFO, part, part, part)
    scores = evaluate_subject(Subject(vae, data, "test")).scores
    x = part["image"]
    q = vae.posterior(x)
    z = q.mean + (q.log_variance / 2).exp() * torch.randn(
        3000, *q.mean.shape, generator=torch.Generator().manual_seed(2)
    )
    with torch.no_grad():
        log_p = torch.stack([bernoulli_log_prob(x, vae.autoencoder.generation(draw)[:, 0]) for draw in z])
    prior = gaussian_log_prob(z, torch.zeros_like(z), 0.0, batch_dims=2)
    posterior = gaussian_log_prob(z, q.mean.expand_as(z), q.log_variance.expand_as(z), batch_dims=2)
    elbos = log_p + prior - posterior
    elbos = elbos.detach()
    error = float((elbos.var(0).mean() / len(x)).sqrt())
    assert scores["log_prob_bound_1"] == pytest.approx(float(elbos.mean()), abs=4 * error)
    tight = elbos.unflatten(0, (30, 100)).logsumexp(1) - np.log(100)
    error = float((tight.var(0).mean() / len(x)).sqrt())
    assert scores["log_prob_bound_100"] == pytest.approx(float(tight.mean()), abs=4 * error)
    with torch.no_grad():
        squares = np.mean((vae.reconstruct(x).numpy() - x.numpy()) ** 2)
    assert scores["squared_error"] == pytest.approx(float(squares), rel=1e-5)


def test_bounds_leave_torchs_generator_alone_and_repeat():
    vae, part = vae_of(), part_of()
    before = torch.get_rng_state()
    first = bounds(vae, part, "image", 5)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(7)
    assert torch.equal(bounds(vae, part, "image", 5), first)
    assert not torch.equal(bounds(vae, part, "image", 6), first)


@pytest.mark.parametrize(
    ("rounds", "every", "count"), [(90, 20, 2), (100, 10, 10), (100, 10, 25), (7, 10, 3), (100, 10, 1), (101, 10, 3)]
)
def test_pictures_are_drawn_evenly_often_and_in_the_end(rounds, every, count):
    evaluated = [r for r in range(1, rounds + 1) if r % every == 0 or r == rounds]
    drawn = [r for r in evaluated if is_due(r, rounds, every, count)]
    assert len(drawn) == min(count, len(evaluated))
    assert drawn[-1] == rounds
    between = np.diff([0, *(evaluated.index(r) + 1 for r in drawn)])
    assert between.max() - between.min() <= 1
    assert not any(is_due(r, rounds, every, 0) for r in evaluated)


def test_pictures_while_training(run):
    ends = [f"{name}.png" for name in ("reconstructions", "samples", "traversals")]
    assert names(run.path / "samples") == [f"round-{round:06d}-{end}" for round in (40, 59) for end in ends]


def test_the_last_picture_is_what_the_last_weights_draw(tmp_path):
    run = danlu.train("vae", out=tmp_path / "run", monitor="none", **SMALL)
    model, file = danlu.load(run.path), run.path / "samples" / "round-000059-samples.png"
    expected = make_grid(model_views.samples(model, 64), 8)[..., 0].numpy()
    np.testing.assert_array_equal(np.array(Image.open(file)), expected)


def test_without_pictures_the_weights_are_the_same_bits(run, tmp_path):
    without = danlu.train("vae", out=tmp_path / "run", **{**SMALL, "sample_grids": 0})
    assert not (without.path / "samples").exists()
    a, b = (load_file(r.model / "model.safetensors") for r in (run, without))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert run.metrics() == without.metrics()


@pytest.mark.parametrize(
    "stop", [39, 40, pytest.param(20, marks=pytest.mark.long), pytest.param(41, marks=pytest.mark.long)]
)
def test_a_resumed_run_draws_what_an_uninterrupted_one_does(run, tmp_path, monkeypatch, stop):
    from danlu.app.run_folder.run_folder import RunFolder

    log = RunFolder.log

    def log_and_ask(self, entry):
        log(self, entry)
        if entry["round"] == stop:
            Interrupt.asked = True

    with monkeypatch.context() as patch:
        patch.setattr(Interrupt, "asked", False)
        patch.setattr(RunFolder, "log", log_and_ask)
        stopped = danlu.train("vae", out=tmp_path / "run", **SMALL)
        assert stopped.page["status"] == "stopped"
    resumed = danlu.resume(stopped.path, quiet=True)
    assert resumed.page["status"] == "finished"
    a, b = (load_file(r.model / "model.safetensors") for r in (run, resumed))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert names(resumed.path / "samples") == names(run.path / "samples")
    for name in names(run.path / "samples"):
        assert (resumed.path / "samples" / name).read_bytes() == (run.path / "samples" / name).read_bytes()


def test_pictures_leave_torchs_generator_alone(tmp_path):
    vae, part = vae_of(), part_of()
    before = torch.get_rng_state()
    training_samples.write_samples(vae, part, INFO, tmp_path / "samples", 3)
    assert torch.equal(torch.get_rng_state(), before)
    assert len(names(tmp_path / "samples")) == 3


@pytest.mark.parametrize(
    ("model", "part", "info"),
    [
        (vae_of((2,), likelihood="gaussian"), part_of(shape=(2,)), TABLE),
        (vae_of((2, 8, 8)), part_of(shape=(2, 8, 8)), ImageInfo((2, 8, 8))),
        (object(), part_of(), INFO),
    ],
)
def test_nothing_is_drawn_of_what_is_no_picture(model, part, info, tmp_path):
    training_samples.write_samples(model, part, info, tmp_path / "samples", 3)
    assert not (tmp_path / "samples").exists()


def test_without_held_out_examples_samples_are_drawn(tmp_path):
    training_samples.write_samples(vae_of(), part_of(0), INFO, tmp_path / "samples", 3)
    assert names(tmp_path / "samples") == ["round-000003-samples.png"]


def test_pictures_below_each_other():
    first, second = torch.arange(5), torch.arange(10, 15)
    assert interleave_rows(first, second, across=3).tolist() == [0, 1, 2, 10, 11, 12, 3, 4, 13, 14]


def test_a_traversal_changes_one_unit():
    vae = vae_of()
    walks = model_views.traversals(vae, torch.tensor([2, 0]), 3).unflatten(0, (2, 7))
    with torch.no_grad():
        for row, unit in enumerate((2, 0)):
            for step in range(7):
                z = torch.zeros(1, 3)
                z[0, unit] = step - 3
                torch.testing.assert_close(walks[row, step], vae.decode(z)[0])


def test_the_grid_has_the_first_unit_across_and_the_second_upwards():
    vae = vae_of(latent=2)
    grid = model_views.grid(vae, 5).unflatten(0, (5, 5))
    with torch.no_grad():
        torch.testing.assert_close(grid[0, 4], vae.decode(torch.tensor([[3.0, 3.0]]))[0])
        torch.testing.assert_close(grid[4, 3], vae.decode(torch.tensor([[1.5, -3.0]]))[0])


def test_a_code_that_needs_a_label_is_left_out():
    class Conditional(VAE):
        capabilities = VAE((4,)).capabilities | {"class_conditional"}

        def decode(self, z, labels):  # type: ignore[override]
            raise AssertionError("nobody has labels here")

    model = Conditional((1, 8, 8), latent=2, hidden=(8,)).eval()
    assert model_views.codes(model, part_of(), "image") is None


@pytest.mark.parametrize(("beta", "collapsed"), [(1000.0, True), (0.1, False)])
def test_collapse_is_noticed_told_and_kept(beta, collapsed, tmp_path, capsys):
    changes = {**SMALL, "quiet": False, "epochs": 12, "sample_grids": 0}
    run = danlu.train("vae", out=tmp_path / "run", beta=beta, model={"hidden": (32,), "latent": 2}, **without(changes))
    said = capsys.readouterr().out
    last = [entry for entry in run.metrics() if "validation/kl" in entry][-1]
    assert (last["validation/kl"] < 0.1) == collapsed
    assert said.count("Posterior collapse") == collapsed
    page = json.loads((run.path / "run.json").read_text())
    assert ("Posterior collapse" in (page["diagnosis"] or "")) == collapsed
    assert ("Posterior collapse" in (run.path / "report.html").read_text()) == collapsed
    assert ("Posterior collapse" in (run.path / "card.md").read_text()) == collapsed


def without(changes):
    return {name: value for name, value in changes.items() if name != "model"}


def titles(model, part, info):
    return [section.title for section in model_sections(model, part, "test", info)]


def test_sections_are_what_the_verbs_allow():
    four = ["Samples", "Reconstructions", "Traversals", "Latent map", "Units"]
    assert titles(vae_of(), part_of(), INFO) == four
    assert titles(vae_of(masks=True), part_of(), INFO) == [*four[:2], "Filled in", *four[2:]]
    assert titles(vae_of(latent=1), part_of(), INFO) == [*four[:3], "Units"]
    assert titles(vae_of((2,), likelihood="gaussian"), part_of(shape=(2,)), TABLE) == ["Samples", "Latent map", "Units"]
    assert titles(object(), part_of(), INFO) == []


@pytest.mark.parametrize("posterior", ["planar", "iaf"])
def test_the_units_of_a_flow_have_no_divergences_of_their_own(posterior):
    every = titles(vae_of(), part_of(), INFO)
    assert "Units" in every
    assert titles(vae_of(posterior=posterior), part_of(), INFO) == [title for title in every if title != "Units"]


def test_points_are_in_the_units_of_their_columns():
    part = part_of(shape=(2,))
    sections = model_sections(vae_of((2,), likelihood="gaussian"), part, "test", TABLE)
    axes = draw(sections[0].figure).axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("width", "height")
    drawn = np.asarray(axes.collections[0].get_offsets())
    np.testing.assert_allclose(drawn, part["x"].numpy() * [0.5, 3.0] + [2.0, 5.0], rtol=1e-6)


def test_the_map_shows_the_two_most_active_units():
    vae, part = vae_of(), part_of()
    vae.autoencoder.inference.posterior.linear.weight.data[[0, 2]] *= 30
    section = next(s for s in model_sections(vae, part, "test", INFO) if s.title == "Latent map")
    axes = draw(section.figure).axes[0]
    with torch.no_grad():
        codes = vae.encode(part["image"])
    order = codes.var(0).argsort(descending=True)[:2].tolist()
    assert sorted(order) == [0, 2]
    assert (axes.get_xlabel(), axes.get_ylabel()) == tuple(f"unit {unit}" for unit in order)
    cats = np.asarray(axes.collections[0].get_offsets())
    np.testing.assert_allclose(cats, codes[part["label"] == 0][:, order].numpy(), rtol=1e-5)


def test_units_are_sorted_and_the_inactive_ones_gray():
    figure = units(torch.tensor([0.5, 2.0, 0.1]), torch.tensor([True, True, False]))
    bars = figure.axes[0].patches
    assert [bar.get_height() for bar in bars] == pytest.approx([2.0, 0.5, 0.1])
    assert bars[0].get_facecolor() == bars[1].get_facecolor() != bars[2].get_facecolor()
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["1", "0", "2"]


def test_rows_of_a_gallery_are_named_at_their_middle():
    figure = gallery(torch.zeros(6, 1, 32, 32), 2, rows=("a", "b", "c"), heads=("x", "y"))
    axes = figure.axes[0]
    pixels = axes.get_images()[0].get_array()
    assert pixels.shape == (3 * 34 + 2, 2 * 34 + 2)
    assert list(axes.get_yticks()) == pytest.approx([17.5, 51.5, 85.5])  # a picture has rows 2 to 33, then 36 to 67
    assert list(axes.get_xticks()) == pytest.approx([17.5, 51.5])


def test_maps_of_many_classes_or_none_have_one_color():
    codes = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    many = tuple(map(str, range(30)))
    assert len(latent_map(codes, ("a", "b"), torch.arange(50) % 30, many).axes[0].collections) == 1
    assert len(latent_map(codes, ("a", "b")).axes[0].collections) == 1
    assert len(latent_map(codes, ("a", "b"), torch.arange(50) % 3, ("x", "y", "z")).axes[0].collections) == 3


def test_samples_lie_over_the_data():
    data, made = torch.zeros(3, 2), torch.ones(4, 2)
    below, over = points(data, made, ("x", "y")).axes[0].collections
    assert (len(below.get_offsets()), len(over.get_offsets())) == (3, 4)


@pytest.mark.parametrize(
    ("model", "info", "expected"),
    [
        (vae_of(), INFO, [("use", "danlu sample RUN")]),
        (
            vae_of(masks=True),
            INFO,
            [("use", "danlu sample RUN"), ("inpaint", "danlu inpaint RUN FILES… --mask half")],
        ),
        (vae_of((2,), likelihood="gaussian"), TABLE, [("use", "danlu sample RUN")]),
        (Both(), INFO, [("use", "danlu classify RUN FILES…"), ("", "danlu sample RUN")]),
        (object(), INFO, []),
    ],
)
def test_what_to_do_next(model, info, expected):
    assert after_training(model, info) == expected


def test_goodbye_names_commands_that_a_shell_understands(tmp_path, capsys):
    run = danlu.train("vae", out=tmp_path / "my run", **{**SMALL, "epochs": 1})
    print_summary(run, Screen(), [("use", "danlu sample RUN")])
    assert f"danlu sample '{run.path}'" in capsys.readouterr().out


def test_the_card_tells_what_the_verbs_do(run):
    text = (run.path / "card.md").read_text()
    assert "    danlu sample RUN\n" in text
    assert "    danlu inpaint RUN FILES… --mask half\n" in text
    assert "danlu classify" not in text
    assert "Every input gets one of" not in text
