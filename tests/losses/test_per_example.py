"""Values of a whole batch, or of the weights, as terms."""

import torch

from danlu.losses import l1_norm, per_example, squared_l2_norm


def test_spread_keeps_the_mean_whatever_the_number_of_examples():
    value = torch.randn(3, 4, dtype=torch.float64)
    expected = sum(value.flatten().tolist()) / 12
    for n in (1, 5, 64):
        term = per_example(value, n)
        assert term.shape == (n,)
        torch.testing.assert_close(term.mean().item(), expected)


def test_the_gradient_of_the_mean_of_a_spread_value_is_that_of_the_value():
    w = torch.randn(4, dtype=torch.float64, requires_grad=True)
    (through,) = torch.autograd.grad(per_example(w.square().sum(), 7).mean(), w)
    torch.testing.assert_close(through, 2 * w.detach())


def test_norms_equal_their_sums_in_plain_numbers():
    weights = [torch.randn(2, 3, dtype=torch.float64), torch.randn(4, dtype=torch.float64)]
    numbers = [number for w in weights for number in w.flatten().tolist()]
    torch.testing.assert_close(l1_norm(weights).item(), sum(abs(number) for number in numbers))
    torch.testing.assert_close(squared_l2_norm(weights).item(), sum(number**2 for number in numbers) / 2)


def test_the_gradient_of_half_the_squares_is_the_weight_itself():
    w = torch.randn(3, 3, dtype=torch.float64, requires_grad=True)
    squared_l2_norm([w]).backward()
    torch.testing.assert_close(w.grad, w.detach())
