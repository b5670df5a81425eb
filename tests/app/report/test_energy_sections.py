"""Report sections of energy-based models: filters, chains over time, denoising and completion, the normalizer."""

import math
from dataclasses import replace

import pytest
import torch

import danlu
from danlu.app.report.figures.all_figures import draw
from danlu.app.report.sections.energy_model import energy_sections
from danlu.data.base.dataset import DataSet, Part
from danlu.data.images.info import ImageInfo
from danlu.data.tables.info import TableInfo
from danlu.evaluation.subject import Subject
from danlu.models.base import Model
from danlu.models.energy.normalizer import LogNormalizer
from danlu.models.energy.rbm.machine import RBM
from danlu.rng.keys import generator


class Fixed(Model):
    """Denoising does nothing, and missing values get the value 1."""

    def __init__(self, values=None, log_z=None, filters=None):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.binary_values, self.log_z, self.shown, self.noise = values, log_z, filters, None

    @property
    def capabilities(self):
        binary = {"binary_values"} if self.binary_values else set()
        normalizer = {"normalizer"} if self.log_z else set()
        return {"noise_level"} | binary | normalizer | ({"filters"} if self.shown is not None else set())

    def denoise(self, x, noise):
        self.noise = noise
        if self.binary_values:
            assert set(x.unique().tolist()) == set(self.binary_values)
        return x

    def inpaint(self, x, mask):
        assert x[mask == 0].unique().tolist() == [0.0]
        return torch.where(mask == 1, x, 1.0)

    def filters(self):
        return self.shown

    def log_normalizer(self):
        return self.log_z


def subject(model, x, info):
    part = Part({info.inputs: x})
    return Subject(model, DataSet("some", info, part, part, part), "test")


def errors(sections):
    (section,) = (one for one in sections if one.title == "Denoising and completion")
    return section, [row[1] for row in section.table[1:]]


def test_errors_of_two_values_are_fractions():
    x = (torch.rand(100, 1, 5, 4, generator=generator("x")) < 0.2).float()
    model = Fixed((-1.0, 1.0))
    section, (noisy, denoised, completed, filled) = errors(
        energy_sections(subject(model, 2 * x - 1, ImageInfo((1, 5, 4), range=(-1.0, 1.0), levels=2)), {})
    )
    assert noisy == denoised
    assert abs(float(noisy.removesuffix(" %")) / 100 - 0.1) < 4 * math.sqrt(0.09 / 2000) + 0.0005
    lower = x[:, :, 3:]  # of five rows, two are hidden; each pixel is black in most images
    assert bool((x.mean(0) < 0.5).all())
    assert completed == f"{100 * float((lower == 0).double().mean()):.1f} %"
    assert filled == f"{100 * float((lower == 1).double().mean()):.1f} %"
    assert model.noise == 0.1
    assert "10 % wrong values" in section.caption
    assert "the lower half hidden" in section.caption
    rows = section.figure.values["images"].view(5, 10, 1, 5, 4)
    assert torch.equal(rows[0], (2 * x - 1)[::10])
    assert torch.equal(rows[3, :, :, 3:], torch.zeros(10, 1, 2, 4))
    assert torch.equal(rows[4, :, :, 3:], torch.ones(10, 1, 2, 4))
    draw(section.figure)


def test_gray_images_of_a_model_of_two_values_are_cut_at_the_middle():
    x = torch.rand(20, 1, 4, 4, generator=generator("gray"))
    section, _ = errors(energy_sections(subject(Fixed((0.0, 1.0)), x, ImageInfo((1, 4, 4))), {}))
    assert torch.equal(section.figure.values["images"][:10], (x >= 0.5).float()[::2])


def test_errors_of_real_values_are_squared_and_rows_have_columns():
    x = torch.randn(100, 5, generator=generator("rows"))
    model, info = Fixed(), TableInfo((5,), range=(-2.0, 3.0))
    section, values = errors(energy_sections(subject(model, x, info), {}))
    noisy, denoised, completed, filled = map(float, values)
    assert model.noise == pytest.approx(0.2 * 5)
    assert noisy == denoised
    assert abs(noisy - 1) < 4 * math.sqrt(2 / 500)
    assert completed == pytest.approx(float((x[:, 3:] - 1).square().mean()), rel=1e-3)
    assert filled == pytest.approx(float(x[:, 3:].var(0, correction=0).mean()), rel=1e-3)
    assert section.figure is None
    assert "the second half of the columns hidden" in section.caption


def test_a_single_column_is_denoised_only():
    section, values = errors(energy_sections(subject(Fixed(), torch.randn(9, 1), TableInfo((1,))), {}))
    assert len(values) == 2
    assert "hidden" not in section.caption


@pytest.mark.parametrize(
    ("log_z", "words", "rows"),
    [
        (LogNormalizer(-2.5, "exact", 0.0, None, 0), "exact for this model", {"log Z": "−2.5 nats", "kind": "exact"}),
        (
            LogNormalizer(7.0, "estimate", 0.125, 88.4, 100, 2000),
            "share the error",
            {"standard error": "0.12 nats", "effective sample size": "88.4 of 100 chains"},
        ),
        (
            LogNormalizer(7.0, "estimate", 1e-6, None, 0),
            "share the error",
            {"kind": "estimate: integral on a grid", "standard error": "1e-06 nats"},
        ),
        (
            LogNormalizer(7.0, "unreliable", None, 1.2, 100),
            "The estimate is unreliable",
            {"kind": "unreliable estimate", "standard error": "unknown", "effective sample size": "1.2 of 100 chains"},
        ),
    ],
)
def test_the_normalizer_is_described(log_z, words, rows):
    sections = energy_sections(subject(Fixed(log_z=log_z), torch.randn(9, 2), TableInfo((2,))), {})
    (section,) = (one for one in sections if one.title == "Normalizer")
    assert words in section.caption
    assert rows.items() <= dict(section.table).items()


def test_filters_are_in_order_of_their_norm_and_symmetric_about_white():
    weights = torch.zeros(120, 1, 2, 2)
    weights[:, 0, 0, 0] = torch.arange(120.0) - 40  # 79 is the largest one, -40 the smallest
    weights[3, 0, 1, 1] = 100.0
    sections = energy_sections(subject(Fixed(filters=weights), torch.rand(9, 1, 2, 2), ImageInfo((1, 2, 2))), {})
    (section,) = (one for one in sections if one.title == "Filters")
    assert "100 of 120 hidden units" in section.caption
    shown = section.figure.values["weights"]
    assert torch.equal(shown[0], weights[3])
    assert shown[1:4, 0, 0, 0].tolist() == [79.0, 78.0, 77.0]
    figure = draw(section.figure)
    page = figure.axes[0].get_images()[0].get_array()
    side = page.shape[0] // 10 - 2  # between the images are gaps of two pixels
    first, second = 2 + side // 4, 2 + side * 3 // 4
    red, green, blue = (int(value) for value in page[second, second])  # the weight 100 of the first filter
    assert red > 80 > max(green, blue)
    red, green, blue = (int(value) for value in page[first, first])  # the weight -37
    assert blue > red + 50
    assert page[first, second].min() > 235  # a weight of 0
    assert figure.axes[1].get_ylim() == (-100.0, 100.0)
    assert len(draw(replace(section.figure, values={"weights": torch.ones(3, 3, 2, 2), "columns": 2})).axes) == 2


def test_chains_are_shown_from_their_start():
    model = RBM((1, 4, 4), hidden=3)
    x = (torch.rand(30, 1, 4, 4, generator=generator("data")) < 0.5).float()
    model.observe(x)
    sections = energy_sections(subject(model, x, ImageInfo((1, 4, 4), levels=2)), {})
    assert [one.title for one in sections] == ["Filters", "Chains over time", "Denoising and completion", "Normalizer"]
    images = sections[1].figure.values["images"].view(8, 10, 1, 4, 4)
    heads = [int(head) for head in sections[1].figure.values["heads"]]
    expected = model.chain_trace(8, heads, generator("report", "chains"))
    assert (heads[:4], heads[-1]) == ([0, 1, 2, 5], 500)
    assert torch.equal(images, expected)
    assert set(images[:, 0].unique().tolist()) == {0.0, 1.0}
    for section in sections:
        if section.figure is not None:
            draw(section.figure)
    again = energy_sections(subject(model, x, ImageInfo((1, 4, 4), levels=2)), {})
    assert again[2].table == sections[2].table


def test_other_models_have_none():
    assert energy_sections(subject(torch.nn.Linear(2, 2), torch.randn(9, 2), TableInfo((2,))), {}) == []


def test_the_report_and_the_pictures_of_a_run(tmp_path):
    run = danlu.train("rbm", rounds=20, evaluate_every=10, model={"hidden": 4}, out=tmp_path / "run", quiet=True).path
    report = (run / "report.html").read_text(encoding="utf-8")
    places = [
        report.index(f">{title}</h2>")
        for title in ("Samples", "Filters", "Chains over time", "Denoising and completion", "Normalizer")
    ]
    assert places == sorted(places)
    names = sorted(path.name for path in (run / "samples").iterdir())
    assert names == [f"round-0000{r}-{kind}.png" for r in (10, 20) for kind in ("reconstructions", "samples")]
