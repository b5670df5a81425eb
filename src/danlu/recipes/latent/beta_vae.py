"""β-VAE: a variational autoencoder with a larger weight of the KL term. Higgins et al., "β-VAE", 2017.

danlu train beta-vae                                           digits
danlu train beta-vae --data fashion-mnist --model.channels 32 64
danlu train beta-vae --beta 100 --capacity 25 --capacity-rounds 5000    as Burgess et al., 2018; γ = 100 is ours
"""

from __future__ import annotations

from typing import Any, ClassVar

from danlu.data.base.dataset import DataInfo
from danlu.models.latent.vae import VAE
from danlu.recipes.config.constructor_settings import Settings, settings
from danlu.recipes.latent.base import LatentRecipe, check_likelihood, data_arguments
from danlu.tasks.elbo import Elbo
from danlu.training.optimization.settings import NonNegative, OptimizerSettings, Positive


class BetaVAERecipe(LatentRecipe):
    """The layers of the recipe vae with a normal decoder and β = 4: fewer active units, less information in the latent.

    With a Bernoulli decoder of gray pixels, β = 4 would cause posterior collapse on the digits. The validation score is
    the bound with β = 1, so it is not monitored.
    """

    tiny: ClassVar[dict[str, Any]] = {"model": {"hidden": (16,), "latent": 3}, "batch_size": 16}

    model: Settings[VAE] = settings(VAE, latent=8, hidden=(256, 256), likelihood="gaussian", spread=0.1)
    """the network"""
    beta: NonNegative = 4.0
    monitor: str | None = "none"
    epochs: Positive | None = 100

    def network(self, info: DataInfo) -> VAE:
        return check_likelihood(self.model.build(**data_arguments(info)), info, self.data)

    def task(self, info: DataInfo) -> Elbo:
        return self.elbo(info)

    def optimizer_settings(self) -> dict[str, OptimizerSettings]:
        return {"vae": self}
