"""Clipping of gradients, against torch's own function and a computation by hand."""

import pytest
import torch

from danlu.training import clip_gradients


@pytest.mark.parametrize("max_norm", [0.1, 2.0, 1e6])
def test_gradients_and_norm_are_those_of_torch(max_norm: float):
    parameters = [torch.nn.Parameter(torch.zeros(shape, dtype=torch.float64)) for shape in ((3, 4), (5,), (1,))]
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter)
    gradients = [parameter.grad.clone() for parameter in parameters]  # type: ignore[union-attr]
    before = [gradient.norm() for gradient in gradients]
    norm, norms = clip_gradients(gradients, max_norm)
    expected = torch.nn.utils.clip_grad_norm_(parameters, max_norm)
    torch.testing.assert_close(norm, expected)
    torch.testing.assert_close(norms, torch.stack(before))
    for gradient, parameter in zip(gradients, parameters, strict=True):
        torch.testing.assert_close(gradient, parameter.grad)


def test_without_a_limit_gradients_are_unchanged():
    gradients = [torch.tensor([30.0]), torch.tensor([40.0])]
    norm, _ = clip_gradients(gradients, None)
    assert norm.item() == 50.0
    assert [gradient.item() for gradient in gradients] == [30.0, 40.0]


def test_parts_of_several_processes_are_clipped_by_the_norm_of_the_whole():
    gradients = [torch.tensor([3.0])]  # another process has 4

    def sum_over_processes(tensors: list[torch.Tensor]) -> None:
        tensors[0] += 16.0

    norm, norms = clip_gradients(gradients, 1.0, sum_over_processes)
    assert (norm.item(), norms.tolist()) == (5.0, [5.0])
    torch.testing.assert_close(gradients[0], torch.tensor([0.6]))
