"""Batch normalization as a transform."""

import copy

import pytest
import torch
from torch import nn

from danlu.nn import BatchNormTransform
from transform_laws import check


def norm_of(size=3):
    torch.manual_seed(0)
    norm = BatchNormTransform(size).double()
    nn.init.normal_(norm.log_scale), nn.init.normal_(norm.shift)
    return norm, 2 * torch.randn(50, size, dtype=torch.float64) + 1


def test_during_training_it_is_the_formula_with_the_statistics_of_the_batch():
    norm, x = norm_of()
    z, log_det = norm(x)
    variance = x.var(0, correction=0) + 1e-5
    expected = norm.log_scale.exp() * (x - x.mean(0)) / variance.sqrt() + norm.shift
    torch.testing.assert_close(z, expected)
    torch.testing.assert_close(log_det, (norm.log_scale - variance.log() / 2).sum().expand(50))


def test_the_log_determinant_during_training_has_the_gradient_of_its_formula():
    norm, x = norm_of()
    x.requires_grad_()
    (ours,) = torch.autograd.grad(norm(x)[1].sum(), x)
    (plain,) = torch.autograd.grad(-25 * (x.var(0, correction=0) + 1e-5).log().sum(), x)
    torch.testing.assert_close(ours, plain)


def test_afterwards_it_inverts_and_its_log_determinant_is_that_of_the_jacobian():
    norm, x = norm_of()
    for _ in range(20):
        norm(x)
    norm.eval()
    z, log_det = norm(x)
    again, other = norm.inverse(z)
    torch.testing.assert_close(again, x, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(other, -log_det)
    jacobian = torch.autograd.functional.jacobian(lambda x: norm(x)[0], x[:1])[0, :, 0]
    torch.testing.assert_close(log_det[0], torch.linalg.slogdet(jacobian)[1])
    assert norm(x[:1])[0].equal(z[:1]), "an example does not depend on the others"


def test_running_averages_approach_the_statistics_of_the_data():
    norm, x = norm_of()
    for _ in range(200):
        norm(x)
    torch.testing.assert_close(norm.statistics.running_mean, x.mean(0), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(norm.statistics.running_var, x.var(0), rtol=1e-6, atol=1e-6)


def test_one_example_during_training_is_an_error():
    norm, x = norm_of()
    with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
        norm(x[:1])


def test_images_are_normalized_for_each_channel():
    """As rows with one row for each position, whose log-determinants are added."""
    norm, _ = norm_of()
    x = 2 * torch.randn(8, 3, 2, 4, dtype=torch.float64) + 1
    rows = copy.deepcopy(norm)(x.movedim(1, 3).flatten(0, 2))
    z, log_det = norm(x)
    torch.testing.assert_close(z, rows[0].view(8, 2, 4, 3).movedim(3, 1))
    torch.testing.assert_close(log_det, 8 * rows[1][:8])
    check(norm.eval(), x[:2])
