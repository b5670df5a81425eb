"""Posteriors q(z | x) that a normalizing flow makes of independent normal units."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal, NamedTuple, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from danlu.data.base.effects import Needs
from danlu.models.latent.posterior import Diagonal, DiagonalPosterior
from danlu.nn.activations import Activation
from danlu.nn.dense import check_width, check_widths
from danlu.nn.linear import Linear
from danlu.nn.masked.made import MADE
from danlu.nn.roles import output_layer
from danlu.nn.transforms.gate import Gate
from danlu.nn.transforms.planar import IDENTITY, constrained, planar_of_each
from danlu.rng.keys import generator as generator_for

PosteriorName = Literal["gaussian", "planar", "iaf"]
Layers = Callable[[Float[Tensor, "k n d"]], tuple[Float[Tensor, "k n d"], Float[Tensor, "k n"]]]
"""the layers of a flow: from k vectors for each example to their images and log-determinants"""

POSTERIOR_LAYERS, POSTERIOR_HIDDEN = 8, (128, 128)
POSTERIOR_NEEDS = (
    Needs("posterior_layers", ("posterior",), ("planar", "iaf")),
    Needs("posterior_hidden", ("posterior",), ("iaf",)),
)
"""the arguments of models that a normal distribution does not have"""
DRAWS = 8
"""Number of fixed draws for the mean of a posterior, which are used with both signs."""
_SPREAD = 0.1


class Transformed(NamedTuple):
    r"""Layers of a flow applied to independent normal units: :math:`z_0 \sim q_0`, :math:`z_K = f(z_0)`.

    .. math:: \log q(z_K) = \log q_0(z_0) - \log \left| \det \frac{\partial f}{\partial z_0} \right|

    Rezende and Mohamed, "Variational inference with normalizing flows", 2015, equation 13.

    Attributes:
        base: the normal units.
        layers: f, with its log-determinants.
        noise: normal noise with which the mean is estimated, (draws, 1, d).
    """

    base: Diagonal
    layers: Layers
    noise: Tensor

    @property
    def mean(self) -> Float[Tensor, "n d"]:
        """An estimate of the mean from a few draws, which are the same in each call and for each example.

        Each draw occurs with both signs, so that the estimate is exact where the layers are affine functions.
        """
        n = self.base.mean.shape[0]  # len would become a constant in an export
        noise = self.noise.to(self.base.mean.dtype).expand(-1, n, -1)
        return self.draw(torch.cat([noise, -noise]))[0].mean(0)

    def draw(self, noise: Float[Tensor, "k n d"]) -> tuple[Tensor, Tensor]:
        """Draw codes from standard normal noise, and compute their log-densities."""
        z, log_q = self.base.draw(noise)
        z, log_det = self.layers(z)
        return z, log_q - log_det

    def kl(self) -> None:
        """None: the KL divergence has no closed form."""
        return


class FlowPosterior(nn.Module):
    """Base class of posteriors with a flow. A subclass defines ``layers_for``.

    Args:
        features: number of features.
        latent: number of latent units.

    Attributes:
        unit_kl: False: the KL divergence has no closed form.
    """

    unit_kl = False
    noise: Tensor

    def __init__(self, features: int, latent: int):
        super().__init__()
        self.base = DiagonalPosterior(features, latent)
        noise = torch.randn(DRAWS, 1, latent, generator=generator_for("posterior mean"))
        self.register_buffer("noise", noise, persistent=False)

    def forward(self, features: Float[Tensor, "n f"]) -> Transformed:
        """The distribution for each row of features."""
        # with autocast, the numbers of the networks have a precision that is too low for sums
        base = Diagonal(*(values.to(self.noise.dtype) for values in self.base(features)))
        return Transformed(base, self.layers_for(features), self.noise)

    def layers_for(self, features: Float[Tensor, "n f"]) -> Layers:
        """The layers for each row of features."""
        raise NotImplementedError(f"{type(self).__name__} must define layers_for")


class PlanarPosterior(FlowPosterior):
    r"""Planar layers :math:`z_k = z_{k-1} + \hat u_k \tanh(w_k^\top z_{k-1} + b_k)` with parameters for each example.

    The vectors and biases of all layers are linear in the features, as the mean and the log-variance of z₀ are. Rezende
    and Mohamed, "Variational inference with normalizing flows", 2015, equations 10 to 13 and appendix A.1; the
    constraint of u has the offset of ``danlu.nn.transforms.planar.constrained`` with which u = 0 is the identity. The
    first weights make every layer almost the identity.

    Args:
        features: number of features.
        latent: number of latent units d.
        layers: number of layers K.

    >>> z, log_q = PlanarPosterior(features=5, latent=2, layers=3)(torch.zeros(4, 5)).draw(torch.zeros(7, 4, 2))
    >>> z.shape, log_q.shape
    (torch.Size([7, 4, 2]), torch.Size([7, 4]))
    """

    def __init__(self, features: int, latent: int, layers: int):
        super().__init__(features, latent)
        check_width("posterior_layers", layers)
        self.count, self.latent = layers, latent
        self.layers = output_layer(Linear(features, layers * (2 * latent + 1)))
        if not self.layers.weight.is_meta:  # there are no values, and views would import large packages
            self._start_near_identity()

    @torch.no_grad()
    def _start_near_identity(self) -> None:
        """Small vectors u, and vectors w that differ from layer to layer and are not 0."""
        _, u, _ = self._split(self.layers.weight.t())
        u.mul_(_SPREAD)
        w, u, b = self._split(self.layers.bias[None])
        for bias, scale in ((w, 1.0), (u, _SPREAD)):
            nn.init.normal_(bias, std=scale / math.sqrt(self.latent))
        nn.init.zeros_(b)

    def layers_for(self, features: Float[Tensor, "n f"]) -> Layers:
        """The planar layers of each example."""
        # with autocast, the precision of the product is too low for u and 1 + wᵀu to agree
        w, u, b = self._split(self.layers(features).to(self.noise.dtype))
        u, slope = constrained(w, u, IDENTITY)
        return partial(planar_of_each, w=w, u=u, s=slope, b=b)

    def _split(self, outputs: Float[Tensor, "n p"]) -> tuple[Tensor, Tensor, Tensor]:
        """w and u, (n, layers, d), and b, (n, layers), as views."""
        d = self.latent
        w, u, b = outputs.unflatten(1, (self.count, 2 * d + 1)).split([d, d, 1], -1)
        return w, u, b.squeeze(-1)


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


def posterior_of(
    name: PosteriorName,
    features: int,
    latent: int,
    layers: int = POSTERIOR_LAYERS,
    hidden: Sequence[int] = POSTERIOR_HIDDEN,
    activation: Activation = "relu",
) -> nn.Module:
    """The module from features to a distribution of codes, by name.

    Args:
        name: "gaussian", "planar" or "iaf".
        features: number of features.
        latent: number of latent units.
        layers: number of layers of the flow.
        hidden: for "iaf", the width of each hidden layer of its networks.
        activation: for "iaf", the activation function of these layers.

    Raises:
        ValueError: if the name is unknown or a number is less than 1.

    >>> posterior_of("gaussian", features=5, latent=2)(torch.zeros(4, 5)).mean.shape
    torch.Size([4, 2])
    """
    match name:
        case "gaussian":
            return DiagonalPosterior(features, latent)
        case "planar":
            return PlanarPosterior(features, latent, layers)
        case "iaf":
            return IAFPosterior(features, latent, layers, hidden, activation)
    raise ValueError(f"posterior={name!r} is unknown; choose one of {', '.join(get_args(PosteriorName))}")
