"""When functions with a hand-written backward pass are used, and their second derivatives."""

import pytest
import torch
from torch.autograd import forward_ad

from danlu.nn.derivatives import differentiable_gradients, is_observed, records_backward, without_autocast


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


def test_gradients_of_functions_with_an_output_of_constants_alone():
    x, constant = torch.tensor(3.0, requires_grad=True), torch.tensor(2.0)
    of_x, of_constant = differentiable_gradients(
        lambda x, c: (x**3, c * c), (x, constant), (torch.tensor(1.0), torch.tensor(5.0))
    )
    assert (of_x.item(), of_constant) == (27.0, None)
    assert torch.autograd.grad(of_x, x)[0].item() == 18.0


def test_a_module_with_hooks_or_its_own_forward_is_observed():
    for register in ("forward_hook", "forward_pre_hook", "full_backward_hook", "full_backward_pre_hook"):
        layer = torch.nn.ReLU()
        assert not is_observed(layer)
        handle = getattr(layer, f"register_{register}")(lambda *_: None)
        assert is_observed(layer)
        handle.remove()
        assert not is_observed(layer)
    layer.forward = lambda x: x
    assert is_observed(layer)


def test_a_backward_pass_without_autocast_has_the_type_of_its_tensors():
    seen = []

    @without_autocast
    def backward(ctx, gradient):
        seen.append(torch.is_autocast_enabled("cpu"))
        return ctx @ gradient

    a, g = torch.randn(3, 4), torch.randn(4, 2)
    expected = a @ g
    with torch.autocast("cpu", torch.bfloat16):
        assert backward(a, g).equal(expected)
        assert torch.is_autocast_enabled("cpu")
    assert backward(a, g).equal(expected)
    assert seen == [False, False]
