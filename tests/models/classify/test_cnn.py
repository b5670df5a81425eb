"""The convolutional network: sizes, receptive field, the notes' vertical-line kernel, and what is refused."""

from itertools import product

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from danlu.models import CNN

LINE = torch.tensor([[-1.0, 1.0, -1.0]] * 3)


@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("pool", [1, 2, 3])
def test_the_features_are_as_large_as_torch_makes_them(kernel, stride, pool):
    built = 0
    for padding, height, width in product((0, 1, 2), (6, 11, 120), (9, 121)):
        settings = {"channels": (2, 3), "kernel": kernel, "stride": stride, "padding": padding, "pool": pool}
        try:
            net = CNN((1, height, width), 4, hidden=(), **settings)
        except ValueError:
            with pytest.raises(RuntimeError):
                _plain(kernel, stride, padding, pool)(torch.zeros(1, 1, height, width))
        else:
            real = _plain(kernel, stride, padding, pool)(torch.zeros(1, 1, height, width)).shape[1:]
            assert net.features_shape == tuple(real)
            assert net(torch.zeros(2, 1, height, width)).shape == (2, 4)
            built += 1
    assert built  # the grid is not one of refusals only


def _plain(kernel, stride, padding, pool):
    layers = []
    for inputs, outputs in ((1, 2), (2, 3)):
        layers += [nn.Conv2d(inputs, outputs, kernel, stride, padding), nn.MaxPool2d(pool)]
    return nn.Sequential(*layers)


@pytest.mark.parametrize("norm", [None, "batch"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_outputs_and_gradients_are_those_of_activation_before_pooling(activation, norm):
    """Every bit, in whatever order they are computed; gelu is not monotonic, so its order matters."""
    torch.manual_seed(0)
    net = CNN((1, 8, 8), 3, channels=(4, 5), hidden=(), activation=activation, norm=norm)
    x = torch.randn(6, 1, 8, 8)
    x[:, :, :4] = 0  # equal outputs in a window, too
    results = []
    for convolutions in (net.convolutions, nn.Sequential(*map(_activation_first, net.convolutions))):
        net.zero_grad()
        y = convolutions(x)
        y.square().sum().backward()
        results.append([y, *(p.grad for p in net.convolutions.parameters())])
    for ours, plain in zip(*results, strict=True):
        assert torch.equal(ours, plain)


def _activation_first(block):
    """The layers of a block, with the pooling last."""
    return nn.Sequential(*sorted(block, key=lambda layer: isinstance(layer, nn.MaxPool2d)))


@pytest.mark.parametrize(
    ("layers", "kernel", "stride", "padding", "pool"),
    [(1, 3, 1, 1, 2), (2, 3, 1, 0, 2), (2, 5, 1, 2, 2), (3, 3, 2, 1, 1), (2, 2, 1, 0, 3), (0, 3, 1, 1, 2)],
)
def test_the_receptive_field_is_where_a_change_of_the_input_is_felt(layers, kernel, stride, padding, pool):
    """With positive weights, and a bump higher than all else, no pooling hides a change of an entry in the field."""
    net = CNN((1, 61, 61), 2, (1,) * layers, kernel, stride, padding, pool, (), "identity").double()
    for parameter in net.convolutions.parameters():
        nn.init.constant_(parameter, 0.1)
    _, height, width = net.features_shape
    with torch.no_grad():
        bumps = torch.eye(61, dtype=torch.float64)[:, None, None, :].expand(61, 1, 61, 61)  # one column each
        felt = net.convolutions(bumps)[:, 0, height // 2, width // 2]
        rest = net.convolutions(torch.zeros(1, 1, 61, 61, dtype=torch.float64))[0, 0, height // 2, width // 2]
    touched = (felt > rest + 1e-9).nonzero().flatten()
    assert net.receptive_field == int(touched[-1] - touched[0]) + 1


def test_the_notes_network():
    net = CNN((1, 28, 28), 10, padding=0)
    assert net.features_shape == (64, 5, 5)
    assert net.dense[0].linear.in_features == 1600
    weights = [(32 * 9, 32), (64 * 32 * 9, 64), (1600 * 128, 128), (128 * 10, 10)]
    assert sum(p.numel() for p in net.parameters()) == sum(w + b for w, b in weights)


def test_the_vertical_line_kernel_gives_three_on_a_line_and_less_on_every_other_patch():
    """The notes' kernel of section 1.2.2, through the network's own first convolution, on all 512 binary patches."""
    net = CNN((1, 3, 3), 2, (1,), kernel=3, padding=0, pool=1, hidden=(), activation="identity")
    with torch.no_grad():
        net.convolutions[0].convolution.weight.copy_(LINE)
        net.convolutions[0].convolution.bias.zero_()
        patches = torch.tensor(list(product((0.0, 1.0), repeat=9))).view(512, 1, 3, 3)
        answers = net.convolutions(patches).flatten()
    line = torch.tensor([[0.0, 1.0, 0.0]] * 3)
    is_line = (patches == line).flatten(1).all(1)
    assert answers[is_line].tolist() == [3.0]
    assert (answers[~is_line] < 3).all()


@pytest.mark.parametrize("norm", [None, "batch", "layer"])
def test_logits_equal_the_layers_written_out(norm):
    torch.manual_seed(0)
    net = CNN((2, 9, 9), 3, (4,), kernel=3, stride=2, padding=1, pool=2, hidden=(5,), norm=norm).double()
    x = torch.randn(6, 2, 9, 9, dtype=torch.float64)
    convolution, hidden = net.convolutions[0].convolution, net.dense[0].linear
    patches = F.unfold(x, 3, padding=1, stride=2)  # a convolution is a product with the patches
    h = (convolution.weight.flatten(1) @ patches + convolution.bias[:, None]).view(6, 4, 5, 5)
    h = _normalized(h, norm, (0, 2, 3), (1, 2, 3)).clamp(min=0)
    h = torch.stack([h[:, :, i : i + 2, j : j + 2].amax((2, 3)) for i, j in product((0, 2), (0, 2))], 2).flatten(1)
    h = _normalized(h @ hidden.weight.T + hidden.bias, norm, (0,), (1,)).clamp(min=0)
    torch.testing.assert_close(net(x), h @ net.head.weight.T + net.head.bias, atol=1e-10, rtol=1e-10)


def _normalized(h, norm, batch_dims, layer_dims):
    if norm is None:
        return h
    dims = batch_dims if norm == "batch" else layer_dims
    return (h - h.mean(dims, keepdim=True)) / (h.var(dims, unbiased=False, keepdim=True) + 1e-5).sqrt()


@pytest.mark.unchecked
@pytest.mark.filterwarnings("ignore:Initializing zero-element")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shape": (28, 28)}, r"shape=\(28, 28\) must be \(channels, height, width\)"),
        ({"channels": (4, 0)}, "channels=.*integers >= 1"),
        ({"hidden": (-3,)}, "hidden=.*integers >= 1"),
        ({"dropout": -0.5}, "dropout=-0.5 must be at least 0"),
        ({"activation": "softmax"}, "'softmax' is unknown"),
        ({"channels": (4,) * 4}, "kernel=2 is larger than the input of 1 .*fewer poolings"),
        ({"kernel": 11, "padding": 0}, "kernel=11 is larger than the input of 8"),
        ({"norm": "group"}, "norm.*batch.*layer"),
        ({"stride": 0}, "stride"),
        ({"pool": 0}, "pool"),
        ({"kernel": 0}, "kernel"),
        ({"padding": -1, "channels": (4,)}, "padding"),
    ],
)
def test_bad_arguments_are_refused_with_what_to_do(arguments, message):
    with pytest.raises(ValueError, match=message):
        CNN(**{"shape": (1, 8, 8), "classes": 2, **arguments})
