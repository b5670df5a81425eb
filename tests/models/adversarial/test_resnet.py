"""The residual players: the papers' counts by hand, and both networks once more by functions."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from danlu.models import ResNetCritic, ResNetGenerator

SIZES = [(8, 8), (9, 12), (16, 16), (27, 35), (28, 28), (32, 32), (48, 48), (64, 64), (96, 96), (128, 128)]
LABELS = torch.tensor([0, 2, 1, 1])


def numbers(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def count(net):
    return sum(p.numel() for p in net.parameters())


def stirred(net):
    """In float64, with gains, shifts and running statistics that are not the first ones."""
    generator = torch.Generator().manual_seed(0)
    for name, tensor in net.double().state_dict().items():
        if tensor.dim() == 1 or name.endswith(("gain", "shift")):
            tensor.copy_(
                torch.rand(tensor.shape, generator=generator, dtype=torch.float64) + 0.5 * name.endswith("var")
            )
    return net


# The papers


def test_the_parameters_of_the_network_for_cifar():
    """By hand: a projection, three blocks with a shortcut, the last norm and convolution. No bias before a norm."""
    block = 2 * 2 * 128 + 9 * 128**2 + (9 * 128**2 + 128) + (128**2 + 128)
    expected = (129 * 4 * 4 * 128) + 3 * block + 2 * 128 + (9 * 128 * 3 + 3)
    assert count(ResNetGenerator((3, 32, 32), 0, (0.0, 1.0))) == expected
    # with labels seven norms have ten gains and shifts for one; without batch norm the label stands beside the code
    assert count(ResNetGenerator((3, 32, 32), 10, (0.0, 1.0))) == expected + 7 * 9 * 2 * 128
    bare, told = (count(ResNetGenerator((3, 32, 32), k, (0.0, 1.0), norm="layer")) for k in (0, 10))
    assert told - bare == 10 * 4 * 4 * 128


def test_the_parameters_of_the_critic_for_cifar():
    """By hand: a block from 3 channels, one that halves with a shortcut, two with none, and the last line."""
    first = (9 * 3 * 128 + 128) + (9 * 128**2 + 128) + (3 * 128 + 128)
    convolutions = 2 * (9 * 128**2 + 128)
    assert count(ResNetCritic((3, 32, 32), 0)) == first + 3 * convolutions + (128**2 + 128) + 129
    assert count(ResNetCritic((3, 32, 32), 10)) - count(ResNetCritic((3, 32, 32), 0)) == 10 * 128


def test_the_initial_weights():
    """Uniform with Glorot's variance, twice that within blocks; biases are 0."""
    torch.manual_seed(0)
    for net in (ResNetGenerator((3, 32, 32), 0, None, width=64), ResNetCritic((3, 32, 32), 4, width=64)):
        for name, part in net.named_modules():
            if isinstance(part, nn.Conv2d | nn.Linear) and part.weight.numel() > 1000:
                window = part.weight[0, 0].numel() if part.weight.dim() == 4 else 1
                variance = 2 / (window * (part.weight.shape[0] + part.weight.shape[1]))
                variance *= 2 if "conv" in name else 1
                assert float(part.weight.detach().var()) == pytest.approx(variance, rel=0.1), name
                most = (3 * variance) ** 0.5
                assert 0.98 * most < float(part.weight.detach().abs().max()) <= most * 1.0001, name
        assert not any(p.any() for name, p in net.named_parameters() if name.endswith("bias"))


# Once more, by functions, in the order that the papers have


def larger(h, target):
    """Nearest neighbors, written as indices."""
    rows, columns = (torch.arange(m) * n // m for n, m in zip(h.shape[2:], target, strict=True))
    return h[:, :, rows][:, :, :, columns]


def smaller(h):
    """Means of 2×2 positions; an odd last one is left out."""
    height, width = (n - n % 2 for n in h.shape[2:])
    h = h[:, :, :height, :width]
    return (h[:, :, ::2, ::2] + h[:, :, 1::2, ::2] + h[:, :, ::2, 1::2] + h[:, :, 1::2, 1::2]) / 4


def convolved(h, layer):
    return F.conv2d(h, layer.weight, layer.bias, padding=layer.weight.shape[-1] // 2)


def before(h, norm, layers, fractions=None):
    """With labels each example has the gains and shifts of its own, as a mean of those of the classes."""
    layer = layers[0]
    if norm == "batch" and fractions is not None:
        h = F.batch_norm(h, layer.running_mean, layer.running_var)
        gain, shift = (torch.einsum("nk,kc->nc", fractions, of)[:, :, None, None] for of in (layer.gain, layer.shift))
        h = gain * h + shift
    elif norm == "batch":
        h = F.batch_norm(h, layer.running_mean, layer.running_var, layer.weight, layer.bias)
    elif norm == "layer":
        h = F.group_norm(h, 1, layer.weight, layer.bias)
    return h.clamp(min=0)


@pytest.mark.parametrize("norm", ["batch", "layer", None])
@pytest.mark.parametrize(("size", "grows"), [((16, 16), [(8, 8), (16, 16)]), ((27, 14), [(13, 7), (27, 14)])])
def test_the_generator_by_functions(norm, size, grows):
    torch.manual_seed(0)
    net = stirred(ResNetGenerator((2, *size), 3, (0.0, 1.0), latent=5, width=4, norm=norm)).eval()
    z, whole = numbers(4, 5), F.one_hot(LABELS, 3).double()
    start = {16: (4, 4), 27: (6, 3)}[size[0]]
    assert len(net.body) == len(grows)
    for fractions in (whole, 0.25 * whole + 0.75 * whole.roll(1, 1)):
        code = z if norm == "batch" else torch.cat([z, fractions], 1)
        h = (code @ net.first[0].weight.T + net.first[0].bias).view(4, 4, *start)
        for block, target in zip(net.body, grows, strict=True):
            inner = convolved(larger(before(h, norm, block.before1, fractions), target), block.conv1)
            inner = convolved(before(inner, norm, block.before2, fractions), block.conv2)
            h = inner + convolved(larger(h, target), block.shortcut)
        expected = convolved(before(h, norm, net.last, fractions), net.last[-1]).tanh()
        torch.testing.assert_close(net.generate_mixed(z, fractions), expected)
        if fractions is whole:
            torch.testing.assert_close(net(z, LABELS), expected)


@pytest.mark.parametrize("norm", ["batch", "layer", None])
@pytest.mark.parametrize("pooling", ["sum", "mean"])
@pytest.mark.parametrize(("size", "halved"), [((32, 32), 2), ((28, 28), 2), ((9, 12), 1), ((50, 64), 3)])
def test_the_critic_by_functions(norm, pooling, size, halved):
    torch.manual_seed(0)
    net = stirred(ResNetCritic((2, *size), 3, width=4, norm=norm, pooling=pooling)).eval()
    x = numbers(4, 2, *size)
    first, *others = net.body[:-1]
    inner = convolved(convolved(x, first.conv1).clamp(min=0), first.conv2)
    h = smaller(inner) + convolved(smaller(x), first.shortcut)
    assert len(others) == halved - 1 + 2
    for number, block in enumerate(others):
        inner = convolved(before(h, norm, block.before1), block.conv1)
        inner = convolved(before(inner, norm, block.before2), block.conv2)
        h = smaller(inner) + smaller(convolved(h, block.shortcut)) if number < halved - 1 else inner + h
    h = h.clamp(min=0)
    features = h.sum((2, 3)) if pooling == "sum" else h.mean((2, 3))
    torch.testing.assert_close(net.features(x, LABELS), features)
    known = features @ net.last.weight[0] + net.last.bias + (features * net.of_label.weight[LABELS]).sum(1)
    torch.testing.assert_close(net(x, LABELS), known)


# Sizes, and what cannot be


@pytest.mark.parametrize("size", SIZES)
def test_pictures_of_every_size(size):
    shape = (3, *size)
    x = ResNetGenerator(shape, 0, (0.0, 1.0), width=2)(torch.zeros(2, 128))
    assert x.shape == (2, *shape)
    assert ResNetCritic(shape, 0, width=2)(x).shape == (2,)


@pytest.mark.parametrize("side", [16, 8])
def test_attention_stands_behind_the_map_of_its_side(side):
    for net, x in (
        (ResNetGenerator((1, 32, 32), 0, None, width=8, attention=side), torch.zeros(2, 128)),
        (ResNetCritic((1, 32, 32), 0, width=8, attention=side), torch.zeros(2, 1, 32, 32)),
    ):
        (found,) = [part for part in net.modules() if type(part).__name__ == "SelfAttention2d"]
        seen = []
        found.register_forward_hook(lambda module, given, out, seen=seen: seen.append(out.shape[2]))
        net(x)
        assert seen == [side]


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shape": (4,)}, r"shape=\(4,\) must be \(channels, height, width\)"),
        ({"width": 0}, "width=0"),
        ({"attention": 10}, r"attention=10 must be the shorter side of a feature map: .*8.*, or None"),
        ({"width": 4, "attention": 8}, "channels=4 must be at least 8"),
        ({"pooling": "max"}, "pooling='max' is unknown; choose sum or mean"),
    ],
)
def test_what_cannot_be_is_refused(arguments, message):
    arguments = {"shape": (1, 32, 32), "classes": 0, **arguments}
    with pytest.raises(ValueError, match=message):
        ResNetCritic(**arguments)
    if "pooling" not in arguments:
        with pytest.raises(ValueError, match=message):
            ResNetGenerator(**arguments, range=None)
