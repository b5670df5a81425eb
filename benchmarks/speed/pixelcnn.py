"""Sampling of 28×28 binary images from networks of 15 layers with 64 channels: cached beside one pass for each pixel.

What is equal is checked first, in float64: the outputs at all pixels of random images, and the pixels of smaller images
drawn by the same networks from the same random numbers. Naive sampling takes minutes, so one of its 784 passes over
the whole images is timed, and the time is multiplied. All passes compute the same.
"""

from __future__ import annotations

import torch

from benchmarks.harness import Row, alternate, compared, cpu_seconds
from danlu.models import GatedPixelCNN, PixelCNN
from danlu.rng import generator

SIDE, SMALL, LAYERS, CHANNELS, PAIRS, PASSES = 28, 8, 15, 64, 5, {1: 5, 16: 1}
TARGETS = {1: 20, 16: 100}
MODELS: dict[str, type[PixelCNN] | type[GatedPixelCNN]] = {"pixelcnn": PixelCNN, "gated-pixelcnn": GatedPixelCNN}


def run() -> list[Row]:
    """A row for each model and batch size, in seconds of processor time on one thread."""
    torch.set_num_threads(1)
    return [_row(name, n) for name in MODELS for n in TARGETS]


def _network(name: str, side: int) -> PixelCNN | GatedPixelCNN:
    """The network of random weights for images of any size; the same seed gives the same weights."""
    torch.manual_seed(0)
    return MODELS[name]((1, side, side), levels=2, layers=LAYERS, channels=CHANNELS).eval()


@torch.no_grad()
def _row(name: str, n: int) -> Row:
    model, apart = _network(name, SIDE), _apart(name)
    x = torch.rand(n, 1, SIDE, SIDE, generator=generator("images", n)).round()
    pixels = SIDE * SIDE

    def passes() -> None:
        for _ in range(PASSES[n]):
            model(x)

    naive = lambda: cpu_seconds(passes) / PASSES[n] * pixels  # noqa: E731
    found = compared(alternate(naive, lambda: cpu_seconds(lambda: model.sample(n)), PAIRS))
    return Row(
        name=f"{name}-sampling-{n}",
        peer=f"a pass over whole images for each pixel, torch {torch.__version__}",
        unit="s",
        **found,
        target=f"at least {TARGETS[n]} times as fast, with equal pixels",
        met=found["ratio"] >= TARGETS[n] and apart <= 1e-12 and _same_pixels(name),
        notes=f"batch of {n}; in float64 the outputs are {apart:.0e} apart, and the pixels are equal",
    )


def _apart(name: str) -> float:
    """The largest difference of the outputs of both ways at all pixels of two images."""
    model = _network(name, SIDE).double()
    y = torch.rand(2, 1, SIDE, SIDE, generator=generator("images"), dtype=torch.float64).round() * 2 - 1
    expected, cached, differences = model.compute_outputs(y, None), model.cached_conditionals(2, None), []
    for row in range(SIDE):
        cached.start_row(row)
        for column in range(SIDE):
            outputs = cached.outputs(column, 0)
            differences.append((outputs - expected[:, 0, :, row, column]).abs().max())
            cached.write(column, 0, y[:, 0, row, column])
    return float(torch.stack(differences).max())


def _same_pixels(name: str) -> bool:
    """Whether both ways draw the same images from the same random numbers."""
    model = _network(name, SMALL).double()
    fast, slow = (model.sample(4, generator=generator("noise"), cached=cached) for cached in (True, False))
    return torch.equal(fast, slow)
