"""Conditional batch normalization: a gain and a shift for each class."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class ConditionalBatchNorm(_BatchNorm):
    r"""Batch normalization whose gains and shifts depend on the label of each example.

    .. math:: y_n = \gamma_n \, \frac{x_n - \mu}{\sqrt{\sigma^2 + \varepsilon}} + \beta_n, \qquad
        \gamma_n = \sum_k s_{nk} \gamma_k, \quad \beta_n = \sum_k s_{nk} \beta_k

    where s are class weights, usually one-hot; μ and σ² are those of the whole batch over all labels, or the running
    statistics, as in torch. Dumoulin, Shlens and Kudlur, "A learned representation for artistic style", 2017, section
    2.2, with classes in place of styles. Initially all gains are 1 and all shifts 0, which is plain batch
    normalization.

    Args:
        size: number of features or channels.
        classes: number of classes.

    Raises:
        ValueError: if classes is less than 1, or the input has a different number of features.

    >>> norm = ConditionalBatchNorm(3, classes=2)
    >>> x = torch.randn(4, 3, 8, 8)
    >>> norm(x, torch.eye(2)[[0, 1, 1, 0]]).allclose(nn.BatchNorm2d(3)(x))
    True
    """

    def __init__(self, size: int, classes: int):
        if classes < 1:
            raise ValueError(f"classes={classes} must be at least 1")
        super().__init__(size, affine=False)
        self.gain, self.shift = nn.Parameter(torch.ones(classes, size)), nn.Parameter(torch.zeros(classes, size))

    def forward(  # type: ignore[override]
        self, input: Float[Tensor, "n size *positions"], class_weights: Float[Tensor, "n classes"]
    ) -> Float[Tensor, "n size *positions"]:
        """The normalized batch, scaled and shifted by the label of each example."""
        normal = super().forward(input)
        each = (..., *(None,) * (input.dim() - 2))  # at every position
        return torch.addcmul((class_weights @ self.shift)[each], normal, (class_weights @ self.gain)[each])

    def extra_repr(self) -> str:
        """Sizes, for ``repr``."""
        return f"{self.num_features}, classes={len(self.gain)}"

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2 or input.shape[1] != self.num_features:
            raise ValueError(f"input of shape {tuple(input.shape)}; expected {self.num_features} features")
