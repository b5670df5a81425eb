"""Filled polygons as gray images: the value of a pixel is the fraction of its area that is covered."""

from __future__ import annotations

import torch
from jaxtyping import Float64, Int
from torch import Tensor


def fill_polygons(
    edges: Float64[Tensor, "edges 2 2"], owner: Int[Tensor, "edges"], images: int, size: tuple[int, int]
) -> Float64[Tensor, "images height width"]:
    r"""Fill polygons, many images at once, without sampling.

    The coverage of a pixel is the integral, over the boundary, of the part of the pixel that is to the right of the
    boundary (Green's theorem):

    .. math:: \Big| \oint \min(1, \max(0, j + 1 - x)) \, dy \Big|

    where j is the column of the pixel and y runs over its row. Edges are cut at the borders of pixels. A piece inside
    of one pixel contributes a trapezoid to this pixel, and its height to all pixels to the right of it.

    A polygon can have several closed contours; a contour of the opposite direction is a hole. Where contours of the
    same direction overlap, the sum is limited to 1.

    Args:
        edges: start and end of each edge as (x, y), in pixels from the upper left corner of the image; inside of the
            image. The edges of an image are closed contours, in any order.
        owner: the number of the image of each edge.
        images: number of images.
        size: height and width in pixels.

    Returns:
        Images with values from 0 to 1.

    Raises:
        ValueError: if an edge is outside of the image.

    >>> corners = torch.tensor([[0.5, 0.0], [2.0, 0.0], [2.0, 1.0], [0.5, 1.0]], dtype=torch.float64)
    >>> edges = torch.stack([corners, corners.roll(-1, 0)], dim=1)
    >>> fill_polygons(edges, torch.zeros(4, dtype=torch.long), images=1, size=(1, 3))
    tensor([[[0.5000, 1.0000, 0.0000]]], dtype=torch.float64)
    """
    height, width = size
    x, y = edges.permute(2, 1, 0).contiguous()
    if len(edges) and not (min(x.amin(), y.amin()) >= 0 and x.amax() <= width and y.amax() <= height):
        raise ValueError(f"the edges must be inside of the image of {height}×{width} pixels")
    left, right, rise, row = _rows(x, y, owner * height)
    piece, column = _cells(left, right)
    column.clamp_(max=width - 1)  # a vertical piece on the right border covers nothing
    left, right, run = left[piece], right[piece], (right - left)[piece]
    begin, end = torch.maximum(left, column), torch.minimum(right, column + 1)
    rise = rise[piece] * torch.where(run > 0, (end - begin) / run, 1.0)
    after = rise * ((begin + end) / 2 - column)  # the part of the height that counts from the next column on
    cell = column.add_(row[piece], alpha=width + 1)
    steps = edges.new_zeros(images * height * (width + 1))
    steps.index_add_(0, cell, rise - after).index_add_(0, cell + 1, after)
    return steps.view(images, height, width + 1).cumsum(-1)[..., :width].abs_().clamp_(max=1)


def _rows(
    x: Float64[Tensor, "2 edges"], y: Float64[Tensor, "2 edges"], offset: Int[Tensor, "edges"]
) -> tuple[Float64[Tensor, "pieces"], Float64[Tensor, "pieces"], Float64[Tensor, "pieces"], Int[Tensor, "pieces"]]:
    """Cut edges at the borders of rows: smallest and largest x, height with sign, and row of each piece.

    Horizontal edges, over which the integral is 0, are left out.

    Args:
        x: start and end of each edge.
        y: start and end of each edge.
        offset: a number that is added to the rows of each edge.
    """
    used = (y[0] != y[1]).nonzero().flatten()
    (x0, x1), (y0, y1) = x[:, used], y[:, used]
    slope, sign = (x1 - x0) / (y1 - y0), (y1 - y0).sign()
    top, bottom = torch.minimum(y0, y1), torch.maximum(y0, y1)
    edge, row = _cells(top, bottom)
    begin, end = torch.maximum(top[edge], row), torch.minimum(bottom[edge], row + 1)
    x0, y0, slope = x0[edge], y0[edge], slope[edge]
    one, other = x0 + (begin - y0) * slope, x0 + (end - y0) * slope
    low, high = (torch.minimum, torch.maximum)
    smallest, largest = low(x0, x1[edge]), high(x0, x1[edge])  # rounding must not leave the edge
    left, right = high(low(one, other), smallest), low(high(one, other), largest)
    return left, right, (end - begin) * sign[edge], row.add_(offset[used][edge])


def _cells(
    low: Float64[Tensor, "intervals"], high: Float64[Tensor, "intervals"]
) -> tuple[Int[Tensor, "cells"], Int[Tensor, "cells"]]:
    """The cells [k, k + 1] that each interval passes, at least one: the number of the interval, and k."""
    first = low.floor()
    count = (high.ceil() - first).clamp_(min=1).long()
    interval = torch.arange(len(low)).repeat_interleave(count)
    start = first.long() - count.cumsum(0).sub_(count)
    return interval, start[interval].add_(torch.arange(len(interval)))
