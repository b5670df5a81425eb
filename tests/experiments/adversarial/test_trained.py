"""Experiments in which generators and critics are trained: what they rest on, and verdicts on numbers made by hand."""

import math
from types import MappingProxyType

import pytest
import torch
from torch import nn

from danlu.data import Part, digits
from danlu.data.datasets.toy_2d import ring_centers
from danlu.experiments import DigitsEvaluator
from danlu.experiments.adversarial import (
    batchnorm_hue,
    conditional_vs_plain,
    latent_arithmetic,
    mode_collapse,
    weight_clipping,
    wgan_architectures,
)
from danlu.experiments.harness.gan_on_digits import pair, pixels_alone, samples
from danlu.metrics import nearest
from danlu.models import DCGANGenerator, MLPCritic, MLPGenerator

HOLDS, LIMITS, NOT = "holds", "holds with limits", "does not hold"


# images and their scores


@pytest.fixture(scope="module")
def evaluator():
    return DigitsEvaluator(0, rounds=150)


def test_pixels_alone_have_the_values_of_each_pixel_and_no_picture_of_the_data():
    part = digits().train
    mixed = pixels_alone(part, 0)
    for a, b in zip(mixed.flatten(1).T, part["image"].flatten(1).T, strict=True):
        assert torch.equal(a.sort().values, b.sort().values)
    assert nearest(mixed, part["image"]).distance.min() > 0.3


def test_the_evaluator_classifies_digits_and_gives_worse_images_a_larger_distance(evaluator):
    test, real = digits().test, evaluator(digits().train["image"])
    found = evaluator(test["image"])
    assert (found.predictions == test["label"]).double().mean() > 0.9
    assert (real.covered, found.covered) == (10, 10)
    assert real.fid == pytest.approx(0.0, abs=1e-6)
    ones = evaluator(test["image"][test["label"] == 1])
    assert found.fid < 0.2 * min(ones.fid, evaluator(pixels_alone(evaluator.part, 0)).fid)
    assert ones.covered < 6


def test_pairs_of_one_seed_are_the_same_and_of_others_not():
    make = (lambda: MLPGenerator((2,), 0, None, 4, (8,)), lambda: MLPCritic((2,), 0, (8,)))
    first, again, other = (pair(*make, seed)[0].last.weight for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


# modes


def gone(plain, minibatch, wgan, other=(0, 0, 0), near=MappingProxyType({})):
    ends = dict(zip(mode_collapse.GAMES, (plain, minibatch, wgan, other), strict=True))
    return {
        "runs": {
            name: [{"covered": [0, n], "near": [0, near.get(name, n)], "good": [0.0, 0.9]} for n in end]
            for name, end in ends.items()
        }
    }


@pytest.mark.parametrize(
    ("numbers", "word"),
    [
        (gone((1, 3, 8), (8, 8, 8), (8, 8, 8)), HOLDS),
        (gone((1, 3, 8), (5, 8, 8), (8, 8, 8)), LIMITS),
        (gone((1, 3, 8), (1, 3, 8), (8, 8, 8)), LIMITS),
        (gone((1, 3, 8), (8, 8, 8), (8, 8, 8), near={mode_collapse.PLAIN_GAN: 8}), LIMITS),
        (gone((1, 3, 8), (8, 8, 8), (8, 8, 8), (8, 8, 8), near={mode_collapse.PLAIN_GAN: 8}), NOT),
        (gone((1, 3, 8), (1, 2, 8), (0, 3, 3)), NOT),
        (gone((1, 8, 8), (8, 8, 8), (8, 8, 8)), NOT),
    ],
)
def test_mode_collapse(numbers, word):
    assert mode_collapse.verdict(numbers).word == word


def test_a_game_of_modes_is_looked_at_by_its_average_and_games_differ_only_as_said():
    plain, minibatch, wgan, _ = mode_collapse.GAMES.values()
    assert plain._replace(minibatch=16) == minibatch
    trainer = mode_collapse._trainer(wgan, 3, 0)
    for _ in trainer:
        pass
    shown, live = samples(trainer, 50, 0), trainer.task.model.sample(50)
    with trainer.players["generator"].averaged():
        kept = trainer.task.model.last.weight.clone()
    assert not torch.equal(kept, trainer.task.model.last.weight)
    assert shown.shape == live.shape == (50, 2)
    assert torch.equal(shown, samples(trainer, 50, 0))
    assert torch.cdist(trainer.stream.part["x"], ring_centers()).min(1).values.max() < 0.2


# batches


def test_independent_values_have_ratio_1_and_values_that_share_something_more():
    torch.manual_seed(0)
    own, shared = torch.randn(1000, 16).double(), torch.randn(1000, 1).double()
    low, high = batchnorm_hue.limits(1000)
    assert low < batchnorm_hue.ratio(own) < high
    # means vary by 1/16 + 1, where 1/16 would be due
    assert batchnorm_hue.ratio(own + shared) == pytest.approx(17.0, rel=0.15)
    assert batchnorm_hue.ratio(own - own.mean(1, keepdim=True)) == pytest.approx(0.0, abs=1e-20)


def test_dependence_in_a_batch_whose_images_share_a_known_part():
    """Red is z₀ plus 4 times the mean of z₁ over the batch of 16, which is common to its images."""

    class Sharing:
        def __call__(self, z):
            pictures = torch.zeros(len(z), 3, 2, 2)
            pictures[:, 0] = (z[:, 0] + 4 * z[:, 1].mean())[:, None, None]
            return pictures

        def to_data_range(self, x):
            return x

    pictures = torch.zeros(500, 3, 2, 2)
    pictures[:, 0] = torch.randn(500, generator=torch.Generator().manual_seed(0))[:, None, None]
    found = batchnorm_hue.batch_dependence(Sharing(), Part({"image": pictures}), 1000, 0)
    hue = batchnorm_hue.HUE
    assert found[f"ratio, {hue}"] == pytest.approx(1 + 4**2, rel=0.15)  # the common part has variance 4² / 16
    by_batch, by_code = 4**2 * 15 / 16**2, 1 + 4**2 / 16**2
    assert found[f"share, {hue}"] == pytest.approx(by_batch / (by_batch + by_code), abs=0.08)
    assert found[f"variance, {hue}"] == pytest.approx((1 + 4**2 / 16) / float(pictures[:, 0, 0, 0].var()), rel=0.1)


def test_statistics_of_pictures_by_hand():
    picture = torch.zeros(1, 3, 2, 2)
    picture[0, 0], picture[0, 2, 0, 0] = 0.6, 0.8
    torch.testing.assert_close(batchnorm_hue.statistics(picture), torch.tensor([[0.8 / 3, 0.4]]))


def test_companions_matter_with_batch_norm_and_not_without():
    for norm, matters in (("batch", True), ("layer", False), ("virtual", False)):
        torch.manual_seed(0)
        made = DCGANGenerator((3, 8, 8), 0, (0.0, 1.0), batchnorm_hue.LATENT, 4, norm=norm, reference=4).train()
        for buffer in (made.reference,):
            if buffer is not None:
                buffer.normal_()
        seen = batchnorm_hue.in_batches(made, 3, 5, 0)
        assert seen.shape == (3, 5, 3, 8, 8)
        assert bool(seen.std(1).max() > 1e-3) == matters


# weights


def clipped(shares, penalty, slope=1.0):
    runs = {
        str(c): [{"end": share, "slopes": [1.0, 5.0, 9.0]}]
        for c, share in zip(weight_clipping.CLIPS, shares, strict=True)
    }
    return {"runs": {**runs, weight_clipping.PENALTY: [{"end": penalty, "slopes": [0.5, slope, 1.5]}]}}


@pytest.mark.parametrize(
    ("numbers", "word"),
    [
        (clipped((0.6, 0.8, 0.7), 0.01), HOLDS),
        (clipped((0.6, 0.8, 0.3), 0.01), LIMITS),
        (clipped((0.6, 0.8, 0.7), 0.01, slope=3.0), LIMITS),
        (clipped((0.9, 0.8, 0.2), 0.01), NOT),  # where they began is no proof that they were driven there
        (clipped((0.6, 0.8, 0.7), 0.4), NOT),
    ],
)
def test_weight_clipping(numbers, word):
    assert weight_clipping.verdict(numbers).word == word


def test_weights_at_the_bound_are_counted_one_by_one():
    torch.manual_seed(0)
    critic = MLPCritic((2,), 0, weight_clipping.HIDDEN)
    matrices = weight_clipping.hidden(critic)
    assert [tuple(w.shape) for w in matrices] == [(128, 128), (128, 128)]
    assert max(float(w.abs().max()) for w in matrices) <= weight_clipping.largest_initial_weight()
    with torch.no_grad():
        for weight in matrices:
            weight.clamp_(-0.05, 0.05)
    one = sum(abs(w) >= 0.95 * 0.05 for weight in matrices for w in weight.flatten().tolist())
    assert weight_clipping.at_the_bound(critic, 0.05) == pytest.approx(one / (2 * 128**2))
    counts = weight_clipping.histogram(critic, 0.05)
    assert sum(counts) == pytest.approx(1.0)
    assert counts[0] + counts[-1] > 0.4  # 1 - 0.05 / 0.088 of uniform weights are cut
    assert weight_clipping.at_the_bound(critic, 0.2) == 0.0


def test_steepness_of_a_critic_whose_slope_is_known():
    class Plane(nn.Module):
        def forward(self, x):
            return 3 * x[:, 0] - 4 * x[:, 1] + 1

    found = weight_clipping.steepness(MLPGenerator((2,), 0, None, 4, (8,)), Plane(), torch.randn(50, 2), 0)
    assert found == pytest.approx([5.0] * 3)


# architectures


def trained(gan, wgan, penalized):
    fids = {"GAN": gan, "WGAN": wgan, "WGAN-GP": penalized}
    runs = {
        which: {name: [{"fid": fid[place], "covered": 10}] for name, fid in fids.items()}
        for place, which in enumerate(wgan_architectures.PAIRS)
    }
    return {"pixels alone": 160.0, "test digits": 3.0, "runs": runs}


@pytest.mark.parametrize(
    ("numbers", "word"),
    [
        (trained((20.0, 900.0, 50.0), (60.0, 150.0, 100.0), (30.0, 90.0, 90.0)), HOLDS),
        (trained((20.0, 900.0, 800.0), (60.0, 400.0, 500.0), (30.0, 90.0, 90.0)), LIMITS),
        (trained((20.0, 900.0, 800.0), (60.0, 400.0, 500.0), (30.0, 190.0, 90.0)), LIMITS),
        (trained((20.0, 900.0, None), (60.0, 950.0, 500.0), (30.0, 190.0, 90.0)), NOT),
        (trained((20.0, 40.0, 50.0), (60.0, 60.0, 60.0), (30.0, 90.0, 90.0)), NOT),
        (trained((20.0, 900.0, 50.0), (60.0, 150.0, None), (30.0, None, 90.0)), NOT),
    ],
)
def test_wgan_architectures(numbers, word):
    assert wgan_architectures.verdict(numbers).word == word
    assert len({len(row) for row in wgan_architectures.table(numbers)}) == 1


def test_bad_pairs_have_no_norm_anywhere_and_the_penalty_never_meets_batch_norm():
    for which in wgan_architectures.PAIRS:
        for name, game in wgan_architectures.GAMES.items():
            norms = [
                sum(isinstance(m, nn.BatchNorm2d) for m in player.modules())
                for player in wgan_architectures.players(which, game, 0)
            ]
            assert (norms[0] > 0, norms[1] > 0) == (which == "DCGAN", which == "DCGAN" and name != "WGAN-GP")


# arithmetic


def summed(one, other, random=(0.25,) * 4):
    rest = {"single": [0.4] * 4, "pixels": [0.3] * 4, "random": list(random), "means": [0.9] * 4}
    return {
        "runs": {
            which: [{"sums": sums, **rest}] for which, sums in zip(latent_arithmetic.SETS, (one, other), strict=True)
        }
    }


GOOD, UNEVEN, BAD = [0.9, 0.8, 0.9, 0.7], [0.9, 0.8, 0.9, 0.3], [0.3, 0.4, 0.5, 0.3]


@pytest.mark.parametrize(
    ("numbers", "word"),
    [
        (summed(GOOD, GOOD), HOLDS),
        (summed(GOOD, UNEVEN), LIMITS),
        (summed(GOOD, BAD), LIMITS),
        (summed(None, GOOD), LIMITS),
        (summed(BAD, BAD), NOT),
        (summed(GOOD, GOOD, random=(0.25, 0.85, 0.25, 0.25)), NOT),
        (summed(None, None), NOT),
    ],
)
def test_latent_arithmetic(numbers, word):
    assert latent_arithmetic.verdict(numbers).word == word


def test_a_sum_of_attributes_is_the_kind_that_is_asked_for():
    for kind in range(4):
        a, b, c = ((k // 2, k % 2) for k in latent_arithmetic.operands(kind))
        assert (a[0] - b[0] + c[0], a[1] - b[1] + c[1]) == (kind // 2, kind % 2)
        assert len({kind, *latent_arithmetic.operands(kind)}) == 4


def test_discs_have_the_size_and_color_that_their_kind_says():
    part = latent_arithmetic.images("size and color", 200, 0)
    x, kind = part["image"], part["label"]
    assert (float(x.min()), bool(x.max() <= 1)) == (0.0, True)
    assert torch.equal((x.amax(1) > 0).sum((1, 2)) > 14, kind // 2 == 1)  # pixels with ink
    assert torch.equal(x[:, 0].amax((1, 2)) > 0, kind % 2 == 1)
    assert torch.equal(x[:, 2].amax((1, 2)) > 0, kind % 2 == 0)


def test_boxes_and_crosses_have_the_pixels_and_the_bar_that_their_kind_says():
    part = latent_arithmetic.images("shape and bar", 200, 0)
    ink, kind = part["image"][:, 0] > 0, part["label"]
    assert part["image"].shape == (200, 1, 8, 8)
    # 16 pixels around a box, 9 in a cross, 5 in a bar, all within the picture wherever they are
    assert torch.equal(ink.sum((1, 2)), 9 + 7 * (kind // 2) + 5 * (kind % 2))
    assert torch.equal(ink[:, 6:].sum((1, 2)) >= 5, kind % 2 == 1)


def test_codes_of_a_generator_that_is_linear_in_its_attributes_add():
    """A code's first two signs are its attributes: sums of means are right but where a mean is near 0."""
    torch.manual_seed(0)
    kinds = latent_arithmetic.images("size and color", 400, 0)
    examples = [kinds["image"][kinds["label"] == kind][0] for kind in range(4)]

    class Signs(nn.Module):
        def prior(self, n, generator):
            return torch.randn(n, latent_arithmetic.LATENT, generator=generator)

        def decode(self, z):
            return torch.stack(examples)[2 * (z[:, 0] > 0) + 1 * (z[:, 1] > 0)]

    class Eye(nn.Module):
        def forward(self, x):
            return -torch.cdist(x.flatten(1), torch.stack(examples).flatten(1)) * 100

    found, shown = latent_arithmetic.add(Signs(), Eye(), 0)
    assert found["means"] == [1.0] * 4
    # a sum is wrong in a sign only where two means of half normals outweigh a third, which is rare
    assert min(found["sums"]) > 0.75 > 0.5 > max(found["random"])
    assert max(found["single"]) < min(found["sums"])
    assert torch.tensor(shown).shape == (4, latent_arithmetic.ROWS, 4, 3, 8, 8)


# labels


def labeled(plain, told, classes=((10, 10), (10, 10)), obeyed=0.9):
    of = lambda fids, found, asked: [  # noqa: E731
        {"fid": [300.0, fid], "covered": [1, n], "as told": [asked, asked]} for fid, n in zip(fids, found, strict=True)
    ]
    runs = {"plain": of(plain, classes[0], None), "conditional": of(told, classes[1], obeyed)}
    return {"rounds": [1, 2], "test digits": 2.0, "runs": runs}


@pytest.mark.parametrize(
    ("numbers", "word"),
    [
        (labeled((40.0, 50.0), (20.0, 30.0)), HOLDS),
        (labeled((40.0, 50.0), (20.0, 55.0)), LIMITS),
        (labeled((40.0, 50.0), (20.0, 30.0), classes=((10, 10), (9, 10))), LIMITS),
        (labeled((40.0, 50.0), (60.0, 45.0)), NOT),
        (labeled((40.0, 50.0), (20.0, 30.0), obeyed=0.2), NOT),
    ],
)
def test_conditional_vs_plain(numbers, word):
    assert conditional_vs_plain.verdict(numbers).word == word
    assert len({len(row) for row in conditional_vs_plain.table(numbers)}) == 1


def test_the_conditional_game_has_ten_inputs_and_ten_vectors_more_and_nothing_else(evaluator, monkeypatch):
    seen = []
    real = conditional_vs_plain.Adversarial
    monkeypatch.setattr(conditional_vs_plain, "Adversarial", lambda *players: seen.append(players) or real(*players))
    found = [conditional_vs_plain._train(evaluator, classes, 1, 1, 0)[0] for classes in (0, 10)]
    counts = [[sum(p.numel() for p in player.parameters()) for player in players] for players in seen]
    # two levels from 8×8 leave maps of 2×2: the last has twice the width, and a label's vector is as long as all of it
    values = 2 * conditional_vs_plain.WIDTH * 2 * 2
    assert [b - a for a, b in zip(*counts, strict=True)] == [10 * values, 10 * values]
    assert found[0]["as told"] == [None]
    assert math.isfinite(found[1]["as told"][0])
