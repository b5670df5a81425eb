"""The semi-supervised variational autoencoder, M2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from danlu.data.base.effects import Needs
from danlu.models.base import FromData
from danlu.models.latent.autoencoder import Autoencoder
from danlu.models.latent.labeled_base import LabeledAutoencoder
from danlu.models.latent.likelihood import LEVELS, SPREAD_NEEDS, Family, Spread
from danlu.models.latent.posterior import Diagonal
from danlu.nn.activations import Activation
from danlu.nn.dense import check_width, check_widths
from danlu.nn.encoder_decoder import Encoder
from danlu.nn.linear import Linear
from danlu.nn.norm.by_name import Norm
from danlu.nn.roles import output_layer


class Costs(NamedTuple):
    """Terms of the bounds of examples.

    Attributes:
        logits: logits of q(y | x), (n, classes).
        reconstruction: −log p(x | y, z) in nats, (n, classes) for all labels, or (n,) for one label.
        kl: KL divergence of q(z | x, y) from the prior in nats, with the same shape.
    """

    logits: Tensor
    reconstruction: Tensor
    kl: Tensor


class SemiSupervisedVAE(LabeledAutoencoder):
    r"""A decoder p(x | y, z), an encoder q(z | x, y) and a classifier q(y | x).

    .. math:: \log p(x, y) \ge -L(x, y), \qquad
        L(x, y) = -\mathbb E_{q(z \mid x, y)}[\log p(x \mid y, z)] + \mathrm{KL}(q(z \mid x, y) \,\|\, p(z)) - \log p(y)

    .. math:: \log p(x) \ge -U(x), \qquad U(x) = \sum_y q(y \mid x) \, L(x, y) - H(q(y \mid x))

    with uniform p(y). Kingma, Rezende, Mohamed and Welling, "Semi-supervised learning with deep generative models",
    2014, equations 6 and 7.

    Args:
        shape: shape of one example.
        classes: number of labels.
        latent: number of latent units.
        hidden: width of each fully connected layer of the encoder; the decoder has them in reverse order.
        classifier_hidden: width of each fully connected layer of the classifier.
        channels: output channels of each convolution of encoder and classifier; empty for fully connected networks.
        likelihood: distribution of the values: "bernoulli" for values from 0 to 1, "gaussian" for any real values,
            "logistic" for gray values on equidistant levels.
        spread: standard deviation of "gaussian" or scale of "logistic": a fixed number, "shared" to learn one for all
            values, or "each" to learn one per value.
        activation: activation function after each layer.
        norm: normalization before each activation.
        dropout: fraction of the hidden units of encoder and classifier that are set to zero during training.
        factorized: whether the encoder does not use the label, q(y | x) q(z | x), as in the notes.
        levels: number of levels of the values, for the likelihood "logistic"; 256 for bytes.

    Raises:
        ValueError: if an argument is out of range.

    >>> model = SemiSupervisedVAE(shape=(4,), classes=3, hidden=(8,), classifier_hidden=(8,), likelihood="gaussian")
    >>> model.classify(torch.zeros(5, 4)).shape, model.sample(2, torch.tensor([0, 2])).shape
    (torch.Size([5, 3]), torch.Size([2, 4]))
    """

    needs: ClassVar[tuple[Needs, ...]] = SPREAD_NEEDS

    def __init__(
        self,
        shape: Sequence[int],
        classes: int,
        latent: int = 50,
        hidden: Sequence[int] = (500,),
        classifier_hidden: Sequence[int] = (500,),
        channels: Sequence[int] = (),
        likelihood: Family = "bernoulli",
        spread: Spread = "shared",
        activation: Activation = "relu",
        norm: Norm | None = None,
        dropout: float = 0.0,
        factorized: bool = False,
        levels: Annotated[int, FromData] = LEVELS,
    ):
        super().__init__()
        check_width("classes", classes)
        check_widths("classifier_hidden", classifier_hidden)
        self.classes, self.factorized = classes, factorized
        self.classifier = Encoder(shape, classifier_hidden, channels, 0, activation, norm, dropout)
        self.head = output_layer(Linear(self.classifier.features, classes))
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
            levels=levels,
        )
        if factorized:
            self.autoencoder.inference.encoder.label = None

    def logits(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n classes"]:
        """Logits of q(y | x)."""
        return self.head(self.classifier(x))

    def forward(
        self,
        x: Float[Tensor, "n *shape"],
        noise: Float[Tensor, "n d"],
        label: Float[Tensor, "n classes"] | None = None,
        gumbel: Float[Tensor, "n classes"] | None = None,
        temperature: float = 1.0,
    ) -> Costs:
        r"""Compute the terms of the bound of each example for its label, for a relaxed sample of it, or for all labels.

        A relaxed sample is :math:`\operatorname{softmax}((\log q(y \mid x) + g) / \tau)` with standard Gumbel noise g:
        Jang, Gu and Poole, "Categorical reparameterization with Gumbel-softmax", 2017, equation 2.

        Args:
            x: the examples, (n, *shape).
            noise: standard normal noise for the codes, (n, latent).
            label: one-hot labels, (n, classes).
            gumbel: standard Gumbel noise for a relaxed sample, (n, classes).
            temperature: τ of the relaxed sample.
        """
        logits = self.logits(x)
        if gumbel is not None:
            label = ((logits.log_softmax(1) + gumbel) / temperature).softmax(1)
        if label is None:
            return self._with_every_label(x, noise, logits)
        result = self.autoencoder(x, noise[None], label)
        return Costs(logits, self.autoencoder.reconstruction(x, result)[0], _kl(result.posterior))

    def _with_every_label(self, x: Tensor, noise: Tensor, logits: Tensor) -> Costs:
        """Compute all labels in one pass of n · classes rows. Terms without the label are computed once."""
        n, k = len(x), self.classes
        inference, generation = self.autoencoder.inference, self.autoencoder.generation
        labels = torch.eye(k, dtype=x.dtype, device=x.device)
        shared = inference.encoder.first_layer(x)[:, None]
        inputs = shared if inference.encoder.label is None else shared + inference.encoder.label(labels)
        posterior: Diagonal = inference.posterior(inference.encoder.rest(inputs.flatten(0, 1)))
        repeats = len(posterior.mean) // n  # 1 if the encoder does not use the label
        z = posterior.draw(noise.repeat_interleave(repeats, 0)[None])[0][0]
        z = z.unflatten(0, (n, repeats)).expand(n, k, -1)
        output = generation(z.flatten(0, 1), labels.repeat(n, 1)).unflatten(0, (n, k))
        reconstruction = -generation.likelihood.log_prob(x, output.transpose(0, 1)).T
        kl = _kl(posterior).unflatten(0, (n, repeats)).expand(n, k)
        return Costs(logits, reconstruction, kl)

    def classify(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n classes"]:
        """The probability of each label, q(y | x)."""
        return self.logits(x).softmax(1)

    def class_log_probs(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n classes"]:
        """The log-probability of each label, log q(y | x)."""
        return self.logits(x).log_softmax(1)


def _kl(posterior: Diagonal) -> Float[Tensor, "n"]:
    return posterior.kl().sum(-1)
