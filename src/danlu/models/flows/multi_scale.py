"""The multi-scale architecture of flows of images."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from danlu.nn.dense import check_width
from danlu.nn.transforms.act_norm import ActNorm
from danlu.nn.transforms.batch_norm import BatchNormTransform
from danlu.nn.transforms.coupling import BuildNetwork, Coupling
from danlu.nn.transforms.image_coupling import CheckerboardCoupling, Squeeze
from danlu.nn.transforms.transform import Chain, Transform

FlowNorm = Literal["act", "batch"]


class MultiScale(Transform):
    r"""Couplings of images at several scales; after each scale half of the values become part of the code.

    A scale has couplings in the pattern of a checkerboard, a squeeze to half the height and width, and couplings of the
    channels. The last scale has one checkerboard coupling more, and nothing else. Dinh et al., "Density estimation
    using Real NVP", 2017, section 3.6 and equations 14 to 16.

    Args:
        shape: shape of one image; images and codes are flat, (n, d).
        scales: number of scales.
        couplings: number of couplings with each kind of mask at each scale.
        build: creates the network of a coupling from its numbers of input and output channels.
        norm: normalization before each coupling: "act" or "batch", or None for none.

    Raises:
        ValueError: if the image cannot be halved so often; the message names sizes that can.
    """

    def __init__(
        self, shape: Sequence[int], scales: int, couplings: int, build: BuildNetwork, norm: FlowNorm | None = "act"
    ):
        super().__init__()
        check_width("scales", scales)
        check_width("couplings", couplings)
        channels, height, width = shape
        check_image_size(height, width, scales)
        self.shape, stages, self.kept = tuple(shape), [], []
        for scale in range(scales):
            last = scale == scales - 1
            parts: list[Transform] = []
            for number in range(couplings + last):
                parts += normalization(norm, channels)
                parts.append(CheckerboardCoupling(channels, (height, width), build, number % 2 == 1))
            if not last:
                channels, height, width = 4 * channels, height // 2, width // 2
                parts.append(Squeeze())
                for number in range(couplings):
                    parts += normalization(norm, channels)
                    parts.append(Coupling(channels, build, number % 2 == 1, positions=2))
                channels //= 2
            self.kept.append((channels, height, width))
            stages.append(Chain(parts))
        self.stages = nn.ModuleList(stages)

    def forward(
        self, x: Float[Tensor, "n d"], context: Float[Tensor, "n c"] | None = None
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n"]]:
        """From images to codes: the values of the finest scale come first."""
        total = x.new_zeros(x.shape[0])

        def run(stage: Chain, x: Tensor) -> Tensor:
            nonlocal total
            x, log_det = stage(x, context)
            total = total + log_det
            return x

        return self._codes(x, run), total

    def inverse(
        self, z: Float[Tensor, "n d"], context: Float[Tensor, "n c"] | None = None
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n"]]:
        """From codes to images."""
        *codes, x = self._unflattened(z)
        total = z.new_zeros(z.shape[0])
        for stage in reversed(self.stages):
            if stage is not self.stages[-1]:
                x = torch.cat([codes.pop(), x], 1)
            x, log_det = stage.inverse(x, context)  # type: ignore[operator]
            total = total + log_det
        return x.flatten(1), total

    def initialize(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Initialize each scale with the output of the previous one."""
        return self._codes(x, lambda stage, x: stage.initialize(x, context))

    def _codes(self, x: Tensor, run: Callable[[Chain, Tensor], Tensor]) -> Float[Tensor, "n d"]:
        """Codes of images: after each scale but the last, half of the values become code."""
        x, codes = x.unflatten(1, self.shape), list[Tensor]()
        for stage in self.stages:
            x = run(cast(Chain, stage), x)
            if stage is not self.stages[-1]:
                code, x = x.chunk(2, 1)
                codes.append(code.flatten(1))
        return torch.cat([*codes, x.flatten(1)], 1)

    def _unflattened(self, z: Tensor) -> list[Tensor]:
        """The parts of a code as images."""
        parts = z.split([math.prod(shape) for shape in self.kept], 1)
        return [part.unflatten(1, shape) for part, shape in zip(parts, self.kept, strict=True)]


def normalization(norm: FlowNorm | None, channels: int) -> list[Transform]:
    """The normalization with a name, as a list of one transform; an empty list for None.

    Raises:
        ValueError: if the name is unknown.
    """
    if norm not in ("act", "batch", None):
        raise ValueError(f"norm={norm!r} is unknown; choose act or batch, or None for no normalization")
    return [] if norm is None else [ActNorm(channels) if norm == "act" else BatchNormTransform(channels)]


def check_image_size(height: int, width: int, scales: int) -> None:
    """Check that an image can be halved between the scales, and has at least 2×2 pixels at the last one.

    Raises:
        ValueError: if it cannot; the message names sizes that can.

    >>> check_image_size(30, 28, scales=3)
    Traceback (most recent call last):
    ValueError: scales=3 needs images whose height and width are multiples of 4 and at least 8; got 30×28: use 28×28 or
    32×28, or scales=2
    """
    factor = 2 ** (scales - 1)
    if all(side % factor == 0 and side >= 2 * factor for side in (height, width)):
        return
    least = 2 * factor
    smaller = [max(least, side - side % factor) for side in (height, width)]
    larger = [max(least, side + -side % factor) for side in (height, width)]
    sizes = " or ".join(dict.fromkeys(f"{h}×{w}" for h, w in (smaller, larger)))
    possible = max(
        (k for k in range(1, scales) if all(side % 2 ** (k - 1) == 0 and side >= 2**k for side in (height, width))),
        default=0,
    )
    alternative = f", or scales={possible}" if possible else ""
    raise ValueError(
        f"scales={scales} needs images whose height and width are multiples of {factor} and at least {least}; got "
        f"{height}×{width}: use {sizes}{alternative}"
    )
