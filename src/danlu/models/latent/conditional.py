"""The conditional variational autoencoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from danlu.data.base.effects import Needs
from danlu.losses.variational import importance_bound
from danlu.models.base import FromData
from danlu.models.latent.autoencoder import Autoencoder, Pass
from danlu.models.latent.iaf_posterior import POSTERIOR_HIDDEN
from danlu.models.latent.labeled_base import LabeledAutoencoder
from danlu.models.latent.likelihood import LEVELS, SPREAD_NEEDS, Family, Spread
from danlu.models.latent.posterior import Posterior
from danlu.models.latent.posterior_by_name import POSTERIOR_LAYERS, POSTERIOR_NEEDS, PosteriorName
from danlu.nn.activations import Activation
from danlu.nn.dense import check_width
from danlu.nn.norm.by_name import Norm
from danlu.nn.one_hot import one_hot
from danlu.rng.keys import generator as generator_for

DRAWS = 8
"""Number of codes per example and label with which ``classify`` estimates likelihoods."""


class ConditionalVAE(LabeledAutoencoder):
    r"""A decoder p(x | y, z) and an encoder q(z | x, y), both conditional on the label.

    .. math:: \log p(x \mid y) \ge \mathbb E_{q(z \mid x, y)}[\log p(x \mid y, z)] - \mathrm{KL}(q(z \mid x, y) \,\|\,
        p(z))

    Sohn, Lee and Yan, "Learning structured output representation using deep conditional generative models", 2015,
    equation 4, with a prior of the code that does not depend on the label. This is the labeled term of Kingma,
    Rezende, Mohamed and Welling, "Semi-supervised learning with deep generative models", 2014, equation 6. The code
    need not represent the label, so it represents the rest of an example, its style.

    Args:
        shape: shape of one example.
        classes: number of labels.
        latent: number of latent units.
        hidden: width of each fully connected layer of the encoder; the decoder has them in reverse order.
        channels: output channels of each convolution of the encoder, which halves the image; empty for fully connected
            layers only.
        likelihood: distribution of the values: "bernoulli" for values from 0 to 1, "gaussian" for any real values,
            "logistic" for gray values on equidistant levels.
        spread: standard deviation of "gaussian" or scale of "logistic": a fixed number, "shared" to learn one for all
            values, or "each" to learn one per value.
        activation: activation function after each layer.
        norm: normalization before each activation.
        dropout: fraction of the hidden units of the encoder that are set to zero during training.
        posterior: distribution of codes: "gaussian", independent normal units, or "planar" or "iaf", a normalizing flow
            of such units; in Python also a module from features of the encoder to a distribution. Such a
            module has ``unit_kl`` = True if ``kl`` of its distributions is the closed form for each unit.
        posterior_layers: number of layers of the flow of the posterior.
        posterior_hidden: width of each hidden layer of the networks of "iaf".
        levels: number of levels of the values, for the likelihood "logistic"; 256 for bytes.

    Raises:
        ValueError: if an argument is out of range, or the image is too small for the convolutions.

    >>> model = ConditionalVAE(shape=(1, 8, 8), classes=3, latent=4, hidden=(32,)).eval()
    >>> model.sample(2, torch.tensor([0, 2])).shape, model.classify(torch.zeros(5, 1, 8, 8)).shape
    (torch.Size([2, 1, 8, 8]), torch.Size([5, 3]))
    """

    noise: Tensor

    needs: ClassVar[tuple[Needs, ...]] = (*SPREAD_NEEDS, *POSTERIOR_NEEDS)

    def __init__(
        self,
        shape: Sequence[int],
        classes: int,
        latent: int = 50,
        hidden: Sequence[int] = (500, 500),
        channels: Sequence[int] = (),
        likelihood: Family = "bernoulli",
        spread: Spread = "shared",
        activation: Activation = "relu",
        norm: Norm | None = None,
        dropout: float = 0.0,
        posterior: PosteriorName | nn.Module | None = "gaussian",
        posterior_layers: int = POSTERIOR_LAYERS,
        posterior_hidden: Sequence[int] = POSTERIOR_HIDDEN,
        levels: Annotated[int, FromData] = LEVELS,
    ):
        super().__init__()
        check_width("classes", classes)
        self.classes = classes
        self.autoencoder = Autoencoder(
            shape,
            latent,
            hidden,
            channels,
            likelihood,
            spread,
            classes,
            activation,
            norm,
            dropout,
            None,
            posterior,
            levels,
            posterior_layers,
            posterior_hidden,
        )
        noise = torch.randn(DRAWS, 1, latent, generator=generator_for("labels"))
        self.register_buffer("noise", noise, persistent=False)

    @property
    def capabilities(self) -> frozenset[str]:
        """The capabilities of the model, see ``danlu.verbs.CAPABILITIES``."""
        return super().capabilities | self.autoencoder.capabilities

    def forward(self, x: Tensor, noise: Float[Tensor, "k n d"], labels: Int[Tensor, "n"]) -> Pass:
        """Encode each example with its label, draw k codes, decode them with the label."""
        return self.autoencoder(x, noise, one_hot(labels, self.classes, x))

    def posterior(self, x: Tensor, labels: Int[Tensor, "n"] | None = None) -> Posterior:
        """The distribution of codes, q(z | x, y). Without labels, the most probable label is used."""
        return self.autoencoder.inference(x, self._label_weights(x, labels))

    def classify(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n classes"]:
        r"""The probability of each label by Bayes' rule, :math:`p(y \mid x) \propto p(x \mid y)`.

        The likelihoods are estimated by their importance-weighted bounds from a few codes. The noise is the same for
        all labels and all calls, so the result is deterministic.
        """
        return self._label_bounds(x).softmax(1)

    def class_log_probs(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n classes"]:
        """The logarithm of the result of ``classify``."""
        return self._label_bounds(x).log_softmax(1)

    def _label_bounds(self, x: Tensor) -> Float[Tensor, "n classes"]:
        n = x.shape[0]  # len(x) would become a constant in an export
        noise = self.noise.to(x.dtype).expand(-1, n, -1)
        bounds = []
        for label in torch.eye(self.classes, dtype=x.dtype, device=x.device):
            result = self.autoencoder(x, noise, label.expand(n, -1))
            bounds.append(importance_bound(self.autoencoder.log_weights(x, result)))
        return torch.stack(bounds, 1)
