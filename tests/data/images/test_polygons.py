"""Filled polygons have the covered area of each pixel: closed forms, and the test of points of another library."""

import math

import numpy as np
import pytest
import torch
from matplotlib.path import Path

from danlu.data.images.polygons import fill_polygons


def contour(*points):
    """The edges of a closed contour."""
    corners = torch.from_numpy(np.array(points, dtype=np.float64))
    return torch.stack([corners, corners.roll(-1, 0)], dim=1)


def filled(edges, size=(8, 9)):
    return fill_polygons(edges, torch.zeros(len(edges), dtype=torch.long), 1, size)[0]


def rectangle(left, top, right, bottom):
    return contour((left, top), (right, top), (right, bottom), (left, bottom))


def overlap(low, high, count):
    """How much of each interval [k, k + 1] is between two numbers."""
    starts = torch.arange(count, dtype=torch.float64)
    return (high - starts).clamp(0, 1) - (low - starts).clamp(0, 1)


def star(seed, corners=11):
    """A star-shaped polygon with random radii about a point, so it does not cross itself."""
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * math.pi, corners))
    radii = rng.uniform(0.5, 3.5, corners)
    center = rng.uniform(3.6, 4.4, 2)
    return center + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)


@pytest.mark.parametrize(
    "box", [(0.25, 0.5, 3.75, 2.125), (1, 2, 4, 5), (2.3, 3.3, 2.6, 3.4), (0, 0, 9, 8), (4, 0.5, 5.5, 8)]
)
@pytest.mark.parametrize("reverse", [False, True])
def test_a_rectangle_has_the_product_of_its_overlaps(box, reverse):
    edges = rectangle(*box)
    found = filled(edges.flip(0, 1) if reverse else edges)
    expected = overlap(box[1], box[3], 8)[:, None] * overlap(box[0], box[2], 9)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-14)


def test_a_triangle_over_the_diagonal_covers_half_of_the_pixels_on_it():
    found = filled(contour((0, 0), (4, 4), (0, 4)), (4, 4))
    torch.testing.assert_close(found, torch.ones(4, 4).tril(-1).double() + 0.5 * torch.eye(4), rtol=0, atol=1e-14)


def test_a_line_across_a_pixel_leaves_the_area_of_the_formula():
    """Below the line from (0, a) to (1, b), a pixel has the area 1 - (a + b) / 2."""
    for a, b in ((0.1, 0.9), (0.5, 0.5), (0.75, 0.0)):
        assert filled(contour((0, a), (1, b), (1, 1), (0, 1)), (1, 1)).item() == pytest.approx(
            1 - (a + b) / 2, abs=1e-14
        )


@pytest.mark.parametrize("seed", range(8))
def test_the_sum_is_the_area_of_the_polygon(seed):
    points = star(seed)
    x, y = points.T
    area = abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2
    assert filled(contour(*points)).sum().item() == pytest.approx(area, abs=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_each_pixel_is_the_fraction_of_its_points_that_are_inside(seed):
    """The points are a grid of 64×64 in each pixel; matplotlib says which are inside."""
    points, fine = star(seed), 64
    grid = (np.arange(8 * fine) + 0.5) / fine
    inside = Path(points).contains_points(np.stack(np.meshgrid(grid, grid), -1).reshape(-1, 2))
    fraction = inside.reshape(8, fine, 8, fine).mean((1, 3))
    # an edge passes at most 2 · 64 cells of a pixel, and each is counted wrong by half of a cell at most, mostly less
    assert np.abs(filled(contour(*points), (8, 8)).numpy() - fraction).max() < 1 / fine


def test_a_contour_of_the_opposite_direction_is_a_hole():
    outer, inner = rectangle(1, 1, 7, 7), rectangle(2.5, 2.5, 5.5, 5.5).flip(0, 1)
    expected = filled(outer) - filled(inner)
    torch.testing.assert_close(filled(torch.cat([outer, inner])), expected, rtol=0, atol=1e-14)


def test_an_overlap_of_the_same_direction_is_counted_once():
    edges = torch.cat([rectangle(1, 1, 5, 5), rectangle(3, 3, 7, 7)])
    expected = torch.maximum(filled(rectangle(1, 1, 5, 5)), filled(rectangle(3, 3, 7, 7)))
    torch.testing.assert_close(filled(edges), expected, rtol=0, atol=1e-14)


def test_images_are_independent_of_each_other_and_of_the_order_of_edges():
    polygons = [contour(*star(seed, corners)) for seed, corners in ((0, 5), (1, 9), (2, 3))]
    owner = torch.cat([torch.full((len(edges),), number) for number, edges in enumerate(polygons)])
    order = torch.randperm(len(owner), generator=torch.Generator().manual_seed(0))
    together = fill_polygons(torch.cat(polygons)[order], owner[order], 4, (8, 9))
    for number, edges in enumerate(polygons):
        torch.testing.assert_close(together[number], filled(edges), rtol=0, atol=1e-13)
    assert not together[3].any()


def test_no_edges_are_empty_images():
    empty = torch.empty(0, 2, 2, dtype=torch.float64), torch.empty(0, dtype=torch.long)
    torch.testing.assert_close(fill_polygons(*empty, 2, (3, 4)), torch.zeros(2, 3, 4, dtype=torch.float64))
    assert fill_polygons(*empty, 0, (3, 4)).shape == (0, 3, 4)


@pytest.mark.parametrize("box", [(-0.1, 0, 1, 1), (0, 0, 9.1, 1), (0, 0, 1, 8.5), (0, 0, math.nan, 1)])
def test_edges_outside_of_the_image_are_refused(box):
    with pytest.raises(ValueError, match="the edges must be inside of the image of 8×9 pixels"):
        filled(rectangle(*box))
