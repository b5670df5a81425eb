"""Bits per dimension do not depend on the units of pixels, on padding below, or on invertible preprocessing."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from danlu.data import Batch
from danlu.data.images.info import ImageInfo
from danlu.data.tables.info import TableInfo
from danlu.models import IAF, MAF, Flow, GatedPixelCNN, PixelCNN, PlanarFlow, RealNVP
from danlu.nn import ActNorm, Chain, Coupling, CouplingMLP, Transform
from danlu.tasks import Likelihood, Place

DOUBLE = torch.float64
INFO = ImageInfo((1, 4, 4), levels=5)
MODELS = {
    "planar": lambda shape, **more: PlanarFlow(shape, layers=3, **more),
    "realnvp": lambda shape, **more: RealNVP(shape, couplings=1, width=4, blocks=1, **more),
    "maf": lambda shape, **more: MAF(shape, blocks=2, hidden=(20,), **more),
    "iaf": lambda shape, **more: IAF(shape, blocks=2, hidden=(20,), **more),
    **{
        f"pixelcnn, {output}": lambda shape, output=output, **more: PixelCNN(
            shape, layers=2, channels=6, first_kernel=3, output=output, **more
        )
        for output in ("categorical", "logistic", "affine")
    },
    "gated": lambda shape, **more: GatedPixelCNN(shape, layers=2, channels=6, first_kernel=3, **more),
}


def randomized(model):
    """The model in float64 with random parameters; those of models of one class are the same."""
    source = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.double().parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=source, dtype=DOUBLE))
    return model.eval()


def model_of(kind, info):
    torch.manual_seed(0)
    return randomized(MODELS[kind](info.shape, levels=info.levels, range=info.range))


def levels(shape=(1, 4, 4), n=6):
    return torch.randint(5, (n, *shape), generator=torch.Generator().manual_seed(1)).double()


def scores(model, x, info):
    task = Likelihood(model, info)
    task.enter(Place(0, 0, 0, slice(0, len(x)), len(x), torch.device("cpu"), DOUBLE))
    return task.scores(Batch({info.inputs: x}, slice(0, len(x)), len(x), torch.arange(len(x))))


@torch.no_grad()
@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("range", [(0.0, 255.0), (-1.0, 1.0), (3.0, 3.5)])
def test_the_scale_of_pixels_does_not_change_them(kind, range):
    """The same network, the same levels, other numbers for them."""
    low, high = range
    other, x = replace(INFO, range=range), levels() / 4
    first, second = (
        scores(model_of(kind, info), values, info)["bits_per_dimension"]
        for info, values in ((INFO, x), (other, low + (high - low) * x))
    )
    torch.testing.assert_close(first, second, rtol=0, atol=1e-6)
    assert first.std() > 1e-3


@torch.no_grad()
@pytest.mark.parametrize("kind", ["planar", "realnvp", "maf", "iaf"])
def test_the_logit_of_pixels_is_a_change_of_variables(kind):
    """The transform of logits that are computed outside of the flow, with the derivative of autograd."""
    flow, x = model_of(kind, INFO), ((levels() + 0.3) / 4).requires_grad_()
    alpha = flow.arguments["alpha"]
    with torch.enable_grad():
        y = alpha + (1 - 2 * alpha) * x / 1.25  # from 0 to 1 + Δ
        logits = y.log() - (-y).log1p()
        (slope,) = torch.autograd.grad(logits.sum(), x)
    z, log_det = flow.transform(logits.detach().flatten(1))
    normal = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(1)
    by_hand = normal + log_det + slope.log().flatten(1).sum(1)
    torch.testing.assert_close(flow.log_prob(x.detach()), by_hand, rtol=0, atol=1e-9)


@torch.no_grad()
def test_standardized_columns_have_the_score_of_a_flow_that_standardizes_them_itself():
    source = torch.Generator().manual_seed(2)
    y = torch.randn(6, 3, generator=source, dtype=DOUBLE) * torch.tensor([30.0, 0.1, 2.0]) + torch.tensor([5.0, 0, -9])
    shift, scale = (5.0, 1.0, -8.0), (20.0, 0.2, -3.0)
    shifts, scales = (torch.tensor(values, dtype=DOUBLE) for values in (shift, scale))
    coupling, norm = Coupling(3, CouplingMLP), ActNorm(3).double()
    inner = randomized(Flow((3,), coupling))
    norm.shift.copy_(shifts)
    norm.log_scale.copy_(-scales.abs().log())
    raw = TableInfo((3,), columns=("a", "b", "c"))
    standardized = replace(raw, shift=shift, scale=scale)
    z = (y - shifts) / scales
    outer = Flow((3,), Chain([norm, _Signs(scales.sign()), coupling])).double().eval()
    first, second = scores(inner, z, standardized), scores(outer, y, raw)
    torch.testing.assert_close(first["log_prob"], second["log_prob"], rtol=0, atol=1e-6)


class _Signs(Transform):
    """A change of signs, with a log-determinant of 0."""

    def __init__(self, signs):
        super().__init__()
        self.signs = signs

    def forward(self, x, context=None):
        return x * self.signs, x.new_zeros(len(x))


@torch.no_grad()
@pytest.mark.parametrize("kind", [name for name in MODELS if "pixelcnn" in name or name == "gated"])
def test_rows_of_zeros_below_do_not_change_the_bits_of_the_pixels_above(kind):
    """Bits are divided by the pixels of the user, and padding that follows them has no influence on them."""
    x, padded_info = levels() / 4, replace(INFO, shape=(1, 7, 4))
    padded = nn.functional.pad(x, (0, 0, 0, 3))
    nats = []
    for info, images in ((INFO, x), (padded_info, padded)):
        model = model_of(kind, info)
        pixels = model._pixel_log_probs(model._values(images), None)[:, :4]
        nats.append(pixels.flatten(1).sum(1))
    bits = [-values / (16 * math.log(2)) for values in nats]
    torch.testing.assert_close(*bits, rtol=0, atol=1e-6)
    plain = scores(model_of(kind, INFO), x, INFO)
    if kind != "pixelcnn, affine":
        torch.testing.assert_close(bits[0], plain["bits_per_dimension"], rtol=0, atol=1e-9)
