"""The check of the values of examples, and the verbs of flows that use it."""

import math

import pytest
import torch
from torch import nn

from danlu.models import IAF, MAF, PixelCNN, PlanarFlow, RealNVP
from danlu.models.finite_values import finite_extremes

FLOWS = {
    "planar": lambda **more: PlanarFlow((3,), layers=2, **more),
    "realnvp": lambda **more: RealNVP((3,), couplings=2, hidden=(8,), **more),
    "maf": lambda **more: MAF((3,), blocks=2, hidden=(8,), **more),
    "maf with a mixture": lambda **more: MAF((3,), blocks=1, hidden=(8,), mixture=2, **more),
    "iaf": lambda **more: IAF((3,), blocks=2, hidden=(8,), **more),
    "images": lambda **more: RealNVP((1, 4, 4), couplings=1, width=4, blocks=1, levels=5, **more),
}
every_flow = pytest.mark.parametrize("kind", FLOWS)
every_value = pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
WRONG = r"example 2 of 4, counted from 0, has a value that is NaN or infinite; all values must be finite"


def examples(shape, value=0.5):
    """Four examples, and in the third one a value."""
    x = torch.rand(4, *shape, generator=torch.Generator().manual_seed(0))
    x[2].view(-1)[1] = value
    return x


@every_flow
@every_value
@pytest.mark.parametrize("verb", ["log_prob", "energy", "encode"])
@pytest.mark.parametrize("classes", [0, 2])
def test_values_that_are_not_finite_are_refused_with_their_example(kind, value, verb, classes):
    flow = FLOWS[kind](classes=classes).eval()
    for mode in (flow.eval(), flow.train()):
        with pytest.raises(ValueError, match=WRONG):
            getattr(mode, verb)(examples(flow.shape, value))
        assert getattr(mode, verb)(examples(flow.shape)).isfinite().all()


@every_flow
def test_an_interpolation_refuses_such_values_too(kind):
    flow = FLOWS[kind]().eval()
    with pytest.raises(ValueError, match=WRONG):
        flow.interpolate(examples(flow.shape), examples(flow.shape, math.nan), 3)


def test_the_extremes_of_values():
    assert finite_extremes(nn.Identity(), examples((2, 3), -4.0))[0] == -4.0
    assert finite_extremes(nn.Identity(), examples((2, 3), 9.0))[1] == 9.0


@pytest.mark.parametrize(
    ("x", "why"),
    [
        (torch.full((2, 3), math.nan, requires_grad=True), "another model computes them"),
        (torch.full((2, 3), math.nan, device="meta"), "there are no values"),
        (torch.zeros(0, 3), "no examples"),
    ],
)
def test_values_that_are_not_read(x, why):
    assert finite_extremes(nn.Identity(), x) is None


def test_a_function_of_single_examples_can_be_mapped_over_a_batch():
    flow, x = FLOWS["maf"]().double().eval(), examples((3,)).double()
    each = torch.func.vmap(lambda row: flow.log_prob(row[None])[0])(x)
    torch.testing.assert_close(each, flow.log_prob(x))


@pytest.mark.unchecked
@pytest.mark.parametrize("kind", [*(kind for kind in FLOWS if kind != "iaf"), "pixels"])
def test_gradients_of_the_parameters_for_each_example(kind):
    """The usual combination of ``torch.func``: vmap of grad. The density of IAF has no derivatives there."""
    pixels = {"pixels": lambda: PixelCNN((1, 4, 4), layers=1, channels=4, levels=5)}
    model = {**FLOWS, **pixels}[kind]().double().eval()
    x = examples(model.shape).double()
    parameters = {name: value.detach() for name, value in model.named_parameters()}

    def log_prob(parameters, one):
        return torch.func.functional_call(LogProb(model), (parameters,), (one[None],))[0]

    parameters = {f"model.{name}": value for name, value in parameters.items()}
    found = torch.func.vmap(torch.func.grad(log_prob), (None, 0))(parameters, x)
    for number, one in enumerate(x):
        expected = torch.autograd.grad(model.log_prob(one[None]).sum(), list(model.parameters()))
        torch.testing.assert_close([value[number] for value in found.values()], list(expected), rtol=1e-8, atol=1e-10)


class LogProb(nn.Module):
    """The verb as the ``forward`` that ``functional_call`` needs."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model.log_prob(x)
