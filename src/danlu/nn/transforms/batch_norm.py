"""Batch normalization between the layers of a flow."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from danlu.nn.transforms.transform import Transform


class BatchNormTransform(Transform):
    r"""Batch normalization as an invertible transform; of images, for each channel.

    .. math:: z = e^{\gamma} \, \frac{x - m}{\sqrt{v + \varepsilon}} + \beta, \qquad
        \log \left| \det \frac{\partial z}{\partial x} \right| = P \sum_i
        \left( \gamma_i - \tfrac12 \log(v_i + \varepsilon) \right)

    P is the number of positions of an image, and 1 for rows. Papamakarios, Pavlakou and Murray, "Masked autoregressive
    flow for density estimation", 2017, equations 22 and 23; Dinh et al., "Density estimation using Real NVP", 2017,
    equation 24. During training m and v are the mean and the variance of the batch in ``forward``; otherwise, and
    always in ``inverse``, they are running averages of these.

    Args:
        size: number of values d of an example, or of channels.
        momentum: weight of the newest batch in the running averages.
        eps: ε.

    Raises:
        ValueError: during training, if a batch has a single example.

    >>> norm = BatchNormTransform(2)
    >>> z, log_det = norm(torch.tensor([[1.0, 0.0], [3.0, 4.0]]))
    >>> z.detach().round()
    tensor([[-1., -1.],
            [ 1.,  1.]])
    """

    def __init__(self, size: int, momentum: float = 0.1, eps: float = 1e-5):
        super().__init__()
        self.statistics = nn.BatchNorm1d(size, eps=eps, momentum=momentum, affine=False)
        self.log_scale, self.shift = nn.Parameter(torch.zeros(size)), nn.Parameter(torch.zeros(size))

    def forward(
        self, x: Float[Tensor, "n d *positions"], context: Tensor | None = None
    ) -> tuple[Float[Tensor, "n d *positions"], Float[Tensor, "n"]]:
        """Normalize with the statistics of the batch during training, and with running averages otherwise."""
        values = x.reshape(*x.shape[:2], math.prod(x.shape[2:]))
        z = torch.addcmul(self.shift[:, None], self.statistics(values), self.log_scale.exp()[:, None])
        variance = values.var((0, 2), correction=0) if self.training else self._running()[1]
        return z.reshape(x.shape), self._log_det(variance, x)

    def inverse(
        self, z: Float[Tensor, "n d *positions"], context: Tensor | None = None
    ) -> tuple[Float[Tensor, "n d *positions"], Float[Tensor, "n"]]:
        """The inverse with running averages."""
        mean, variance = self._running()
        scale = (-self.log_scale).exp() * (variance + self.statistics.eps).sqrt()
        shape = (-1, *(1,) * (z.dim() - 2))
        x = torch.addcmul(mean.view(shape), z - self.shift.view(shape), scale.view(shape))
        return x, -self._log_det(variance, z)

    def _running(self) -> tuple[Tensor, Tensor]:
        """The running averages of the mean and the variance."""
        return self.statistics.get_buffer("running_mean"), self.statistics.get_buffer("running_var")

    def _log_det(self, variance: Float[Tensor, "d"], x: Tensor) -> Float[Tensor, "n"]:
        each = (self.log_scale - 0.5 * (variance + self.statistics.eps).log()).sum()
        return (each * math.prod(x.shape[2:])).expand(x.shape[0])
