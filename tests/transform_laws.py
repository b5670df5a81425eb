"""The laws of an invertible transform: its inverse, its log-determinant, and its derivatives."""

import torch
from torch import Tensor

from danlu.nn import Transform


def randomized(transform: Transform, scale: float = 0.5) -> Transform:
    """The transform in float64 and evaluation mode, with random parameters."""
    transform = transform.double().eval()
    source = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in transform.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=source, dtype=torch.float64))
    return transform


def jacobian(transform: Transform, x: Tensor, context: Tensor | None = None, inverse: bool = False) -> Tensor:
    """∂z/∂x of each example by autograd, (n, d, d)."""
    function = transform.inverse if inverse else transform
    full = torch.autograd.functional.jacobian(lambda x: function(x, context)[0].flatten(1).sum(0), x)
    return full.flatten(2).transpose(0, 1)


def check(transform: Transform, x: Tensor, context: Tensor | None = None, tolerance: float = 1e-10) -> None:
    """Inverse and log-determinants, in both directions."""
    z, log_det = transform(x, context)
    back, inverse_log_det = transform.inverse(z, context)
    assert z.numel() == x.numel()
    assert log_det.shape == inverse_log_det.shape == (len(x),)
    torch.testing.assert_close(back, x, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(inverse_log_det, -log_det, rtol=tolerance, atol=tolerance)
    for point, value, inverse in ((x, log_det, False), (z.detach(), inverse_log_det, True)):
        exact = torch.linalg.slogdet(jacobian(transform, point, context, inverse)).logabsdet
        torch.testing.assert_close(value, exact, rtol=tolerance, atol=tolerance)
