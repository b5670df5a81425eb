"""The dense layer's parts in their order; normalization, running statistics and dropout against their formulas."""

import math

import pytest
import torch

from danlu.nn import dense
from danlu.nn.dense import check_dropout, check_widths


@pytest.mark.parametrize("norm", [None, "batch", "layer"])
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_the_parts_come_in_order_and_only_those_that_are_wanted(norm, dropout):
    names = [name for name, _ in dense(3, 4, "tanh", norm, dropout).named_children()]
    assert names == ["linear", *["norm"] * bool(norm), "activation", *["dropout"] * bool(dropout)]


def test_running_statistics_equal_the_datas():
    """After t batches the mean of the data has weight 1 - 0.9^t and the start, 0 and 1, the rest (momentum 0.1)."""
    layer = dense(3, 4, "identity", norm="batch").double()
    x = torch.randn(50, 3, dtype=torch.float64) * 3 + 1
    with torch.no_grad():
        h = x @ layer.linear.weight.T + layer.linear.bias
        for _ in range(7):
            layer(x)
    left = 0.9**7
    torch.testing.assert_close(layer.norm.running_mean, (1 - left) * h.mean(0))
    torch.testing.assert_close(layer.norm.running_var, (1 - left) * h.var(0, unbiased=True) + left)


def test_batch_norm_normalizes_by_the_batch_in_training_and_by_running_statistics_in_evaluation():
    layer = dense(3, 4, "identity", norm="batch").double()
    x = torch.randn(20, 3, dtype=torch.float64)
    h = x @ layer.linear.weight.T + layer.linear.bias
    torch.testing.assert_close(layer(x), (h - h.mean(0)) / (h.var(0, unbiased=False) + 1e-5).sqrt())
    mean, var = layer.norm.running_mean.clone(), layer.norm.running_var.clone()
    torch.testing.assert_close(layer.eval()(x), (h - mean) / (var + 1e-5).sqrt())
    assert torch.equal(layer.norm.running_mean, mean)


@pytest.mark.parametrize("training", [True, False])
def test_layer_norm_normalizes_each_example(training):
    layer = dense(3, 6, "identity", norm="layer").double().train(training)
    x = torch.randn(5, 3, dtype=torch.float64)
    h = x @ layer.linear.weight.T + layer.linear.bias
    expected = (h - h.mean(1, keepdim=True)) / (h.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(layer(x), expected)


def test_dropout_zeroes_a_fraction_and_scales_the_rest():
    torch.manual_seed(0)
    p, units = 0.3, 100_000
    layer = dense(1, units, "identity", dropout=p)
    x = torch.ones(1, 1)
    whole = layer.eval()(x)
    assert torch.equal(whole, layer.linear(x))  # the identity in evaluation
    dropped = layer.train()(x)
    kept = dropped != 0
    torch.testing.assert_close(dropped[kept], whole[kept] / (1 - p))
    assert abs(kept.float().mean().item() - (1 - p)) < 5 * math.sqrt(p * (1 - p) / units)  # five standard errors


@pytest.mark.unchecked
@pytest.mark.parametrize("widths", [(0,), (4, -1), (2.5,)])
def test_widths_that_are_not_positive_whole_numbers_are_refused(widths):
    with pytest.raises(ValueError, match=r"hidden=.* must be integers >= 1"):
        check_widths("hidden", widths)


@pytest.mark.unchecked
@pytest.mark.parametrize("dropout", [-0.1, 1.0, 1.5, math.nan])
def test_dropout_outside_its_range_is_refused(dropout):
    with pytest.raises(ValueError, match=r"at least 0 and less than 1"):
        check_dropout(dropout)


@pytest.mark.unchecked
def test_an_unknown_norm_is_refused():
    with pytest.raises(ValueError, match=r"norm.*batch.*layer"):
        dense(3, 4, "relu", norm="instance")
