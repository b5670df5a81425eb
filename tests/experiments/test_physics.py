"""Where an experiment rests on something exact, it is checked against it."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import nn

from danlu.data import Part, digits
from danlu.data.base.batch_stream import Shuffled
from danlu.experiments.harness.trainers import classification_trainer, stratified_subset
from danlu.experiments.networks import batchnorm, line_detector, linear_collapse, shift_invariance
from danlu.experiments.optimization import momentum, optimizers, sgd_noise
from danlu.experiments.optimization.sgd_noise import sharpness
from danlu.models import MLP
from danlu.training import OptimizerSettings


@pytest.mark.parametrize("gamma", [0.0, 0.9])
def test_the_way_down_a_valley_is_that_of_the_linear_recurrence(gamma):
    start, condition, lr = np.array([0.6, -0.8]), 50.0, 1.3
    way = momentum.trajectory_of(torch.tensor(start)[None], condition, lr, gamma, 40)[:, 0].numpy()
    for axis, steepness in enumerate([1.0, 1 / condition]):
        # (x, v) -> (x - lr v', v') with v' = gamma v + steepness x, raised to a power by its eigenvectors
        step = np.array([[1 - lr * steepness, -lr * gamma], [steepness, gamma]])
        values, vectors = np.linalg.eig(step.astype(complex))
        begin = np.linalg.solve(vectors, np.array([start[axis], 0.0]))
        expected = [(vectors @ (values**t * begin))[0].real for t in range(len(way))]
        np.testing.assert_allclose(way[:, axis], expected, atol=1e-12)


def test_steps_and_length_of_a_way_made_by_hand():
    far, near = 1.0, momentum.TOLERANCE / 2
    points = torch.tensor([[far, 0.0], [0.0, 0.0], [-0.5, 0.0], [near, 0.0], [0.0, 0.0]], dtype=torch.float64)
    assert momentum.steps_to_tolerance(points[:, None]) == [3]  # comes near after one step, but leaves again
    assert momentum.steps_to_tolerance(points[:3, None]) == [None]


def test_turning_and_distance_of_a_way_made_by_hand():
    way = torch.tensor([[3.0, 0.0], [4.0, 0.0], [4.0, 3.0], [4.0, 0.0]], dtype=torch.float64)
    assert momentum.turning(way) == pytest.approx((90 + 180) / 2)
    assert momentum.turning(torch.tensor([[0.0, 0.0], [1.0, 1.0], [3.0, 3.0]])) == pytest.approx(0, abs=0.1)
    assert momentum.distance(way) == pytest.approx(((9 + 16 + 25 + 16) / 4) ** 0.5)


def test_the_regression_over_all_examples_is_the_quadratic():
    part = momentum.regression_data(50.0, seed=3)
    points = torch.tensor([[0.3, -2.0], [1.0, 0.5]], dtype=torch.float64)
    batch = Shuffled(part, "full", 0).batch(0, slice(0, momentum.EXAMPLES))
    losses = [
        task(points, 50.0).objective(batch)["objective"].mean().item()
        for task in (momentum.Regression, momentum.Quadratic)
    ]
    assert losses[0] - 2 * momentum.NOISE**2 / 2 == pytest.approx(losses[1], rel=1e-12)


@pytest.mark.parametrize("gamma", [0.0, 0.9])
def test_descent_on_mini_batches_is_that_of_the_recurrence(gamma, monkeypatch):
    monkeypatch.setattr(momentum, "BURN_IN", 3)
    stream = Shuffled(momentum.regression_data(4.0, seed=2), momentum.BATCH, 2)
    weights, v, way = np.zeros(2), np.zeros(2), []
    for position in range(8):
        batch = stream.batch(position, slice(0, momentum.BATCH))
        x, y = batch["x"].numpy(), batch["y"].numpy()
        v = gamma * v + x.T @ (x @ weights - y) / len(y)
        weights = weights - 0.3 * v
        way.append(weights)
    found = momentum.noisy_trajectory(4.0, 0.3, gamma, seed=2, observed=5)
    np.testing.assert_allclose(found.numpy(), way[2:], rtol=1e-12)


def test_the_kernel_gives_3_on_the_line_and_less_on_each_of_the_511_other_patches():
    with torch.no_grad():
        responses = line_detector.detector(3)(line_detector.all_patches()).flatten().tolist()
    three = []
    for number, response in enumerate(responses):
        bits = [(number >> place) & 1 for place in reversed(range(9))]
        expected = sum(ink if place % 3 == 1 else -ink for place, ink in enumerate(bits))
        assert response == expected
        if response == 3:
            three.append(bits)
        else:
            assert response <= 2
    assert three == [[0, 1, 0, 0, 1, 0, 0, 1, 0]]


def test_lines_are_found_by_search_wherever_they_are():
    pictures = torch.zeros(3, 1, 6, 7)
    pictures[0, 0, 2:5, 3] = 1
    pictures[1, 0, 2:5, 3:5] = 1  # two wide
    pictures[2, 0, 2, 1:4] = 1  # lies
    assert line_detector.has_line(pictures).tolist() == [True, False, False]


def test_another_kernel_is_judged_not_to_find_lines(monkeypatch):
    ones = ((1.0, 1.0, 1.0),) * 3
    monkeypatch.setattr(
        line_detector, "detector", lambda side, pool=1, real=line_detector.detector: real(side, pool, ones)
    )
    found = line_detector.EXPERIMENT.run(quick=True).verdict
    assert (found.word, "the largest response to any other patch is 9" in found.reason) == ("does not hold", True)
    assert "the prediction is wrong for" in found.reason


@pytest.mark.long
def test_momentum_of_nothing_is_judged_not_to_be_better(monkeypatch):
    monkeypatch.setattr(momentum, "GAMMA", 0.0)
    monkeypatch.setattr(momentum, "LIMITS", dict.fromkeys(momentum.LIMITS, 2.0))
    judgment = momentum.EXPERIMENT.run(quick=True).verdict.judgment
    assert {found.state for found in judgment.findings if found.role == "clause"} == {"refuted"}


def test_activations_where_none_are_said_to_be_are_judged_not_to_collapse(monkeypatch):
    bent = lambda shape, classes, hidden, activation: MLP(shape, classes, hidden, activation="relu")  # noqa: E731
    monkeypatch.setattr(linear_collapse, "MLP", bent)
    judgment = linear_collapse.EXPERIMENT.run(quick=True).verdict.judgment
    assert judgment.finding(linear_collapse.SAME_MAP.clause).state == "refuted"
    assert not judgment.supported(linear_collapse.RANK.clause)


@pytest.mark.parametrize("hidden", [(), (3,), (5, 1, 7)])
def test_layers_without_activations_are_the_composed_map_of_bounded_rank(hidden):
    torch.manual_seed(0)
    network = MLP((4,), 6, hidden=hidden, activation="identity").double()
    weight, bias = linear_collapse.composed(network)
    x = torch.randn(20, 4, dtype=torch.float64)
    torch.testing.assert_close(network(x).detach(), x @ weight.T + bias)
    assert torch.linalg.matrix_rank(weight) <= min(4, *hidden, 6)


def test_with_relu_the_composed_map_is_another():
    torch.manual_seed(0)
    network = MLP((4,), 6, hidden=(5,)).double()
    weight, bias = linear_collapse.composed(network)
    x = torch.randn(20, 4, dtype=torch.float64)
    assert not torch.allclose(network(x), x @ weight.T + bias, atol=1e-3)


def test_rank_is_the_number_of_principal_components():
    torch.manual_seed(0)
    x = torch.randn(50, 2)
    for activation in ("identity", "relu"):
        network = MLP((2,), 2, hidden=(8,), activation=activation)
        hidden = network.body(x).detach().double().numpy()
        variances = PCA().fit(hidden).explained_variance_
        assert linear_collapse._as_a_map(network, x)[0] == (variances > 1e-9 * variances[0]).sum()


def test_sharpness_is_the_largest_eigenvalue_of_the_whole_hessian():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    x, labels = torch.randn(30, 3, dtype=torch.float64), torch.arange(30) % 3
    names, values = zip(*network.named_parameters(), strict=True)

    def loss(flat):
        parts = flat.split([v.numel() for v in values])
        weights = {n: p.view_as(v) for n, p, v in zip(names, parts, values, strict=True)}
        return nn.functional.cross_entropy(torch.func.functional_call(network, weights, x), labels)

    hessian = torch.autograd.functional.hessian(loss, torch.cat([v.detach().flatten() for v in values]))
    eigenvalues = torch.linalg.eigvalsh(hessian)
    expected = eigenvalues[eigenvalues.abs().argmax()]
    assert sharpness(network, x, labels, steps=5000, tolerance=1e-10) == pytest.approx(float(expected), rel=1e-4)


def test_shifts_lose_no_ink_and_networks_are_of_one_size():
    framed = shift_invariance.framed(digits().test)["image"]
    moved = shift_invariance.shifted(framed, 3, -3)
    torch.testing.assert_close(moved[:, :, :-3, 3:], framed[:, :, 3:, :-3])
    assert torch.equal(moved.sum((1, 2, 3)), framed.sum((1, 2, 3)))
    sizes = [sum(p.numel() for p in make().parameters()) for make in shift_invariance.NETWORKS.values()]
    assert max(sizes) <= 1.05 * min(sizes)


def test_scales_are_the_deviation_of_activations_and_the_size_of_gradients():
    torch.manual_seed(0)
    part = Part({"image": torch.rand(10, 1, 8, 8), "label": torch.arange(10)})
    net = batchnorm.network(norm=False, init=1.0)
    found = batchnorm.scales(net, part)
    first = net.body[0](part["image"].flatten(1)).detach().double()
    assert found["outputs"][0] == pytest.approx(float((first.var(dim=0, correction=0)).mean().sqrt()), rel=1e-5)
    last = net.body(part["image"].flatten(1)).detach().requires_grad_()
    nn.functional.cross_entropy(net.head(last), part["label"]).backward()
    assert found["gradients"][-1] == pytest.approx(float(last.grad.norm() / last.numel() ** 0.5), rel=1e-4)
    assert len(found["outputs"]) == len(found["gradients"]) == batchnorm.DEPTH


def test_some_of_a_part_has_all_classes_alike():
    some = stratified_subset(digits().train, 200, seed=1)
    assert len(some) == 200
    assert some["label"].bincount().tolist() == pytest.approx([20] * 10, abs=1)


def test_training_stops_at_the_goal_or_says_that_it_was_not_reached():
    part = Part({"x": torch.eye(4), "label": torch.arange(4)})

    def trained(goal, rounds):
        torch.manual_seed(0)
        network = nn.Linear(4, 4)
        trainer = classification_trainer(network, part, OptimizerSettings(optimizer="sgd", lr=1.0), rounds, "full", 0)
        return sgd_noise.train_to(trainer, part, goal, every=5), trainer.round

    loss, rounds = trained(0.3, 200)
    assert loss <= 0.3
    assert rounds % 5 == 0
    assert 0 < rounds < 200
    assert trained(1e-9, 20) == (None, 20)


def test_digits_of_training_validation_and_test_are_different_ones():
    training, validation, test = sgd_noise.parts(3)
    assert (len(training), len(validation)) == (sgd_noise.EXAMPLES, sgd_noise.VALIDATION)
    rows = [{tuple(image.flatten().tolist()) for image in part["image"]} for part in (training, validation, test)]
    assert all(not rows[a] & rows[b] for a, b in ((0, 1), (0, 2), (1, 2)))


def test_the_best_rate_is_that_of_validation_and_of_runs_that_reach_the_goal():
    runs = {rate: [{"validation": value} for value in values] for rate, values in
            {"0.1": [0.5, 0.7], "0.2": [0.4, 0.6], "0.4": [0.1, None]}.items()}  # fmt: skip
    assert sgd_noise.best_rate(runs) == "0.2"


def test_each_pixel_is_rescaled_by_its_own_factor():
    part = digits().train
    factors = optimizers.rescaled(part, 0)["image"] / part["image"]
    for pixel in factors.flatten(1).T:
        known = pixel[~pixel.isnan()]
        if len(known):
            torch.testing.assert_close(known, known[:1].expand_as(known))
    known = factors[~factors.isnan()]
    assert 0.01 <= known.min() < 0.1 < 10 < known.max() <= 100


def test_digits_that_are_judged_as_if_all_their_scales_were_known_do_not_need_another_rate(monkeypatch):
    """With one data set three times, no best rate moves, so nothing is left to adapt to."""
    part = digits().train
    monkeypatch.setattr(optimizers, "training_data", lambda problem, seed: part)
    monkeypatch.setattr(optimizers, "RATES", [0.1, 0.1, 0.03, 0.1, 0.1, 0.3])  # a quick run uses two of them
    found = optimizers.EXPERIMENT.run(quick=True)
    assert found.numbers["arms"]["sgd"]["movement"] == [1.0, 1.0]
    assert (found.verdict.word, "depends on the data set" in found.verdict.reason) == ("not decided", True)
