"""What holds for every generator and critic, whatever its layers are."""

import copy
import math

import pytest
import torch
from torch import nn

from danlu.data.images.info import ImageInfo
from danlu.losses import slope_penalty, slopes
from danlu.models import (
    DCGANCritic,
    DCGANGenerator,
    MLPCritic,
    MLPGenerator,
    ResNetCritic,
    ResNetGenerator,
    load_model,
    save_model,
)
from danlu.models.adversarial.base import Critic, Generator
from danlu.nn import SelfAttention2d

SHAPE = (2, 8, 8)
FAMILIES = {
    "mlp": (MLPGenerator, {"hidden": (10, 9)}, MLPCritic, {"hidden": (11, 10)}),
    "dcgan": (DCGANGenerator, {"width": 8}, DCGANCritic, {"width": 8}),
    "dcgan with attention": (DCGANGenerator, {"width": 8, "attention": 4}, DCGANCritic, {"width": 8, "attention": 4}),
    "resnet": (ResNetGenerator, {"width": 8}, ResNetCritic, {"width": 8}),
    "resnet with attention": (
        ResNetGenerator,
        {"width": 8, "attention": 4},
        ResNetCritic,
        {"width": 8, "attention": 4},
    ),
}
families = pytest.mark.parametrize("family", FAMILIES)
norms = pytest.mark.parametrize("norm", ["batch", "layer", "virtual", None])


def pair(family, classes=0, norm=None, dtype=torch.float64, **of_critic):
    """Players whose attention, if they have any, does something, and whose reference batches are filled."""
    torch.manual_seed(0)
    make, settings, judge, others = FAMILIES[family]
    generator = make(SHAPE, classes, (0.0, 1.0), latent=3, norm=norm, reference=4, **settings)
    critic = judge(SHAPE, classes, norm=norm, reference=4, **others, **of_critic)
    for player in (generator, critic):
        if player.reference is not None:
            player.reference.normal_()
        for part in player.modules():
            if isinstance(part, SelfAttention2d):
                nn.init.constant_(part.gain, 0.5)
        player.to(dtype)
    return generator, critic


def numbers(*shape, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=dtype)


LABELS = torch.tensor([0, 2, 1, 1, 0])


# Gradients and state


@families
@norms
@pytest.mark.parametrize("classes", [0, 3])
def test_every_parameter_gets_a_gradient(family, norm, classes):
    generator, critic = pair(family, classes, norm, minibatch=3)
    labels = LABELS if classes else None
    x = generator(numbers(5, 3), labels)
    assert x.shape == (5, *SHAPE)
    scores = critic(x, labels)
    assert scores.shape == (5,)
    (scores * numbers(5)).sum().backward()
    for player in (generator, critic):
        for name, parameter in player.named_parameters():
            if name != "last.bias" or player is generator:
                assert parameter.grad is not None, name
                assert parameter.grad.abs().max() > 0, name


@families
@pytest.mark.parametrize("spectral", [False, True])
def test_a_fresh_player_takes_over_the_state_exactly_and_a_copy_is_its_own(family, spectral):
    generator, critic = pair(family, 3, "virtual", spectral=spectral)
    fresh = [type(player)(**player.arguments).double() for player in (generator, critic)]
    z, x = numbers(5, 3), numbers(5, *SHAPE)
    for other, player, given in zip(fresh, (generator, critic), (z, x), strict=True):
        assert not torch.equal(other(given, LABELS), player(given, LABELS))
        other.load_state_dict(player.state_dict())
        twin = copy.deepcopy(player)
        assert torch.equal(other(given, LABELS), player(given, LABELS))
        assert torch.equal(twin(given, LABELS), player(given, LABELS))
        with torch.no_grad():
            next(twin.parameters()).add_(1)
        assert torch.equal(other(given, LABELS), player(given, LABELS))


@families
def test_a_generator_comes_back_from_its_folder(family, tmp_path):
    generator, _ = pair(family, 3, "virtual" if family == "mlp" else "batch", torch.float32)
    generator.eval()
    save_model(generator, tmp_path, ImageInfo(SHAPE, 3, ("a", "b", "c")))
    back = load_model(tmp_path)
    z = numbers(5, 3, dtype=torch.float32)
    assert type(back) is type(generator)
    assert torch.equal(back.decode(z, LABELS), generator.decode(z, LABELS))


@families
@norms
def test_channels_may_come_last(family, norm):
    for player, x in zip(pair(family, 0, norm), (numbers(5, 3), numbers(5, *SHAPE)), strict=True):
        other = copy.deepcopy(player).to(memory_format=torch.channels_last)
        there = x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x
        torch.testing.assert_close(other(there), player(x))


# One example by itself, which penalties on slopes need


@families
@pytest.mark.parametrize("norm", ["layer", "virtual", None])
def test_an_example_does_not_depend_on_the_others_of_its_batch(family, norm):
    for player, x in zip(pair(family, 3, norm), (numbers(5, 3), numbers(5, *SHAPE)), strict=True):
        alone = torch.cat([player(x[k : k + 1], LABELS[k : k + 1]) for k in range(5)])
        torch.testing.assert_close(player(x, LABELS), alone)


@families
@pytest.mark.parametrize("settings", [{"norm": "layer"}, {"norm": "virtual"}, {}, {"spectral": True}])
def test_the_gradient_of_the_slopes_penalty_equals_differences(family, settings):
    _, critic = pair(family, 3, **settings)
    x, step = numbers(5, *SHAPE).requires_grad_(), 1e-6

    def penalty():
        return slope_penalty(slopes(critic(x, LABELS), x)).sum()

    parameters = [p for p in critic.parameters() if p.dim() > 1]
    gradients = torch.autograd.grad(penalty(), parameters)
    for parameter, gradient in list(zip(parameters, gradients, strict=True))[::3]:
        towards = gradient / gradient.norm()
        with torch.no_grad():
            parameter.add_(step * towards)
        above = penalty().item()
        with torch.no_grad():
            parameter.sub_(2 * step * towards)
        below = penalty().item()
        with torch.no_grad():
            parameter.add_(step * towards)
        # piecewise linear networks have kinks, at which differences and gradients part
        assert gradient.norm().item() == pytest.approx((above - below) / (2 * step), rel=1e-3, abs=1e-6)


@families
@pytest.mark.parametrize("of", ["generator", "critic"])
def test_virtual_batch_norm_goes_by_the_reference_batch(family, of):
    generator, critic = pair(family, 3, "virtual")
    player, x = (generator, numbers(5, 3)) if of == "generator" else (critic, numbers(5, *SHAPE))
    before = player(x, LABELS)
    player.reference.mul_(2)
    assert not torch.allclose(player(x, LABELS), before)
    assert "reference" in player.state_dict()


# Ranges, draws and labels


@pytest.mark.parametrize("range", [(0.0, 1.0), (-1.0, 3.0), (0.0, 255.0)])
def test_shown_and_seen_are_inverse(range):
    generator = MLPGenerator((1, 2, 2), 0, range, latent=2)
    low, high = range
    ends = torch.tensor([low, (low + high) / 2, high])
    torch.testing.assert_close(generator.to_critic_range(ends), torch.tensor([-1.0, 0.0, 1.0]))
    torch.testing.assert_close(generator.to_data_range(generator.to_critic_range(ends)), ends)


@families
def test_pictures_are_in_their_range_whatever_the_code(family):
    generator, _ = pair(family)
    z = 1e3 * numbers(5, 3)
    x, shown = generator(z), generator.decode(z)
    assert -1 <= x.min() < -0.1
    assert 0.1 < x.max() <= 1
    assert 0 <= shown.min() <= shown.max() <= 1
    torch.testing.assert_close(generator.to_critic_range(shown), x)
    torch.testing.assert_close(shown, (x + 1) / 2)


def test_what_is_no_picture_is_made_as_it_is():
    torch.manual_seed(0)
    generator = MLPGenerator((3,), 0, None, latent=2, hidden=(8,))
    x = generator(100 * numbers(50, 2, dtype=torch.float32))
    assert x.abs().max() > 1
    assert torch.equal(generator.to_data_range(x), x)
    assert torch.equal(generator.to_critic_range(x), x)


@families
def test_a_draw_is_a_function_of_its_generator(family):
    generator, _ = pair(family)
    first, second, other = (generator.sample(4, generator=torch.Generator().manual_seed(k)) for k in (3, 3, 4))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    codes = generator.prior(4, generator=torch.Generator().manual_seed(3))
    assert torch.equal(generator.decode(codes), first)


def test_the_prior_is_standard_normal():
    generator = MLPGenerator((2,), 0, None, latent=5)
    z = generator.prior(20_000, generator=torch.Generator().manual_seed(0)).double()
    assert z.shape == (20_000, 5)
    error = 4 / math.sqrt(z.numel())  # four standard errors
    assert abs(float(z.mean())) < error
    assert abs(float(z.var()) - 1) < error * math.sqrt(2)
    assert float((z**4).mean()) == pytest.approx(3, abs=error * math.sqrt(96))


@families
def test_draws_take_classes_in_turn(family):
    generator, _ = pair(family, classes=3)
    turns = torch.tensor([0, 1, 2, 0, 1, 2, 0])
    draw = [generator.sample(7, labels, generator=torch.Generator().manual_seed(0)) for labels in (None, turns)]
    assert torch.equal(*draw)
    swapped = generator.sample(7, (turns + 1) % 3, generator=torch.Generator().manual_seed(0))
    assert (swapped - draw[0]).flatten(1).abs().amax(1).min() > 0, "the label makes a difference to each"


@families
def test_fractions_of_classes_may_be_mixed(family):
    generator, _ = pair(family, classes=3)
    z, whole = numbers(5, 3), torch.eye(3, dtype=torch.float64)[LABELS]
    assert torch.equal(generator.generate_mixed(z, whole), generator(z, LABELS))
    mixed = generator.generate_mixed(z, 0.5 * whole + 0.5 * whole.roll(1, 0))
    assert mixed.shape == (5, *SHAPE)
    assert not torch.allclose(mixed, generator(z, LABELS))


@families
def test_the_score_is_what_the_features_say(family):
    """Linear, with the projection on the label of Miyato and Koyama where the features do not know it."""
    _, critic = pair(family, classes=3)
    x = numbers(5, *SHAPE)
    features = critic.features(x, LABELS)
    expected = features @ critic.last.weight[0] + critic.last.bias
    if family != "mlp":
        expected = expected + torch.stack(
            [f @ critic.of_label.weight[y] for f, y in zip(features, LABELS, strict=True)]
        )
    torch.testing.assert_close(critic(x, LABELS), expected)
    torch.testing.assert_close(critic.score(features, LABELS), expected)


@pytest.mark.unchecked
@families
def test_labels_are_asked_for_and_refused(family):
    for player, x in zip(pair(family, classes=3), (numbers(5, 3), numbers(5, *SHAPE)), strict=True):
        with pytest.raises(ValueError, match=f"{type(player).__name__} needs the label of each example, one of 3"):
            player(x)
        with pytest.raises(ValueError, match=r"labels of shape \(4,\) do not match 5 examples"):
            player(x, LABELS[:4])
        with pytest.raises(ValueError, match="labels from 1 to 3 must be from 0 to 2"):
            player(x, LABELS + 1)
    for player, x in zip(pair(family), (numbers(5, 3), numbers(5, *SHAPE)), strict=True):
        with pytest.raises(ValueError, match=f"{type(player).__name__} does not take labels"):
            player(x, LABELS)


@pytest.mark.unchecked
@families
def test_what_cannot_be_is_refused(family):
    make, settings, judge, others = FAMILIES[family]
    for player, arguments in ((make, {"range": (0.0, 1.0), **settings}), (judge, others)):
        build = {"shape": SHAPE, "classes": 0, **arguments}
        with pytest.raises(ValueError, match="norm='group' is unknown; choose batch, layer or virtual"):
            player(**build, norm="group")
    with pytest.raises(ValueError, match="latent=0"):
        make(SHAPE, 0, None, latent=0)


def test_a_family_must_define_its_layers():
    x, z = torch.zeros(2, *SHAPE), torch.zeros(2, 3)
    with pytest.raises(NotImplementedError, match="Generator must define generate"):
        Generator(SHAPE, 0, (0.0, 1.0), latent=3).generate(z, None)
    with pytest.raises(NotImplementedError, match="Critic must define compute_features"):
        Critic(SHAPE, 0).compute_features(x, None)
