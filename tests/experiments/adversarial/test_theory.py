"""The experiments on the theory of adversarial games: what they rest on against something independent, and verdicts."""

import math
from copy import deepcopy

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch import nn

from danlu.data import Part, Shuffled, digits
from danlu.data.datasets.toy_2d import ring
from danlu.experiments.adversarial import (
    disjoint_supports,
    fid_vs_is,
    generator_gradient,
    kl_directions,
    one_sided_smoothing,
    optimal_discriminator,
    tug_of_war,
)
from danlu.experiments.harness import densities
from danlu.experiments.harness.trainers import SinglePlayer
from danlu.models import MLPCritic, MLPGenerator
from danlu.tasks import Adversarial, Techniques
from danlu.training import OptimizerSettings, Trainer
from quick_runs import quick_run

# what several of them use


def pair(seed=0, **techniques):
    torch.manual_seed(seed)
    players = MLPGenerator((1,), 0, None, latent=3, hidden=(8,)), MLPCritic((1,), 0, hidden=(8,))
    return Adversarial(*players, "minimax", Techniques(**techniques), inputs="x")


@pytest.mark.parametrize("who", ["critic", "generator"])
def test_alone_moves_one_player_and_no_other(who):
    game = pair()
    before = deepcopy(game.state_dict())
    part = Part({"x": torch.randn(64, 1)})
    for _ in Trainer(SinglePlayer(game, who), OptimizerSettings(lr=0.01), Shuffled(part, 16), 3):
        pass
    moved = {name.split(".")[0] for name, value in game.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {who}


def test_alone_plays_the_turns_of_the_game():
    """A critic's first step is the same alone and in the game, with the same noise."""
    game, part = pair(), Part({"x": torch.randn(64, 1)})
    other = deepcopy(game)
    for task in (SinglePlayer(game, "critic"), other):
        for _ in Trainer(task, OptimizerSettings(lr=0.01), Shuffled(part, 16), 1):
            pass
    for name, value in game.critic.state_dict().items():
        torch.testing.assert_close(value, other.critic.state_dict()[name], rtol=0, atol=0)


def test_divergences_are_those_of_quadrature_by_scipy():
    x = torch.linspace(-15, 15, 6001, dtype=torch.float64)
    p = densities.mixture([0.3, 0.7], [-1.0, 2.0], [0.5, 1.0])
    q = densities.mixture([1.0], [0.5], [1.5])
    found = [float(f(p.log_prob(x), q.log_prob(x), x)) for f in (densities.divergence, densities.jensen_shannon)]

    def of_p(t):
        return 0.3 * stats.norm.pdf(t, -1, 0.5) + 0.7 * stats.norm.pdf(t, 2, 1)

    def of_q(t):
        return stats.norm.pdf(t, 0.5, 1.5)

    def kl(a, b):
        return integrate.quad(lambda t: a(t) * np.log(a(t) / b(t)), -11, 11, points=[-1, 2], limit=200)[0]

    def middle(t):
        return (of_p(t) + of_q(t)) / 2

    assert found[0] == pytest.approx(kl(of_p, of_q), abs=1e-6)
    assert found[1] == pytest.approx((kl(of_p, middle) + kl(of_q, middle)) / 2, abs=1e-6)


def test_examples_are_of_the_mixture():
    p = densities.mixture([0.3, 0.7], [-1.0, 2.0], [0.5, 1.0])
    drawn = densities.draw_examples(p, 4000, seed=0)[:, 0].numpy()
    assert stats.kstest(drawn, lambda t: 0.3 * stats.norm.cdf(t, -1, 0.5) + 0.7 * stats.norm.cdf(t, 2, 1)).pvalue > 1e-3


# the optimal critic


class Exact(nn.Module):
    """The log-ratio of N(-1.5, 1) and N(1.5, 1), which is -3 x."""

    def forward(self, x):
        return -3 * x[:, 0]


def test_the_exact_critic_has_the_value_of_the_formula():
    found = optimal_discriminator.compare(optimal_discriminator.PAIRS["far apart"], Exact())
    p, q = (lambda t, m=m: stats.norm.pdf(t, m, 1) for m in (-1.5, 1.5))
    best = lambda t: p(t) * np.log(p(t) / (p(t) + q(t))) + q(t) * np.log(q(t) / (p(t) + q(t)))  # noqa: E731
    assert found["value"] == pytest.approx(integrate.quad(best, -10, 10)[0], abs=1e-6)
    assert found["value"] == pytest.approx(2 * found["divergence"] - math.log(4), abs=1e-6)
    assert found["distance"] < 1e-6


def test_a_critic_comes_closer_to_the_optimum_when_it_is_trained():
    """It is trained on examples of the first density against the second one; D = 1/2 is 0.43 away on average."""
    pair = optimal_discriminator.PAIRS["far apart"]
    at_first, later = (
        optimal_discriminator.compare(pair, optimal_discriminator.train_critic(pair, rounds, seed=0))["distance"]
        for rounds in (1, 100)
    )
    assert at_first > 0.3
    assert later < 0.1


def test_a_critic_that_knows_nothing_has_the_value_minus_log_4():
    nothing = lambda x: torch.zeros(len(x))  # noqa: E731
    found = optimal_discriminator.compare(optimal_discriminator.PAIRS["far apart"], nothing)
    assert found["value"] == pytest.approx(-math.log(4), abs=1e-6)


# the generator's gradient


def test_the_gradient_is_that_of_a_loop_over_examples():
    game = pair(seed=1)
    asked = SinglePlayer(deepcopy(game), "generator")
    part = Part({"x": torch.randn(32, 1)})
    (report,) = Trainer(asked, OptimizerSettings(optimizer="sgd", lr=1e-9), Shuffled(part, 32), 1)
    asked.enter(asked._noise.place)
    z = asked.task.noise((3,))
    total = [torch.zeros_like(p) for p in game.generator.parameters()]
    for code in z:
        d = game.critic(game.generator(code[None])).sigmoid()
        gradients = torch.autograd.grad((1 - d).log().sum(), list(game.generator.parameters()))
        total = [t + g / len(z) for t, g in zip(total, gradients, strict=True)]
    expected = torch.cat([t.flatten() for t in total]).norm()
    assert float(report.steps[0].norm) == pytest.approx(float(expected), rel=1e-4)


def test_the_new_critic_has_other_initial_weights_than_that_of_the_joint_training():
    """Those of one seed are repeatable, and those of another seed are others."""
    names = [(name, seed) for name in ("joint critic", "new critic") for seed in range(3)]
    weights = [next(generator_gradient._critic(*name).parameters()) for name in names]
    assert torch.equal(weights[0], next(generator_gradient._critic(*names[0]).parameters()))
    assert len({tuple(one.flatten().tolist()) for one in weights}) == len(names)


@pytest.mark.long
def test_a_critic_that_does_not_learn_leaves_the_gradient_undecided(monkeypatch):
    still = OptimizerSettings(optimizer="sgd", lr=1e-12)
    monkeypatch.setattr(generator_gradient, "OptimizerSettings", lambda **_: still)
    verdict = generator_gradient.EXPERIMENT.run(quick=True).verdict
    assert (verdict.word, "near-optimal" in verdict.reason) == ("not decided", True)


# directions of divergences


def test_fits_are_mixtures_of_gaussians():
    torch.manual_seed(0)
    fits = kl_directions.Fits(torch.randn(2, 3, 2).double(), torch.rand(2, 3, 2).double() + 0.5)
    nn.init.normal_(fits.weights)
    x = torch.linspace(-3, 3, 7, dtype=torch.float64)
    with torch.no_grad():
        found, right = fits.log_prob(x)[1, 2], float(fits.right()[1, 2])
        weights, means = fits.weights[1, 2].softmax(0).numpy(), fits.means[1, 2].numpy()
        deviations = fits.spreads[1, 2].exp().numpy()
    expected = sum(w * stats.norm.pdf(x.numpy(), m, s) for w, m, s in zip(weights, means, deviations, strict=True))
    np.testing.assert_allclose(found.exp().numpy(), expected)
    assert right == pytest.approx(
        sum(w * stats.norm.sf(0, m, s) for w, m, s in zip(weights, means, deviations, strict=True))
    )


def test_the_inclusive_fit_has_the_moments_of_the_data():
    """Which is where the inclusive divergence of a Gaussian is least, whatever the data."""
    log_p = kl_directions.data(4).log_prob(kl_directions.POINTS)[None]
    fits, distances = kl_directions.fitted(log_p, (4,), 1, kl_directions.INCLUSIVE, 400, [0, 7])
    assert distances.shape == (1, 2, 5)
    best = distances[:, 0].argmin(1)
    mean = 0.6 * -2 + 0.4 * 2
    assert fits.means[0, best[0], 0].item() == pytest.approx(mean, abs=1e-3)
    variance = 1 + 0.6 * (-2 - mean) ** 2 + 0.4 * (2 - mean) ** 2
    assert fits.spreads[0, best[0], 0].exp().item() == pytest.approx(variance**0.5, abs=1e-3)


# the tug of war


@pytest.mark.parametrize("way", tug_of_war.SCHEMES)
@pytest.mark.parametrize("rate", [0.1, 0.4])
def test_ways_are_powers_of_their_matrices(way, rate):
    path = tug_of_war.trajectory(way, rate, 30, angle=0.7).numpy()
    pull = np.array([[0.0, -1.0], [1.0, 0.0]])  # of x by -y, of y by x
    first, second = np.array([[1, -rate], [0, 1]]), np.array([[1, 0], [rate, 1]])
    step = {
        "at the same time": np.eye(2) + rate * pull,
        "in turns": second @ first,
        "looking ahead": np.eye(2) + rate * pull @ (np.eye(2) + rate * pull),
    }[way]
    expected = [np.linalg.matrix_power(step, t) @ path[0] for t in range(31)]
    np.testing.assert_allclose(path, expected, atol=1e-12)
    factor = {"at the same time": (1 + rate**2) ** 0.5, "looking ahead": (1 - rate**2 + rate**4) ** 0.5}.get(way)
    if factor:
        assert np.linalg.norm(path[-1]) == pytest.approx(factor**30)


# scores


def test_spoiled_digits():
    test = digits().test
    sure = torch.eye(10)[test["label"]]
    given = fid_vs_is.HeldOut(test["image"], test["label"], sure, 0)
    each = fid_vs_is.one_each(given)
    assert each.shape == given.images.shape
    assert len(each.unique(dim=0)) == 10
    noisy = fid_vs_is.noisy(0.2, given)
    assert 0 <= noisy.min() <= noisy.max() <= 1
    gray = fid_vs_is.HeldOut(torch.full((5, 1, 8, 8), 0.5), torch.zeros(5), sure, 0)
    assert (fid_vs_is.noisy(0.1, gray) - 0.5).std().item() == pytest.approx(0.1, rel=0.2)
    dot = torch.zeros(1, 1, 8, 8)
    dot[0, 0, 4, 4] = 1
    blurred = fid_vs_is.blurred(0.7, gray._replace(images=dot))[0, 0]
    assert (blurred[4, 5] / blurred[4, 4]).item() == pytest.approx(math.exp(-1 / (2 * 0.49)), rel=1e-5)
    assert blurred.sum().item() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("length", [1.0, 3.0])
def test_what_is_moved_by_a_length_is_its_square_away(length):
    assert fid_vs_is.shifted_distance(torch.randn(100, 6), length) == pytest.approx(length**2, rel=1e-4)


def test_changes_of_a_score_in_both_units():
    """Halves of the real images have 8 and 10, whose standard deviation is √2; a floor replaces no change at all."""
    scores = {way: [9.0, 8.0, 10.0] for way in fid_vs_is.MODIFICATIONS}
    scores |= {fid_vs_is.NOISE: [1.0, 1.0, 1.0], "blur 1": [7.0, 6.0, 8.0], "blur 0.7": [11.0, 11.0, 11.0]}
    found = fid_vs_is.changes(scores)
    assert found["deviations, blur 1"] == pytest.approx(2 / 2**0.5)
    assert found["share, blur 1"] == pytest.approx(2 / 8)
    assert found["deviations, blur 0.7"] == pytest.approx(2 / 2**0.5)
    assert (found["deviations, noise 0.2"], found["share, blur 0.7"]) == (0.1, 1e-3)


# disjoint supports


@pytest.mark.parametrize("shift", [0.0, 0.25, 0.75, 1.0, 3.0])
def test_the_divergence_of_two_intervals(shift):
    """Where they overlap p and q are equal, and elsewhere one of them is alone."""
    expected = min(shift, 1.0) * math.log(2)
    assert disjoint_supports.divergence(shift) == pytest.approx(expected, abs=1e-3)


def test_an_interval_is_uniform():
    made = disjoint_supports.Interval(2.0).sample(4000, generator=torch.Generator().manual_seed(0)).detach()
    assert stats.kstest(made[:, 0].numpy(), stats.uniform(2, 1).cdf).pvalue > 1e-3


def test_a_linear_critic_sees_the_shift_times_its_slope():
    class Linear(MLPCritic):
        def compute_features(self, x, class_weights):
            return x

        def score(self, features, labels=None):
            return -0.5 * features[:, 0]

    game = Adversarial(disjoint_supports.Interval(3.0), Linear((1,), 0), "wasserstein", Techniques(penalty=1.0), "x")
    assert disjoint_supports.estimated_distance(game, torch.rand(50, 1), 3.0) == pytest.approx(1.5, rel=1e-5)


# smoothing


@pytest.mark.parametrize("labels", [(1.0, 0.0), (0.9, 0.0), (0.9, 0.1)])
def test_no_other_answer_costs_less_than_the_best_critic(labels):
    """At each point the cost a p + b q of each answer is least where the formula says, found by search."""
    best = one_sided_smoothing.best(labels)
    place = torch.searchsorted(one_sided_smoothing.POINTS, 1.7)
    x, (a, b) = one_sided_smoothing.POINTS[place].item(), labels
    p, q = stats.norm.pdf(x, 0, 1), stats.norm.pdf(x, 4, 1)
    answers = np.linspace(1e-4, 1 - 1e-4, 100_001)
    paid = -p * (a * np.log(answers) + (1 - a) * np.log(1 - answers))
    paid -= q * (b * np.log(answers) + (1 - b) * np.log(1 - answers))
    assert best[place].item() == pytest.approx(answers[paid.argmin()], abs=1e-4)


def test_a_push_is_the_mean_slope():
    x = one_sided_smoothing.POINTS
    q = torch.distributions.Normal(4.0, 1.0).log_prob(x).exp()
    assert one_sided_smoothing.push(-3 * x, q) == pytest.approx(3.0, abs=1e-4)
    assert one_sided_smoothing.push(x.square(), q) == pytest.approx(2 * 4.0, abs=1e-3)


def test_smoothing_the_real_target_scales_the_gradient_of_minimax_and_keeps_the_other():
    """log D gets the constant log 0.9; the slope of log(1 − f) gets 0.9 (1 − f) / (1 − 0.9 f), at most 0.9."""
    none, real, both = (one_sided_smoothing.optimal_critic(labels) for labels in one_sided_smoothing.LABELS.values())
    non_saturating, minimax = one_sided_smoothing.NON_SATURATING, one_sided_smoothing.MINIMAX
    assert real[non_saturating] == pytest.approx(none[non_saturating], rel=1e-9)
    assert real[minimax] < 0.9 * none[minimax]
    q = stats.norm(4, 1).pdf

    def fraction(x):
        return 1 / (1 + np.exp(4 * x - 8))  # p / (p + q), with derivative −4 f (1 − f)

    def of_minimax(x, a):
        f = fraction(x)
        return q(x) * 4 * a * f * (1 - f) / (1 - a * f)

    def of_both(x):
        f = fraction(x)
        return q(x) * 4 * 0.8 * f * (1 - f) / (0.1 + 0.8 * f)

    for found, a in ((none, 1.0), (real, 0.9)):
        assert found[minimax] == pytest.approx(integrate.quad(of_minimax, -4, 12, args=(a,), limit=200)[0], rel=1e-3)
    assert both[non_saturating] == pytest.approx(integrate.quad(of_both, -4, 12, limit=200)[0], rel=1e-3)


@pytest.mark.parametrize(
    ("minimax", "non_saturating", "words"),
    [
        ((1.0, 0.72), (4.0, 0.2), ("does not enlarge", "factor 0.72", "is right", "by 0.05.")),
        ((1.0, 3.0), (4.0, 8.0), ("target enlarges", "factor 3)", "is wrong", "by 2.")),
    ],
)
def test_the_reasons_of_the_notes_follow_from_the_gradients(minimax, non_saturating, words):
    module = one_sided_smoothing
    arms = {
        module.NONE: {module.MINIMAX: [minimax[0]] * 2, module.NON_SATURATING: [1.0] * 2},
        module.REAL: {module.MINIMAX: [minimax[1]] * 2, module.NON_SATURATING: [non_saturating[0]] * 2},
        module.BOTH: {module.MINIMAX: [1.0] * 2, module.NON_SATURATING: [non_saturating[1]] * 2},
    }
    text = module._reasons(arms)
    assert all(one in text for one in words)
    assert not {module.MINIMAX, module.NON_SATURATING} & {one.measure for one in module.CRITERIA.comparisons}


@pytest.mark.long
def test_generators_that_are_copies_of_the_data_neither_gain_nor_lose_by_smoothing(monkeypatch):
    """Training without smoothing is then not unstable, so nothing is tested."""
    sampler = lambda trainer, n, seed: ring().test["x"][:n]  # noqa: E731
    monkeypatch.setattr(one_sided_smoothing, "samples", sampler)
    monkeypatch.setattr(one_sided_smoothing, "SAMPLES", 1000)
    found = one_sided_smoothing.EXPERIMENT.run(quick=True).verdict
    assert (found.word, "far from the data" in found.reason) == ("not decided", True)
    for clause in (one_sided_smoothing.HELPS, one_sided_smoothing.HARMS):
        assert found.judgment.finding(clause.clause).state == "refuted"


# a false world is judged as such


def test_a_critic_that_does_not_learn_is_judged_not_to_be_the_best(monkeypatch):
    monkeypatch.setattr(optimal_discriminator, "train_critic", lambda pair, rounds, seed: lambda x: torch.zeros(len(x)))
    found = optimal_discriminator.EXPERIMENT.run(quick=True).verdict
    assert (found.word, "trained to the optimum" in found.reason) == ("not decided", True)


@pytest.mark.long
def test_players_that_see_nothing_are_judged_never_to_settle(monkeypatch):
    monkeypatch.setattr(tug_of_war.TugOfWar, "set_positions", lambda self, batch: None)
    judgment = tug_of_war.EXPERIMENT.run(quick=True).verdict.judgment
    assert judgment.supported(tug_of_war.EXTRAGRADIENT.clause)


def test_changes_are_measured_on_disjoint_supports_alone():
    values = [0.1 if shift < 1 else 2 * shift for shift in disjoint_supports.SHIFTS]
    assert disjoint_supports.relative_change(values) == pytest.approx(3.0)


@pytest.mark.xdist_group("tug-of-war")
def test_the_mean_position_of_updates_in_turns_is_near_the_equilibrium():
    numbers = quick_run("tug-of-war")[0].numbers
    assert max(numbers["averages"]["in turns"].values()) < 0.5 * numbers["distances"]["in turns"]["0.1"][0]
