"""DCGAN: the paper's figure by hand, and both networks once more by functions."""

from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from danlu.models import DCGANCritic, DCGANGenerator, map_sizes

SIZES = [(8, 8), (9, 12), (16, 16), (27, 35), (28, 28), (32, 32), (48, 48), (64, 64), (96, 96), (128, 128)]
LABELS = torch.tensor([0, 2, 1, 1])


def numbers(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def count(net):
    return sum(p.numel() for p in net.parameters())


def convolutions(net):
    return [part for part in net.modules() if isinstance(part, nn.Conv2d | nn.ConvTranspose2d)]


def maps(net, x):
    """Channels, height and width behind each convolution."""
    seen = []
    hooks = [c.register_forward_hook(lambda m, i, o: seen.append(tuple(o.shape[1:]))) for c in convolutions(net)]
    net(x)
    for hook in hooks:
        hook.remove()
    return seen


def stirred(net):
    """In float64, with gains, shifts and running statistics that are not the first ones."""
    generator = torch.Generator().manual_seed(0)
    for name, tensor in net.double().state_dict().items():
        if tensor.dim() == 1:
            tensor.copy_(
                torch.rand(tensor.shape, generator=generator, dtype=torch.float64) + 0.5 * name.endswith("var")
            )
        elif tensor.dim() > 1:
            tensor.mul_(5)
    return net


# The paper


def test_the_generator_of_the_papers_figure():
    net = DCGANGenerator((3, 64, 64), 0, (0.0, 1.0), width=128)
    assert net.first[0].weight.shape == (1024 * 4 * 4, 100)
    assert maps(net, torch.zeros(2, 100)) == [(512, 8, 8), (256, 16, 16), (128, 32, 32), (3, 64, 64)]
    layers = 100 * 1024 * 16 + 16 * (1024 * 512 + 512 * 256 + 256 * 128 + 128 * 3)
    assert count(net) == layers + 2 * (1024 + 512 + 256 + 128) + 3  # two for each normalized channel, a last bias


def test_the_critic_is_the_mirror_image():
    net = DCGANCritic((3, 64, 64), 0, width=128)
    assert maps(net, torch.zeros(2, 3, 64, 64)) == [(128, 32, 32), (256, 16, 16), (512, 8, 8), (1024, 4, 4)]
    layers = 16 * (3 * 128 + 128 * 256 + 256 * 512 + 512 * 1024)
    assert count(net) == layers + 128 + 2 * (256 + 512 + 1024) + 1024 * 16 + 1


def test_the_rules_of_the_paper():
    generator, critic = DCGANGenerator((1, 32, 32), 0, (0.0, 1.0), width=8), DCGANCritic((1, 32, 32), 0, width=8)
    for net, activation in ((generator, nn.ReLU), (critic, nn.LeakyReLU)):
        kinds = [type(part) for part in net.modules() if not list(part.children())]
        assert not any("Pool" in kind.__name__ for kind in kinds)
        assert sum(issubclass(kind, nn.Linear) for kind in kinds) == 1
        assert {kind for kind in kinds if "ReLU" in kind.__name__} == {activation}
        assert all((c.kernel_size, c.stride) == ((4, 4), (2, 2)) for c in convolutions(net))
    assert sum(isinstance(part, nn.BatchNorm2d) for part in generator.modules()) == len(convolutions(generator))
    assert sum(isinstance(part, nn.BatchNorm2d) for part in critic.modules()) == len(convolutions(critic)) - 1
    assert not any(isinstance(part, nn.BatchNorm2d) for part in critic.body[0])
    assert all(part.negative_slope == 0.2 for part in critic.modules() if isinstance(part, nn.LeakyReLU))


@pytest.mark.parametrize("norm", ["batch", "layer", "virtual"])
def test_the_initial_weights(norm):
    torch.manual_seed(0)
    for net in (
        DCGANGenerator((1, 32, 32), 10, (0.0, 1.0), width=32, norm=norm),
        DCGANCritic((1, 32, 32), 10, width=32, norm=norm),
    ):
        weights = torch.cat([p.detach().flatten() for name, p in net.named_parameters() if p.dim() > 1])
        gains = torch.cat(
            [p.detach() for name, p in net.named_parameters() if p.dim() == 1 and name.endswith("weight")]
        )
        biases = torch.cat([p for name, p in net.named_parameters() if name.endswith("bias")])
        for tensor, mean in ((weights, 0.0), (gains, 1.0)):
            assert float(tensor.mean()) == pytest.approx(mean, abs=4 * 0.02 / len(tensor) ** 0.5)
            assert float(tensor.std()) == pytest.approx(0.02, abs=4 * 0.02 / (2 * len(tensor)) ** 0.5)
        assert not biases.any()


# Once more, by functions


def normed(h, norm, layer):
    if norm == "batch":
        return F.batch_norm(h, layer.running_mean, layer.running_var, layer.weight, layer.bias)
    return h if norm is None else F.group_norm(h, 1, layer.weight, layer.bias)


@pytest.mark.parametrize("norm", ["batch", "layer", None])
@pytest.mark.parametrize("side", [16, 28])
def test_the_generator_by_functions(norm, side):
    torch.manual_seed(0)
    net = stirred(DCGANGenerator((2, side, side), 3, (0.0, 1.0), latent=5, width=4, norm=norm)).eval()
    z, label = numbers(4, 5), F.one_hot(LABELS, 3).double()
    least, levels = (4, 2) if side == 16 else (3, 3)
    weight, bias = net.first[0].weight, net.first[0].bias
    h = torch.cat([z, label], 1) @ weight.T + (0 if bias is None else bias)
    h = normed(h.view(4, 4 * 2 ** (levels - 1), least, least), norm, net.first[2]).clamp(min=0)
    for block in net.body:
        # a transposed convolution is a convolution of the map with zeros between, by the kernel turned around
        h = normed(transposed(h, block[0], {6: 7}.get(2 * h.shape[2])), norm, block[1]).clamp(min=0)
    torch.testing.assert_close(net(z, LABELS), transposed(h, net.last).tanh())


def transposed(h, layer, target=None):
    spread = torch.zeros(*h.shape[:2], *(2 * n - 1 for n in h.shape[2:]), dtype=h.dtype)
    spread[:, :, ::2, ::2] = h
    more = (target or 2 * h.shape[2]) - 2 * h.shape[2]
    spread = F.pad(spread, (2, 2 + more, 2, 2 + more))
    return F.conv2d(spread, layer.weight.flip(2, 3).transpose(0, 1), layer.bias)


@pytest.mark.parametrize("norm", ["batch", "layer", None])
@pytest.mark.parametrize("side", [16, 28])
def test_the_critic_by_functions(norm, side):
    torch.manual_seed(0)
    net = stirred(DCGANCritic((2, side, side), 3, width=4, norm=norm)).eval()
    x = h = numbers(4, 2, side, side)
    for number, block in enumerate(net.body):
        h = F.conv2d(h, block[0].weight, block[0].bias, stride=2, padding=1)
        h = F.leaky_relu(normed(h, norm if number else None, block[1]), 0.2)
    # the paper's last layer: a convolution as large as the map, here with one more for the label
    last = F.conv2d(h, net.last.weight.view(1, *h.shape[1:]), net.last.bias).flatten()
    labels = F.conv2d(h, net.of_label.weight.view(3, *h.shape[1:]))[torch.arange(4), LABELS].flatten()
    torch.testing.assert_close(net(x, LABELS), last + labels)
    torch.testing.assert_close(net.features(x, LABELS), h.flatten(1))


# Sizes, and what cannot be


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_of_every_size(size, channels):
    shape = (channels, *size)
    generator, critic = DCGANGenerator(shape, 0, (0.0, 1.0), width=2), DCGANCritic(shape, 0, width=2)
    x = generator(torch.zeros(2, 100))
    assert x.shape == (2, *shape)
    assert critic(x).shape == (2,)
    there = [(c.in_channels, c.out_channels) for c in convolutions(critic)]
    back = [(c.out_channels, c.in_channels) for c in convolutions(generator)]
    assert there == back[::-1], "channels double on the way down and halve on the way up"


@pytest.mark.parametrize("side", range(8, 129))
def test_the_smallest_map_is_about_four_wide(side):
    sizes = map_sizes((1, side, 2 * side))
    assert len(sizes) >= 3
    assert sizes[0] == (side, 2 * side)
    assert 3 <= sizes[-1][0] <= 5 or (side < 12 and sizes[-1][0] == 2)
    for (height, width), (less, narrower) in pairwise(sizes):
        assert (height // 2, width // 2) == (less, narrower)


def test_the_depth_can_be_chosen():
    generator, critic = (
        DCGANGenerator((1, 28, 28), 0, None, width=2, levels=2),
        DCGANCritic((1, 28, 28), 0, 2, levels=2),
    )
    assert maps(critic, generator(torch.zeros(2, 100))) == [(2, 14, 14), (4, 7, 7)]


def test_dropout_is_at_work_while_training_alone():
    torch.manual_seed(0)
    net, x = DCGANCritic((1, 8, 8), 0, width=4, norm=None, dropout=0.5), torch.ones(3, 1, 8, 8)
    assert not torch.equal(net(x), net(x))
    assert torch.equal(net.eval()(x), net(x))


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shape": (4,)}, r"shape=\(4,\) must be \(channels, height, width\)"),
        ({"shape": (1, 8, 2)}, "with stride 2 are too many"),
        ({"width": 0}, "width=0"),
        ({"levels": 0}, "levels=0"),
        ({"levels": 9}, "9 convolutions with stride 2 are too many for 32×32 pixels"),
        ({"attention": 10}, r"attention=10 must be the shorter side of a feature map: 16, 8, 4, or None"),
        (
            {"levels": 5, "attention": 1},
            r"attention=1 must be the shorter side of a feature map: 16, 8, 4, 2, or None",
        ),
        ({"dropout": 1.0}, "dropout=1.0"),
    ],
)
def test_what_cannot_be_is_refused(arguments, message):
    arguments = {"shape": (1, 32, 32), "classes": 0, **arguments}
    with pytest.raises(ValueError, match=message):
        DCGANCritic(**arguments)
    if "dropout" not in arguments:
        with pytest.raises(ValueError, match=message):
            DCGANGenerator(**arguments, range=None)


@pytest.mark.parametrize("side", [16, 8, 4])
def test_attention_stands_behind_the_map_of_its_side(side):
    for net, x in (
        (DCGANGenerator((1, 32, 32), 0, None, width=8, attention=side), torch.zeros(2, 100)),
        (DCGANCritic((1, 32, 32), 0, width=8, attention=side), torch.zeros(2, 1, 32, 32)),
    ):
        (found,) = [part for part in net.modules() if type(part).__name__ == "SelfAttention2d"]
        seen = []
        found.register_forward_hook(lambda module, given, out, seen=seen: seen.append(out.shape[2]))
        net(x)
        assert seen == [side]


@pytest.mark.parametrize(("norm", "size"), [("virtual", 5), ("batch", None), ("layer", None), (None, None)])
def test_only_virtual_batch_norm_has_a_reference_batch(norm, size):
    for net in (
        DCGANGenerator((1, 16, 16), 0, None, width=4, norm=norm, reference=5),
        DCGANCritic((1, 16, 16), 0, width=4, norm=norm, reference=5),
    ):
        assert (None if net.reference is None else len(net.reference)) == size
