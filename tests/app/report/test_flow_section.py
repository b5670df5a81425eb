"""The section on the density of points in the plane, for a model with a known map."""

import math
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from torch import nn

from danlu.app.report.figures.all_figures import draw
from danlu.app.report.figures.style import to_svg
from danlu.app.report.sections.flow import SIDE, flow_sections
from danlu.app.report.sections.latent import model_sections
from danlu.data import DataSet, Part, spread_over
from danlu.data.images.info import ImageInfo
from danlu.data.tables.info import TableInfo
from danlu.evaluation import Subject
from danlu.models import MAF
from danlu.models.base import Model
from danlu.models.flows.base import Flow
from danlu.nn import ActNorm

INFO = TableInfo((2,), columns=("length", "width"), shift=(5.0, 1.0), scale=(2.0, 0.5))


class Bent(Model):
    """x = (z₀, z₁ + z₀² / 2): the Jacobian is 1."""

    capabilities = frozenset({"density"})

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def log_prob(self, x):
        z = torch.stack([x[:, 0], x[:, 1] - x[:, 0] ** 2 / 2], 1)
        return -z.square().sum(1) / 2 - math.log(2 * math.pi)

    def decode(self, z):
        return torch.stack([z[:, 0], z[:, 1] + z[:, 0] ** 2 / 2], 1)

    def prior(self, n):
        return torch.randn(n, 2)


def subject(model: Model, info: TableInfo = INFO, n: int = 50) -> Subject:
    part = Part({"x": torch.randn(n, info.shape[0], generator=torch.Generator().manual_seed(0))})
    return Subject(model, DataSet("made up", info, part, part, part), "test")


def test_density_and_grid_are_in_the_units_of_the_file():
    (section,) = flow_sections(subject(Bent()), {})
    values = section.figure.values
    (left, bottom), (right, top) = values["corners"].tolist()
    x = torch.tensor([left + (right - left) * 40 / (SIDE - 1), bottom + (top - bottom) * 100 / (SIDE - 1)])
    z = (x - torch.tensor(INFO.shift)) / torch.tensor(INFO.scale)
    assert float(values["density"][100, 40]) == pytest.approx(float(Bent().log_prob(z[None]).exp()) / (2 * 0.5), 1e-4)
    data = values["data"]
    assert (data >= values["corners"][0]).all()
    assert (data <= values["corners"][1]).all()
    lines = (values["grid"] - torch.tensor(INFO.shift)) / torch.tensor(INFO.scale)
    latents = torch.stack([lines[..., 0], lines[..., 1] - lines[..., 0] ** 2 / 2], -1)
    half = len(latents) // 2
    torch.testing.assert_close(latents[:half, :, 0].std(1), torch.zeros(half), atol=1e-4, rtol=0)
    torch.testing.assert_close(latents[half:, :, 1].std(1), torch.zeros(half), atol=1e-4, rtol=0)
    assert latents.amin().item() == pytest.approx(-3, abs=1e-4)
    assert latents.amax().item() == pytest.approx(3, abs=1e-4)


def test_the_density_is_normalized_on_its_rectangle():
    (section,) = flow_sections(subject(Bent(), n=2000), {})
    values = section.figure.values
    (left, bottom), (right, top) = values["corners"].tolist()
    cell = (right - left) * (top - bottom) / (SIDE - 1) ** 2
    assert 0.9 < float(values["density"].sum()) * cell < 1.001


def test_the_figure_shows_names_and_both_panels():
    (section,) = flow_sections(subject(Bent()), {})
    figure = draw(section.figure)
    assert len(figure.axes) == 2
    assert {axes.get_xlabel() for axes in figure.axes} == {"length"}
    image = np.asarray(figure.axes[0].get_images()[0].get_array())
    np.testing.assert_array_equal(image, section.figure.values["density"].numpy())
    ElementTree.fromstring(to_svg(figure, "f", "density"))


def test_rows_with_another_number_of_columns_and_models_without_density_have_no_such_section():
    class Plain(Bent):
        capabilities = frozenset()

    assert flow_sections(subject(Plain()), {}) == []
    assert flow_sections(subject(Bent(), TableInfo((3,))), {}) == []


def test_images_of_a_flow_have_a_walk_and_no_traversals():
    """The first image of the walk is the first anchor, of the row and the column at a right angle the others."""
    flow, images = Flow((1, 3, 3), ActNorm(9), levels=5), torch.randint(5, (8, 1, 3, 3)) / 4
    info, part = ImageInfo((1, 3, 3), levels=5), Part({"image": images})
    sections = {section.title: section for section in model_sections(flow, part, "test", info)}
    assert list(sections) == ["Samples", "Latent walk"]
    walk = sections["Latent walk"].figure.values["images"].view(8, 8, 1, 3, 3)
    anchors = spread_over(part, 4)["image"]
    for row, column, anchor in ((0, 0, 0), (0, 2, 1), (2, 0, 2), (2, 2, 3)):
        torch.testing.assert_close(walk[row, column], anchors[anchor])


def test_the_latent_map_of_a_flow_in_the_plane_is_shown_and_of_more_columns_is_not():
    for columns, titles in ((2, ["Samples", "Latent map"]), (3, ["Samples"])):
        part = Part({"x": torch.randn(30, columns)})
        sections = model_sections(Flow((columns,), ActNorm(columns)), part, "test", TableInfo((columns,)))
        assert [section.title for section in sections] == titles


def test_small_units_do_not_make_the_density_infinite():
    info = TableInfo((2,), shift=(0.0, 0.0), scale=(1e-27, 1e-19))
    (section,) = flow_sections(subject(Bent(), info), {})
    assert section.figure.values["density"].isfinite().all()


def test_a_class_conditional_flow_has_a_map_for_each_class_and_so_no_grid():
    flow = MAF((2,), classes=2)
    (section,) = flow_sections(subject(flow), {})
    assert section.figure.values["grid"] is None
    assert len(draw(section.figure).axes) == 1
