"""Maximization of the evidence lower bound, with decoder and encoder trained together or in alternating turns."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from danlu.data.base.batch_stream import Batch, in_order
from danlu.data.base.dataset import Part
from danlu.losses.variational import importance_bound
from danlu.metrics.active_units import active_count
from danlu.models.latent.conditional import ConditionalVAE
from danlu.models.latent.flow_posterior import FlowPosterior
from danlu.models.latent.vae import VAE
from danlu.tasks.kl_weight import PLAIN, KLWeight
from danlu.tasks.random_masks import Masks
from danlu.tasks.task import Descend, Task, Terms, Turn
from danlu.verbs import has

Objective = Literal["elbo", "iwae"]

GIVEN_LABEL = "_given_label"
"""End of the names of the scores of a conditional model that gets the label."""
BATCH = 500
"""Number of examples encoded at a time."""
COLLAPSED_KL = 0.1
"""KL divergence in nats below which a latent code carries almost no information."""


class Elbo(Task):
    """Trains a variational autoencoder by minimizing its negative evidence lower bound.

    The terms are ``reconstruction``, the expectation of −log p(x | z), and ``kl``, the KL divergence from the prior: in
    closed form, or for a posterior with a flow the mean of log q(z | x) − log p(z) over the samples. They are in nats
    per example and are sums over values and latent units. With a β other than 1, a warm-up, free bits
    or a capacity, the second term is ``weighted_kl``, as ``KLWeight`` defines it. The objective "iwae" has the single
    term ``negative_iwae_bound``. Scores are always of the ELBO with β = 1. For a conditional model the ELBO is a bound
    of log p(x | y), with y the field ``label`` of the batch.

    Args:
        vae: the model to train.
        kl_weight: weight of the KL divergence.
        samples: number of samples of the code per example.
        objective: "elbo", or "iwae" for the importance-weighted bound, which has no separate KL divergence.
        masks: random masks of the values that are hidden from the encoder during training.
        separate: train decoder and encoder in alternating turns instead of together.
        inputs: name of the field that is the input of the model.

    Raises:
        ValueError: if ``objective`` and ``kl_weight`` do not match, free bits or a capacity are set for a posterior
            without KL divergences in closed form, a number is out of range, a conditional model gets masks, or only one
            of model and task uses masks.

    >>> task = Elbo(VAE((4,), latent=2, hidden=(8,), likelihood="gaussian"), inputs="x")
    >>> [turn.player for turn in task.turns(0)]
    ['vae']
    """

    better: Mapping[str, str] = {
        "elbo": "higher",
        "reconstruction": "lower",
        "kl": "lower",
        "squared_error": "lower",
        "active_units": "higher",
    }

    def __init__(
        self,
        vae: VAE | ConditionalVAE,
        kl_weight: KLWeight = PLAIN,
        samples: int = 1,
        objective: Objective = "elbo",
        masks: Masks | None = None,
        separate: bool = False,
        inputs: str = "image",
    ):
        super().__init__()
        if samples < 1:
            raise ValueError(f"samples={samples} must be at least 1")
        if objective == "iwae" and kl_weight != PLAIN:
            raise ValueError("objective iwae has no separate KL term; use objective elbo to set a KL weight")
        if kl_weight.free_bits and kl_weight.capacity is not None:
            raise ValueError("free_bits and capacity both set a target of the KL term; set only one of them")
        if not has(vae, "unit_kl") and (kl_weight.free_bits or kl_weight.capacity is not None):
            name = "free_bits" if kl_weight.free_bits else "capacity"
            module = vae.autoencoder.inference.posterior
            unknown = f"of class {type(module).__name__} without unit_kl = True"
            which = "with a flow" if isinstance(module, FlowPosterior) else unknown
            raise ValueError(
                f"{name} needs a KL divergence in closed form, and a posterior {which} has an estimate of it; use "
                f"posterior gaussian, or beta or beta_warmup in place of {name}"
            )
        if masks is not None and has(vae, "class_conditional"):
            raise ValueError("masks cannot be used with a conditional model: its encoder has no input for them")
        if masks is not None and not has(vae, "masks"):
            raise ValueError("random masks need a model with masks=True, whose encoder gets the mask")
        if masks is None and has(vae, "masks"):
            raise ValueError("masks=True needs random masks during training, as in the recipe inpainting-vae")
        self.vae, self.kl_weight, self.samples, self.objective = vae, kl_weight, samples, objective
        self.masks, self.separate, self.inputs = masks, separate, inputs
        if has(vae, "class_conditional"):
            self.better = {name + GIVEN_LABEL: direction for name, direction in Elbo.better.items()}

    @property
    def model(self) -> nn.Module:
        return self.vae

    @property
    def coupled(self) -> str | None:
        return super().coupled or ("free bits" if self.kl_weight.free_bits else None)

    def players(self) -> dict[str, nn.Module]:
        if not self.separate:
            return {"vae": self.vae}
        return {"decoder": self.vae.autoencoder.generation, "encoder": self.vae.autoencoder.inference}

    def turns(self, round: int) -> list[Turn]:
        fit = partial(self.fit, round=round)
        if not self.separate:
            return [Descend("vae", fit)]
        # both turns minimize one objective, which includes dropout and the statistics of the batch
        return [
            Descend("decoder", fit, in_training=("encoder",)),
            Descend("encoder", fit, fresh=False, in_training=("decoder",)),
        ]

    def fit(self, batch: Batch, round: int) -> Terms:
        """The terms of the negative ELBO of each example, with the weights of this round."""
        x, condition = batch[self.inputs], self._condition(batch)
        output = self.vae(x, self._codes(x, self.samples), condition)
        if self.objective == "iwae":
            return {"negative_iwae_bound": -importance_bound(self.vae.autoencoder.log_weights(x, output))}
        reconstruction = self.vae.autoencoder.reconstruction(x, output).mean(0)
        name = "kl" if self.kl_weight == PLAIN else "weighted_kl"
        return {"reconstruction": reconstruction, name: self.kl_weight.weighted(output.kl(), round)}

    def scores(self, batch: Batch) -> Terms:
        """The ELBO with β = 1 from one sample, its two terms, and the mean squared error of a reconstruction.

        A conditional model gets the label. The names of its scores say so, because the scores of the finished model are
        computed without the label.
        """
        x = batch[self.inputs]
        label = self._label(batch)
        output = self.vae(x, self._codes(x, 1), label)
        reconstruction, kl = self.vae.autoencoder.reconstruction(x, output)[0], output.kl().sum(1)
        error = (self.vae.reconstruct(x, label) - x).square().flatten(1).mean(1)
        scores = {"elbo": -reconstruction - kl, "reconstruction": reconstruction, "kl": kl, "squared_error": error}
        return scores if label is None else {name + GIVEN_LABEL: score for name, score in scores.items()}

    def scores_of_part(self, part: Part) -> dict[str, float]:
        """Number of active latent units."""
        weight = next(self.vae.parameters())
        batches = in_order(part, BATCH, weight.device, weight.dtype)
        codes = [self.vae.encode(batch[self.inputs], self._label(batch)) for batch in batches]
        name = "active_units" + (GIVEN_LABEL if has(self.vae, "class_conditional") else "")
        return {name: active_count(torch.cat(codes).double())} if codes else {}

    def diagnose(self, scores: Mapping[str, float]) -> str | None:
        """Detect posterior collapse: the code carries no information and the decoder ignores it."""
        kl, units = (scores.get(name, scores.get(name + GIVEN_LABEL)) for name in ("kl", "active_units"))
        if kl is None or not (kl < COLLAPSED_KL or units == 0):
            return None
        above_0 = "beta_warmup or free_bits" if has(self.vae, "unit_kl") else "beta_warmup"
        return (
            f"Posterior collapse: the KL divergence is {kl:.2g} nats and {units or 0:.0f} of {self.vae.latent} latent "
            f"units are active, so the decoder ignores the latent. Try a smaller beta, {above_0} above 0, or a smaller "
            f"decoder."
        )

    def _label(self, batch: Batch) -> Tensor | None:
        """The label of each example for a conditional model, else None."""
        return batch["label"] if has(self.vae, "class_conditional") else None

    def _condition(self, batch: Batch) -> Tensor | None:
        """The second input of the model: a mask, a label, or None."""
        return self.masks.draw(self, batch[self.inputs]) if self.masks else self._label(batch)

    def _codes(self, x: Tensor, samples: int) -> Float[Tensor, "k n d"]:
        return self.noise((samples, self.vae.latent)).transpose(0, 1)
