"""Figures of a data set: points keep their proportions, images their shape and their place."""

import pytest
import torch

from danlu.app.report.figures import data
from danlu.app.report.figures.image_page import image_page, show_image


def test_points_have_one_scale_on_both_axes():
    figure = data.points(torch.rand(6, 2), torch.arange(6) % 2, ("x", "y"), ("a", "b"))
    assert figure.axes[0].get_aspect() == 1
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["a", "b"]  # type: ignore[union-attr]


def test_a_legend_has_the_names_that_start_with_an_underscore():
    figure = data.points(torch.rand(6, 2), torch.arange(6) % 3, ("_x", "y"), ("_a", "b\x1b", "$c$"))
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["_a", r"b\x1b", "$c$"]  # type: ignore[union-attr]


def test_images_of_a_class_stand_in_its_row_and_keep_their_shape():
    images = [torch.rand(3, 1, 4, 8), torch.rand(2, 1, 4, 8)]
    axes = data.samples(images, ("a", "b"), (0.0, 1.0)).axes[0]
    assert [text.get_text() for text in axes.texts] == ["a", "b"]
    extents = [image.get_extent() for image in axes.images]
    assert len(extents) == 5
    for left, right, bottom, top in extents:
        assert (right - left) / (bottom - top) == pytest.approx(2.0)
    tops = [top for *_, top in extents]
    assert tops[0] == tops[1] == tops[2] < tops[3] == tops[4]
    lefts = [left for left, *_ in extents]
    assert lefts[0] < lefts[1] < lefts[2]
    assert lefts[:2] == lefts[3:]


def test_without_classes_rows_have_ten_images():
    axes = data.samples([torch.rand(23, 3, 4, 4)], ("",), (0.0, 1.0)).axes[0]
    assert len({image.get_extent()[3] for image in axes.images}) == 3


def test_an_image_is_shown_in_its_range_of_values():
    _, axes = image_page(2.0, 1.0)
    show_image(axes, torch.tensor([[[-1.0, 0.0, 1.0, 3.0]]]), (-1.0, 1.0), 0.0, 0.0, 2.0, 1.0)
    assert axes.images[0].get_array().squeeze().tolist() == [0.0, 0.5, 1.0, 1.0]  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="1 or 3 channels, got 2"):
        show_image(axes, torch.rand(2, 4, 4), (0.0, 1.0), 0.0, 0.0, 1.0, 1.0)
