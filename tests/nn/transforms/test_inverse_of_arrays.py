"""The sequential direction in NumPy is that of torch, and it is used only where NumPy can read the tensors."""

import warnings

import pytest
import torch
from torch import nn

from danlu.nn import MADE, Affine, Autoregressive, Gate
from danlu.nn.transforms import autoregressive

SIZE = 70  # three groups of degrees


def layer_of(hidden=(90,), bound=7.0, **settings):
    torch.manual_seed(0)
    layer = Autoregressive(MADE(SIZE, 2, hidden, **settings), Affine(bound)).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(torch.randn_like(parameter) / 50)
    return layer


def both(layer, z, context, monkeypatch):
    """The results of NumPy, then those of torch."""
    calls = []
    of_arrays = MADE.generate_arrays
    monkeypatch.setattr(MADE, "generate_arrays", lambda *values: calls.append(1) or of_arrays(*values))
    arrays = layer.inverse(z, context)
    assert calls
    monkeypatch.setattr(autoregressive, "FEW_ROWS", 0)
    tensors = layer.inverse(z, context)
    assert len(calls) == 1
    return arrays, tensors


@pytest.mark.parametrize("n", [1, 5])
@pytest.mark.parametrize("bound", [7.0, None])
@pytest.mark.parametrize(
    "settings",
    [
        {"hidden": ()},
        {"hidden": (90,)},
        {"hidden": (40, 90)},  # a layer with fewer units than entries
        {"hidden": (90, 90), "residual": True},
        {"hidden": (90, 90), "context": 3},
        {"hidden": (90, 90), "degrees": "random"},
    ],
    ids=str,
)
def test_values_and_log_determinants_are_those_of_tensors(settings, bound, n, monkeypatch):
    layer = layer_of(bound=bound, **settings)
    z = torch.randn(n, SIZE, dtype=torch.float64)
    context = torch.randn(n, 3, dtype=torch.float64) if "context" in settings else None
    with torch.no_grad():
        arrays, tensors = both(layer, z, context, monkeypatch)
        again, log_det = layer(arrays[0], context)
    torch.testing.assert_close(arrays, tensors, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close((again, -log_det), (z, arrays[1]), rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_values_that_overflow_are_those_of_tensors_without_a_warning(monkeypatch):
    layer = layer_of(bound=None)
    layer.conditioner.output.bias.view(-1, 2)[:, 1] = 300
    z = torch.full((2, SIZE), 1e200, dtype=torch.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        arrays, tensors = both(layer, z, None, monkeypatch)
    finite = tensors[0].isfinite().long().cumprod(1).bool()  # what follows an infinite entry is arbitrary
    assert not finite.all()
    assert arrays[0].isfinite().long().cumprod(1).bool().equal(finite)
    torch.testing.assert_close(arrays[0][finite], tensors[0][finite])


def test_with_single_precision_the_result_has_it():
    x, log_det = layer_of().float().inverse(torch.zeros(2, SIZE))
    assert x.dtype == log_det.dtype == torch.float32


def test_only_relu_of_one_plain_type_on_a_cpu_is_computed_in_numpy():
    relu, x = layer_of().conditioner, torch.zeros(1, SIZE, dtype=torch.float64)
    assert relu.takes_arrays(x)
    assert not layer_of(activation="tanh").conditioner.takes_arrays(x)
    assert not relu.takes_arrays(x.float())
    assert not relu.takes_arrays(x.to("meta"))
    assert not relu.takes_arrays(nn.Parameter(x))
    assert not torch.func.vmap(lambda row: row + relu.takes_arrays(row[None]))(x).any()
    assert not layer_of().to(torch.bfloat16).conditioner.takes_arrays(x.bfloat16())


def test_functions_without_such_a_form_are_computed_by_torch():
    assert Gate().inverse_of_arrays(torch.zeros(3, 2).numpy(), torch.zeros(3, 2).numpy()) is None
    torch.manual_seed(0)
    layer = Autoregressive(MADE(SIZE, 2, (90,)), Gate()).double()
    x = torch.randn(2, SIZE, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(layer.inverse(layer(x)[0])[0], x)
