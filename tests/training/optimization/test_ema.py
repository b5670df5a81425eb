"""The weight average against its recursion in plain numbers; and that lending it leaves no trace."""

import pytest
import torch
from torch import nn

from danlu.training import Average


def net(dtype=torch.float64):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)).to(dtype)


def wander(module):
    """Other weights and other buffers."""
    with torch.no_grad():
        for tensor in [*module.parameters(), *module.buffers()]:
            tensor.add_(torch.randn_like(tensor) if tensor.is_floating_point() else 1)


def snapshot(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("decay", [0.0, 0.3, 0.9, 0.999])
def test_the_average_equals_its_recursion(decay):
    """a ← d·a + (1 - d)·θ with d = min(decay, (1 + t) / (10 + t)) and t counting from 1, number by number."""
    module = net()
    average = Average(module, decay)
    expected = {name: p.flatten().tolist() for name, p in module.named_parameters()}
    for t in range(1, 21):
        wander(module)
        average.update()
        d = min(decay, (1 + t) / (10 + t))
        for name, p in module.named_parameters():
            now = p.flatten().tolist()
            expected[name] = [d * a + (1 - d) * b for a, b in zip(expected[name], now, strict=True)]
    for name, values in average.parameters.items():
        assert values.flatten().tolist() == pytest.approx(expected[name], abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_in_place_lends_the_average_and_gives_back_bit_for_bit(dtype):
    module = net(dtype)
    average = Average(module, 0.9)
    wander(module)
    average.update()
    wander(module)
    before, places = snapshot(module), [p.data_ptr() for p in module.parameters()]
    kept = {name: value.clone() for name, value in average.parameters.items()}
    with average.in_place():
        for name, value in module.named_parameters():
            assert torch.equal(value, kept[name].to(value.dtype))
            assert not torch.equal(value, before[name])
        for name, value in module.named_buffers():
            assert torch.equal(value, before[name])
    assert same(before, snapshot(module))
    assert places == [p.data_ptr() for p in module.parameters()]  # optimizers hold these tensors
    assert same(kept, average.parameters)


def test_in_place_gives_back_also_when_its_body_fails():
    module = net()
    average = Average(module, 0.9)
    wander(module)
    before = snapshot(module)
    with pytest.raises(ZeroDivisionError), average.in_place():
        1 / 0  # noqa: B018
    assert same(before, snapshot(module))


def test_buffers_that_change_while_the_average_is_lent_keep_their_new_values():
    module = net()
    average = Average(module, 0.9)
    with average.in_place():
        module.train()(torch.randn(8, 3, dtype=torch.float64))
    assert module.get_buffer("1.num_batches_tracked").item() == 1


def test_an_average_of_half_precision_weights_is_kept_in_float32():
    """A step of 1e-3 from 1 is below half of bf16's spacing there (2⁻⁷): an average in bf16 would never leave 1."""
    module = nn.Linear(1, 1, bias=False).bfloat16()
    nn.init.ones_(module.weight)
    average = Average(module, 0.999)
    average.steps = 10_000  # past the rise of the decay
    nn.init.zeros_(module.weight)
    average.update()
    assert average.parameters["weight"].dtype == torch.float32
    assert average.parameters["weight"].item() == pytest.approx(0.999, abs=1e-6)


def test_the_average_is_not_the_weights_themselves():
    module = net()
    average = Average(module, 0.9)
    first = {name: value.clone() for name, value in average.parameters.items()}
    wander(module)
    assert same(first, average.parameters)


def test_a_shared_parameter_is_averaged_once():
    module = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    module[1].weight = module[0].weight
    average = Average(module, 0.5)
    nn.init.zeros_(module[0].weight)
    start = average.parameters["0.weight"].clone()
    average.update()  # d = min(0.5, 2 / 11)
    torch.testing.assert_close(average.parameters, {"0.weight": start * 2 / 11})
    with average.in_place():
        assert torch.equal(module[1].weight, average.parameters["0.weight"])
