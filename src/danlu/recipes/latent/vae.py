"""Variational autoencoder. Kingma and Welling, "Auto-encoding variational Bayes", 2014.

danlu train vae                                       digits
danlu train vae --data mnist --binarize dynamic       binary images, for comparison with published bounds
danlu train vae --data fashion-mnist --model.channels 32 64 --model.likelihood logistic
danlu train vae --data moons --model.likelihood gaussian
danlu train vae --separate                            update decoder and encoder alternately, as in the lecture notes
danlu train vae --objective iwae --samples 50         Burda et al., "Importance weighted autoencoders", 2016
danlu train vae --model.posterior iaf --samples 8     Kingma et al., "... with inverse autoregressive flow", 2016
danlu train vae --model.posterior planar --samples 8  Rezende and Mohamed, "... with normalizing flows", 2015
"""

from __future__ import annotations

from typing import Any, ClassVar

from danlu.data.base.dataset import DataInfo
from danlu.models.latent.vae import VAE
from danlu.recipes.config.constructor_settings import Settings, settings
from danlu.recipes.latent.base import LatentRecipe, check_likelihood, data_arguments
from danlu.tasks.elbo import Elbo
from danlu.training.optimization.settings import OptimizerSettings, Positive


class VAERecipe(LatentRecipe):
    """Fully connected layers and eight latent units."""

    tiny: ClassVar[dict[str, Any]] = {"model": {"hidden": (16,), "latent": 3}, "batch_size": 16}

    model: Settings[VAE] = settings(VAE, latent=8, hidden=(256, 256))
    """the network"""
    epochs: Positive | None = 100
    separate: bool = False
    """update decoder and encoder alternately instead of together"""

    def network(self, info: DataInfo) -> VAE:
        return check_likelihood(self.model.build(**data_arguments(info)), info, self.data)

    def task(self, info: DataInfo) -> Elbo:
        return self.elbo(info, separate=self.separate)

    def optimizer_settings(self) -> dict[str, OptimizerSettings]:
        return dict.fromkeys(("decoder", "encoder") if self.separate else ("vae",), self)
