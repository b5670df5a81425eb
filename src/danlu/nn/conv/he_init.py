"""Initial weights of deep convolutional networks."""

from __future__ import annotations

from torch import nn


def he_normal(module: nn.Module) -> None:
    r"""Initialize the weights of convolutions so that gradients keep their variance through rectified layers.

    .. math:: W \sim \mathcal N(0, 2 / (k^2 c_\text{out})), \qquad b = 0

    He, Zhang, Ren and Sun, "Delving deep into rectifiers", 2015, equation 14. Linear layers keep torch's weights,
    uniform within ±1/√inputs, and get a bias of 0; normalization layers start as the identity, as in torch. The code
    published with ResNet and DenseNet does the same.

    Args:
        module: the network; it is changed in place.

    >>> layer = nn.Conv2d(64, 256, 3)
    >>> he_normal(layer)
    >>> round(float(layer.weight.detach().var() * 3 * 3 * 256), 1), float(layer.bias.detach().abs().max())
    (2.0, 0.0)
    """
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
        if isinstance(part, (nn.Conv2d, nn.Linear)) and part.bias is not None:
            nn.init.zeros_(part.bias)
