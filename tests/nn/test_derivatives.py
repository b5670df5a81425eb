"""When functions with a hand-written backward pass are used, and their second derivatives."""

import pytest
import torch
from torch.autograd import forward_ad

from danlu.nn.derivatives import differentiable_gradients, records_backward


def test_they_are_used_only_where_autograd_records_a_backward_pass():
    x, seen = torch.zeros(2), []
    assert records_backward(x)
    with torch.no_grad():
        seen.append(records_backward(x))
    with torch.inference_mode():
        seen.append(records_backward(x))
    with torch.autocast("cpu", torch.bfloat16):
        seen.append(records_backward(x))
    with forward_ad.dual_level():
        seen.append(records_backward(x))
    seen.append(records_backward(torch.nn.Parameter(x)))
    for transform in (torch.func.grad, torch.func.vmap):
        transform(lambda x: seen.append(records_backward(x)) or x.sum())(x)
    assert seen == [False] * 7
    assert records_backward(x)


@pytest.mark.unchecked
def test_compiled_code_has_single_operations():
    def function(x):
        return x + 1 if records_backward(x) else x + 2

    compiled = torch.compile(function, backend="eager", fullgraph=True)
    assert compiled(torch.zeros(1, requires_grad=True)).item() == 2


def test_gradients_of_inputs_that_depend_on_each_other():
    w = torch.tensor(3.0, requires_grad=True)
    z = w * w
    of_z, missing, of_w, fixed = differentiable_gradients(
        lambda z, _, w, c: (z * w * c,), (z, None, w, torch.tensor(2.0)), (torch.tensor(1.0),)
    )
    assert (of_z.item(), missing, of_w.item(), fixed) == (6.0, None, 18.0, None)
    assert torch.autograd.grad(of_w, w)[0].item() == 12.0  # of 2 w²
