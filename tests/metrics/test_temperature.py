"""The fitted temperature against scipy's minimizer, and what it must not change."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar

from danlu.metrics import BOUNDS, calibration, cooled, correct, fit_temperature


def drawn(true_temperature, n=3000, classes=7, seed=0):
    """Logits z, and labels that really come from softmax(z / T)."""
    source = torch.Generator().manual_seed(seed)
    z = 3 * torch.randn(n, classes, generator=source, dtype=torch.float64)
    labels = (z / true_temperature).softmax(1).multinomial(1, generator=source).squeeze(1)
    return z.softmax(1), labels


def loss(probabilities, labels, temperature):
    z = probabilities.log() / temperature
    return float((z.logsumexp(1) - z.gather(1, labels[:, None]).squeeze(1)).mean())


@pytest.mark.parametrize("true", [0.3, 1.0, 2.5, 8.0])
def test_it_is_scipys_minimum(true):
    probabilities, labels = drawn(true)
    found = fit_temperature(probabilities.log(), labels)
    peers = minimize_scalar(
        lambda log: loss(probabilities, labels, np.exp(log)), bounds=(-5, 5), method="bounded", options={"xatol": 1e-10}
    )
    assert found == pytest.approx(np.exp(peers.x), rel=1e-5)
    assert found == pytest.approx(true, rel=0.2)  # what the labels were drawn with: four standard errors at T = 8


def test_guesses_stay_and_calibration_gets_better():
    probabilities, labels = drawn(3.0)
    after = cooled(probabilities.log(), fit_temperature(probabilities.log(), labels))
    assert torch.equal(after.argmax(1), probabilities.argmax(1))
    assert torch.equal(correct(after, labels, 3), correct(probabilities, labels, 3))
    torch.testing.assert_close(after.sum(1), torch.ones(len(after), dtype=after.dtype))
    assert calibration(after, labels).error < calibration(probabilities, labels).error / 5


def test_temperature_one_changes_nothing():
    probabilities, _ = drawn(1.0)
    torch.testing.assert_close(cooled(probabilities.log(), 1.0), probabilities)


def test_where_all_guesses_are_right_the_data_sets_no_temperature():
    """The surer the better: a few right guesses must not make the model sure of everything."""
    probabilities = torch.tensor([[0.9, 0.1]] * 5)
    assert fit_temperature(probabilities.log(), torch.zeros(5, dtype=torch.long)) is None


def test_where_all_guesses_are_wrong_it_stops_at_the_bound():
    probabilities = torch.tensor([[0.9, 0.1]] * 5)
    assert fit_temperature(probabilities.log(), torch.ones(5, dtype=torch.long)) == pytest.approx(BOUNDS[1], rel=1e-6)


def test_probabilities_that_were_rounded_to_zero():
    probabilities = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    labels = torch.tensor([0, 0, 1, 1])
    found = fit_temperature(probabilities.log(), labels)
    assert 1 < found < BOUNDS[1]
    assert torch.isfinite(cooled(probabilities.log(), found)).all()


def test_undecided_probabilities_say_nothing_and_do_no_harm():
    probabilities = torch.full((4, 2), 0.5)
    found = fit_temperature(probabilities.log(), torch.tensor([0, 1, 1, 0]))
    assert BOUNDS[0] <= found <= BOUNDS[1]


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_value_that_is_not_finite_gives_no_temperature(value):
    probabilities, labels = drawn(2.0, n=50)
    log_probs = probabilities.log()
    log_probs[3, 2] = value
    assert fit_temperature(log_probs, labels) is None
    assert cooled(log_probs, 2.0)[3].isnan().any()


def test_logits_that_saturate_the_probabilities():
    """A hundred times larger logits need a hundred times the temperature, although their probabilities are 0 and 1."""
    probabilities, labels = drawn(2.0, n=500)
    large = (100 * probabilities.log()).float().log_softmax(1)
    assert (large.exp() == 0).any()
    assert fit_temperature(large, labels) == pytest.approx(100 * fit_temperature(probabilities.log(), labels), rel=1e-5)


@pytest.mark.parametrize("row", [[-200.0, -201.0], [-20.0, -21.0], [0.0, -300.0], [3.0, -88.0]])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 100.0])
def test_an_impossible_class_is_never_more_probable_than_a_possible_one(row, dtype, temperature):
    """Logits or log-probabilities, in any range; the possible classes keep their ratio."""
    values = torch.tensor([[*row, -torch.inf]], dtype=dtype)
    first, second, impossible = cooled(values.double() if temperature == 100 else values, temperature)[0].tolist()
    assert first >= second >= impossible
    exact = cooled(values.double(), temperature)[0]
    assert float((exact[0] / exact[1]).log()) == pytest.approx((row[0] - row[1]) / temperature, rel=1e-9)
