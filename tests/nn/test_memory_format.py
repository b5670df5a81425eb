"""Memory formats: another order in memory, the same function, the same files."""

import pytest
import torch
from torch import nn

from danlu.app.inference.load import load
from danlu.data.images.info import ImageInfo
from danlu.models import CNN
from danlu.models.saving.model_folder import save_model
from danlu.nn.memory_format import fastest_format, place, set_format

LAST = torch.channels_last


@pytest.mark.parametrize(("device", "expected"), [("cpu", LAST), ("cuda", torch.contiguous_format)])
def test_only_a_cpu_has_channels_last(device, expected):
    assert fastest_format(torch.device(device)) is expected


@pytest.mark.parametrize("channels", [1, 3])
def test_a_placed_network_computes_the_same_and_its_maps_have_the_format(channels):
    torch.manual_seed(0)
    net = CNN((channels, 9, 12), 4).double()
    x = torch.randn(5, channels, 9, 12, dtype=torch.float64)
    expected = net(x)
    maps = []
    for layer in (net.convolutions[0][0], net.convolutions):
        layer.register_forward_hook(lambda _, __, output: maps.append(output))
    assert place(net, torch.device("cpu")) is net
    torch.testing.assert_close(net(x), expected, rtol=1e-12, atol=1e-12)
    assert [map.is_contiguous(memory_format=LAST) for map in maps] == [True, True]
    assert not any(map.is_contiguous() for map in maps)


def test_files_do_not_depend_on_the_format_and_a_model_for_use_has_the_one_of_the_cpu(tmp_path):
    info = ImageInfo(shape=(3, 9, 12), classes=4)
    net = CNN((3, 9, 12), 4)
    save_model(net, tmp_path / "a", info)
    save_model(net.to(memory_format=LAST), tmp_path / "b", info)
    files = [(tmp_path / name / "model.safetensors").read_bytes() for name in "ab"]
    assert files[0] == files[1]
    loaded = load(tmp_path / "a")
    assert isinstance(loaded, CNN)
    weights = [layer.weight for layer in loaded.modules() if isinstance(layer, nn.Conv2d)]
    assert weights
    assert all(weight.is_contiguous(memory_format=LAST) for weight in weights)


def test_weights_of_other_dimensions_have_one_format():
    net = nn.Sequential(nn.Conv1d(2, 2, 2), nn.Conv3d(2, 2, 2), nn.Linear(2, 2))
    weights = list(net.parameters())
    place(net, torch.device("cpu"))
    assert all(a is b and a.is_contiguous() for a, b in zip(net.parameters(), weights, strict=True))


def test_a_format_is_taken_back():
    net = nn.Conv2d(3, 4, 3)
    before = net.weight.detach().clone()
    set_format(set_format(net, LAST), torch.contiguous_format)
    assert net.weight.is_contiguous()
    assert torch.equal(net.weight, before)


@pytest.mark.parametrize(("channels", "last"), [(4, False), (32, True)])
def test_strided_pointwise_convolutions_of_few_channels_keep_torchs_format(channels, last):
    network = nn.Sequential(nn.Conv2d(3, channels, 3), nn.Conv2d(channels, 8, 1, stride=2))
    set_format(network, torch.channels_last)
    assert network[0].weight.is_contiguous(memory_format=torch.channels_last) == last
    network(torch.randn(16, 3, 10, 10)).sum().backward()
