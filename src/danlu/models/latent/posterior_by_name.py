"""The posteriors of autoencoders by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from torch import nn

from danlu.data.base.effects import Needs
from danlu.models.latent.iaf_posterior import POSTERIOR_HIDDEN, IAFPosterior
from danlu.models.latent.planar_posterior import PlanarPosterior
from danlu.models.latent.posterior import DiagonalPosterior
from danlu.nn.activations import Activation

PosteriorName = Literal["gaussian", "planar", "iaf"]

POSTERIOR_LAYERS = 8
"""default number of layers of a flow"""
POSTERIOR_NEEDS = (
    Needs("posterior_layers", ("posterior",), ("planar", "iaf")),
    Needs("posterior_hidden", ("posterior",), ("iaf",)),
)
"""the arguments of models that a normal distribution does not have"""


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
