"""Output sizes against torch's real outputs; receptive fields against what changes when an input entry changes."""

from itertools import product

import pytest
import torch
from torch import nn

from danlu.nn import output_size, receptive_field


@pytest.mark.parametrize(("kernel", "stride"), list(product((1, 2, 3, 5, 7), (1, 2, 3, 4))))
def test_output_size_is_that_of_a_real_convolution(kernel, stride):
    for n, padding in product(range(1, 13), range(4)):
        layer = nn.Conv1d(1, 1, kernel, stride, padding)
        try:
            real = layer(torch.zeros(1, 1, n)).shape[-1]
        except RuntimeError:  # torch finds the window too large
            with pytest.raises(ValueError, match=f"kernel={kernel} is larger than the input of {n}"):
                output_size(n, kernel, stride, padding)
        else:
            assert output_size(n, kernel, stride, padding) == real


@pytest.mark.parametrize(("kernel", "n"), list(product((2, 3), range(1, 13))))
def test_output_size_is_that_of_a_real_pooling(kernel, n):
    if n < kernel:
        with pytest.raises(ValueError, match="fewer poolings"):
            output_size(n, kernel, stride=kernel)
    else:
        assert output_size(n, kernel, stride=kernel) == nn.MaxPool1d(kernel)(torch.zeros(1, 1, n)).shape[-1]


@pytest.mark.parametrize(
    "layers",
    [
        [(1, 1)],
        [(3, 1), (3, 1)],
        [(3, 2), (5, 1)],
        [(3, 1), (2, 2), (3, 1), (2, 2)],
        [(7, 2), (3, 2), (3, 1), (3, 3)],
        [(1, 2), (3, 1)],
    ],
)
def test_receptive_field_is_the_span_of_nonzero_gradients(layers):
    """With positive weights no two paths cancel, so the gradient is zero only outside the field."""
    net = nn.Sequential(*(nn.Conv1d(1, 1, kernel, stride, bias=False) for kernel, stride in layers))
    for parameter in net.parameters():
        nn.init.constant_(parameter, 0.5)
    x = torch.zeros(1, 1, 120, requires_grad=True)
    out = net(x)
    out[0, 0, out.shape[-1] // 2].backward()
    touched = x.grad.flatten().nonzero().flatten()
    assert receptive_field(layers) == int(touched.max() - touched.min()) + 1


def test_no_layers_see_one_entry():
    assert receptive_field([]) == 1
