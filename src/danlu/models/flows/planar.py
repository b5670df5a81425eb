"""The planar flow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

from danlu.models.base import FromData
from danlu.models.flows.base import Flow, check_classes
from danlu.nn.transforms.act_norm import ActNorm
from danlu.nn.transforms.planar import Planar
from danlu.nn.transforms.transform import Chain


class PlanarFlow(Flow):
    r"""A chain of planar layers, :math:`z \mapsto z + u \tanh(w^\top z + b)` from codes to examples.

    The layers act on independent normal values, whose means and deviations are learned, and their output is shifted and
    scaled in each dimension. Samples and the density of arbitrary examples are both exact: see ``danlu.nn.Planar``.
    Rezende and Mohamed, "Variational inference with normalizing flows", 2015, section 4.1.

    Args:
        shape: shape of one example.
        layers: number of planar layers.
        classes: number of labels of a class-conditional flow, or 0. A label changes the biases b.
        levels: for images, the number of levels of their values; 0 for other data.
        range: for images, the smallest and the largest level.
        alpha: for images, margin of the logit, see ``danlu.nn.Logit``.

    Raises:
        ValueError: if a number is out of range.

    >>> flow = PlanarFlow((2,), layers=8)
    >>> flow.log_prob(flow.sample(3)).shape
    torch.Size([3])
    """

    def __init__(
        self,
        shape: Sequence[int],
        layers: int = 16,
        classes: Annotated[int, FromData] = 0,
        levels: Annotated[int, FromData] = 0,
        range: Annotated[Sequence[float], FromData] = (0.0, 1.0),
        alpha: float = 0.05,
    ):
        check_classes(classes)
        size = math.prod(shape)
        chain = Chain([ActNorm(size), Planar(size, layers, classes), ActNorm(size)])
        super().__init__(shape, chain, classes, levels, range, alpha)
