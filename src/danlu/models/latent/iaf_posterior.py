"""The posterior with inverse autoregressive layers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from jaxtyping import Float
from torch import Tensor, nn

from danlu.models.latent.flow_posterior import FlowPosterior, Layers
from danlu.nn.activations import Activation
from danlu.nn.dense import check_width, check_widths
from danlu.nn.masked.made import MADE
from danlu.nn.transforms.gate import Gate

POSTERIOR_HIDDEN = (128, 128)
"""default width of each hidden layer of a network"""


class IAFPosterior(FlowPosterior):
    r"""Inverse autoregressive flow: gates whose parameters depend on the entries before and on the features.

    .. math:: z_t = \sigma_t \odot z_{t-1} + (1 - \sigma_t) \odot m_t, \qquad
        (m_t, s_t) = \operatorname{MADE}_t(z_{t-1}, h), \quad \sigma_t = \operatorname{sigmoid}(s_t + \beta)

    The order of the units is reversed between the layers. Kingma et al., "Improved variational inference with inverse
    autoregressive flow", 2016, equations 10 to 14 and algorithm 1. The context h is the features of the encoder, which
    enter the first layer of each network, and β is that of ``danlu.nn.Gate``.

    Args:
        features: number of features.
        latent: number of latent units d.
        layers: number of layers T.
        hidden: width of each hidden layer of a network.
        activation: activation function of each hidden layer of a network.

    >>> z, log_q = IAFPosterior(features=5, latent=2, layers=3)(torch.zeros(4, 5)).draw(torch.zeros(7, 4, 2))
    >>> z.shape, log_q.shape
    (torch.Size([7, 4, 2]), torch.Size([7, 4]))
    """

    def __init__(
        self,
        features: int,
        latent: int,
        layers: int,
        hidden: Sequence[int] = POSTERIOR_HIDDEN,
        activation: Activation = "relu",
    ):
        super().__init__(features, latent)
        check_width("posterior_layers", layers)
        check_widths("posterior_hidden", hidden)
        self.layers = nn.ModuleList(IAFLayer(features, latent, hidden, activation) for _ in range(layers))

    def layers_for(self, features: Float[Tensor, "n f"]) -> Layers:
        """The layers with the features as the context."""
        return partial(self._run, features=features)

    def _run(self, z: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        total = z.new_zeros(z.shape[:2])
        for number, layer in enumerate(self.layers):
            z, log_det = layer(z.flip(-1) if number else z, features)
            total = total + log_det
        return z, total


class IAFLayer(nn.Module):
    """One layer of ``IAFPosterior``, from k vectors for each example to their images and log-determinants.

    Args:
        features: number of features.
        latent: number of latent units.
        hidden: width of each hidden layer of the network.
        activation: activation function of each hidden layer.
    """

    def __init__(self, features: int, latent: int, hidden: Sequence[int], activation: Activation):
        super().__init__()
        self.gate = Gate()
        self.network = MADE(latent, self.gate.outputs, hidden, features, activation=activation)

    def forward(
        self, z: Float[Tensor, "k n d"], features: Float[Tensor, "n f"]
    ) -> tuple[Float[Tensor, "k n d"], Float[Tensor, "k n"]]:
        """The images, and their log-determinants."""
        shift = self.network.of_context(features)  # the same for all k vectors of an example
        assert shift is not None  # there are features
        parameters = self.network.shifted(z.flatten(0, 1), shift.repeat(len(z), 1)).unflatten(0, (len(z), -1))
        z, log_slope = self.gate(z, parameters.to(z.dtype))
        return z, log_slope.sum(-1)
